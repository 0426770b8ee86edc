"""Counts of the receivers while a scan runs, asked of them where they can be reached."""

from __future__ import annotations

import logging
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

import zmq

from lima2_bliss.contract import Lima2Error
from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.monitor.model import Alarm, Counts
from lima2_bliss.publishing.frame_places import FramePlaces
from lima2_bliss.publishing.job import ReceiverAddress
from lima2_bliss.publishing.receiver_rows import ReceiverRows

_log = logging.getLogger(__name__)

_COLUMNS = ("received", "lost", "processed", "invalid", "saved")
#: A receiver that did not answer is asked again after this time.
_AGAIN_S = 5.0
_WAIT_S = 0.5
#: Rates are means over this time.
_PACE_S = 2.0


class LiveCounts:
    """One short question to each receiver; not thread-safe. As context manager, or `close`.

    ``fifo_places``: for so many frames to wait, each of the receivers has room; 0: not known.
    """

    def __init__(self, places: FramePlaces, fifo_places: int = 0) -> None:
        self._places = places
        self._fifo_places = fifo_places
        self._pace: dict[int, deque[tuple[float, int]]] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._open: dict[int, ReceiverRows] = {}
        self._away: dict[int, float] = {}
        self._known: dict[int, PipelineStatus] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        for receiver in self._open.values():
            receiver.close()
        self._open.clear()
        self._context.destroy(linger=0)

    def read(self) -> tuple[Counts | None, tuple[Alarm, ...]]:
        """Counts of all receivers that have answered at least once, and what is wrong with them."""
        for rank in range(len(self._places.endpoints)):
            if time.monotonic() >= self._away.get(rank, 0.0):
                self._ask(rank)
        if not self._known:
            return None, ()
        rows: list[list[str | int]] = []
        alarms = []
        for rank, status in sorted(self._known.items()):
            name, counts = self._places.receivers[rank], status.counts
            told = [int(getattr(counts, column)) for column in _COLUMNS]
            rows.append([name, *told, round(self._rate(rank)), self._fill(counts.waiting), status.state])
            if rank in self._away:
                alarms.append(Alarm("bad", f"receiver {name} does not answer"))
            if status.state == "failed":
                alarms.append(Alarm("bad", f"receiver {name} has failed"))
        return Counts(("receiver", *_COLUMNS, "frames/s", "buffer", "state"), rows), tuple(alarms)

    def _fill(self, waiting: int) -> str:
        """How full the buffer of frames that wait is."""
        return f"{round(100 * waiting / self._fifo_places)} %" if self._fifo_places else str(waiting)

    def _rate(self, rank: int) -> float:
        """Frames received in a second, over the last two."""
        (first, before), (last, now) = self._pace[rank][0], self._pace[rank][-1]
        return (now - before) / (last - first) if last > first else 0.0

    def _ask(self, rank: int) -> None:
        try:
            receiver = self._open.get(rank)
            if receiver is None:
                address = ReceiverAddress(name=self._places.receivers[rank], endpoint=self._places.endpoints[rank])
                receiver = self._open[rank] = ReceiverRows(address, self._context, _WAIT_S, _WAIT_S)
            receiver.ask_rows(self._places.uuid, {}, -1, 0)
            self._known[rank] = status = receiver.rows().status
            pace = self._pace.setdefault(rank, deque())
            pace.append((time.monotonic(), status.counts.received))
            while pace[-1][0] - pace[0][0] > _PACE_S:
                pace.popleft()
            self._away.pop(rank, None)
        except Lima2Error as error:
            _log.debug("no counts of %s: %s", self._places.receivers[rank], error)
            self._away[rank] = time.monotonic() + _AGAIN_S
            if (receiver := self._open.pop(rank, None)) is not None:
                receiver.close()
