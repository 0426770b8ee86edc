"""Tells BLISS's own listeners (file writer, display, calculated counters) what the publisher writes into Redis."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gevent.event
from bliss.common.event import dispatcher
from blissdata.redis_engine.exceptions import EndOfStream
from blissdata.redis_engine.stream import Stream, StreamingClient

from lima2_bliss.controller.channels import Channel, PublishedImageChannel

_log = logging.getLogger(__name__)

#: Between two reads while the scan runs [s]: points are handed on in batches.
PERIOD_S = 0.05


class Echo:
    """Follows the streams of some channels and repeats each batch as the channel's ``new_data`` signal."""

    def __init__(self, channels: Sequence[Channel], period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._ending = gevent.event.Event()
        self._channels: dict[str, Channel] = {}
        streams = []
        for channel in channels:
            writer = channel.stream
            stream = Stream.open(writer._data_store, writer.name, writer._model)
            self._channels[stream.key] = channel
            streams.append(stream)
        self._client = StreamingClient(streams) if streams else None
        self._task = gevent.spawn(self._run) if streams else None

    def _run(self) -> None:
        # The first look is early, so that a short scan or a ct is not late.
        while not self._ending.wait(self._period_s):
            self._pass_on(self._read())

    def _read(self) -> Mapping[Any, Any]:
        assert self._client is not None
        try:
            news: Mapping[Any, Any] = self._client.read(block=False)
        except EndOfStream:
            return {}
        return news

    def _pass_on(self, news: Mapping[Any, Any]) -> int:
        for stream, (_, data) in news.items():
            channel = self._channels[stream.key]
            # An image stream tells how many frames there are: only its last entry counts.
            batch = data[-1] if isinstance(channel, PublishedImageChannel) else data
            dispatcher.send("new_data", channel, batch)
        return len(news)

    def finish(self) -> None:
        """Hand on all that is in Redis by now, and end."""
        if self._task is None:
            return
        self._ending.set()
        self._task.get()
        while self._pass_on(self._read()):
            pass

    def close(self) -> None:
        """End without reading the rest."""
        if self._task is not None:
            self._ending.set()
            self._task.kill()
