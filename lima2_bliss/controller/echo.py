"""Tells BLISS's own listeners (file writer, display, calculated counters) what the publisher writes into Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent.event
from bliss.common.event import dispatcher

from lima2_bliss.controller.channels import Channel, PublishedImageChannel
from lima2_bliss.controller.compatibility import StreamFollower

_log = logging.getLogger(__name__)

#: Between two reads while the scan runs [s]: points are handed on in batches.
PERIOD_S = 0.05


class Echo:
    """Follows the streams of some channels and repeats each batch as the channel's ``new_data`` signal.

    While ``unsaved()``, listeners are told of no image in a file: the writer of the scan file would refer to images
    that are not there yet, which HDF5 shows as zeros.
    """

    def __init__(
        self, channels: Sequence[Channel], unsaved: Callable[[], bool] = lambda: False, period_s: float = PERIOD_S
    ) -> None:
        self._period_s = period_s
        self._unsaved = unsaved
        self._ending = gevent.event.Event()
        self._channels: dict[str, Channel] = {channel.stream.key: channel for channel in channels}
        self._follower = StreamFollower([channel.stream for channel in channels]) if channels else None
        self._task = gevent.spawn(self._run) if channels else None

    def _run(self) -> None:
        # The first look is early, so that a short scan or a ct is not late.
        while not self._ending.wait(self._period_s):
            self._pass_on(self._read())

    def _read(self) -> Mapping[str, Any]:
        assert self._follower is not None
        return self._follower.read()

    def _pass_on(self, news: Mapping[str, Any]) -> int:
        for key, data in news.items():
            channel = self._channels[key]
            # An image stream tells how many frames there are: only its last entry counts.
            image = isinstance(channel, PublishedImageChannel)
            batch = data[-1] if image else data
            if image and self._unsaved():
                batch = {**batch, "last_index_saved": -1}
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
