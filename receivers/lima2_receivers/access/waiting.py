"""Requests for results that wait for a change of their pipeline, and the wake-up that a change gives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from lima2_bliss.contract import NoLongerAvailableError, ParameterError
from lima2_bliss.contract.wire import MAX_REPLY_BYTES, MAX_ROWS, PipelineStatus, ResultsRequest
from lima2_receivers.access.in_flight import Client
from lima2_receivers.access.receiver import SharedPipeline, SharedReceiver


class WakeUp:
    """Lets any thread wake the one that polls ``fileno``; calls before it has woken up count as one."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._set = False

    def fileno(self) -> int:
        return self._fd

    def set(self) -> None:
        if self._set:
            return
        with self._lock:
            self._set = True
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Call it before looking at what may have changed."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        self._set = False

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
        os.close(fd)


@dataclass
class ResultsWait:
    """An open results request of a client; ``deadline`` is in seconds of `time.monotonic`."""

    client: Client
    request: ResultsRequest
    pipeline: SharedPipeline
    deadline: float


@dataclass
class ResultsAnswer:
    """What a results request gets: status first, rows read after it, so that they are at least those it counts."""

    status: PipelineStatus
    streams: list[dict[str, object]] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)


def read_results(wait: ResultsWait, due: bool) -> ResultsAnswer | None:
    """The answer to an open request, None while there is nothing new and it is not ``due``."""
    request, pipeline = wait.request, wait.pipeline
    status = pipeline.status()
    news = status.revision != request.seen
    for name, position in request.positions.items():
        if not 0 <= position < 1 << 62:
            raise ParameterError(f"position {position} in stream {name!r}: must be a row number from 0")
        news = news or pipeline.log.length(name) > position
    if not news and not due:
        return None
    answer, left = ResultsAnswer(status), MAX_REPLY_BYTES
    for name, position in request.positions.items():
        about: dict[str, object] = {"name": name, "position": position}
        rows = np.empty(0, "u1")
        if position < pipeline.log.length(name):
            try:
                rows = pipeline.log.read(name, position, MAX_ROWS)
            except NoLongerAvailableError:
                about["gone"] = pipeline.log.first(name)
        rows = rows[: left // max(rows.itemsize, 1)]
        left -= rows.nbytes
        answer.streams.append(about | {"rows": len(rows)})
        answer.rows.append(rows)
    return answer


class Watches:
    """Subscriptions to the pipelines that somebody waits for: a change of one wakes the server and marks it."""

    def __init__(self, receiver: SharedReceiver, wake: Callable[[], None]) -> None:
        self._receiver = receiver
        self._wake = wake
        self._ends: dict[str, Callable[[], None]] = {}
        self._awaited: set[str] = set()
        self._changed: set[str] = set()

    def await_change(self, pipeline: SharedPipeline) -> None:
        """From now on the next change of ``pipeline`` wakes the server. Look at the pipeline after this call."""
        uuid = pipeline.uuid
        self._awaited.add(uuid)
        if uuid not in self._ends:
            self._ends[uuid] = pipeline.subscribe(lambda: self._on_change(uuid))

    def _on_change(self, uuid: str) -> None:
        if uuid in self._awaited:
            self._changed.add(uuid)
            self._wake()

    def take_changed(self) -> set[str]:
        """The pipelines that changed since the last time; who still waits for one calls `await_change` again."""
        changed = set()
        while self._changed:
            uuid = self._changed.pop()
            self._awaited.discard(uuid)
            changed.add(uuid)
        return changed

    def forget_erased(self) -> None:
        """End the subscriptions to pipelines that are gone."""
        for uuid in self._ends.keys() - self._receiver.pipelines.keys():
            self._awaited.discard(uuid)
            self._ends.pop(uuid)()

    def close(self) -> None:
        while self._ends:
            self._ends.popitem()[1]()
