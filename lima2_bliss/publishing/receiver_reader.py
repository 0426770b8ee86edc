"""The thread that keeps one request for rows outstanding at one receiver, until all its rows are here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Protocol, Self

import numpy as np

from lima2_bliss.client.errors_by_device import without_name
from lima2_bliss.contract import AcquisitionError, Lima2Error, ProtocolError, error_from_json
from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.receiver_rows import ReceivedRows

_log = logging.getLogger(__name__)

#: How long a receiver may hold a request when nothing happens; also how soon a reader sees that it shall stop.
POLL_MS = 500
ENDED_STATES = ("finished", "failed")


class RowConnection(Protocol):
    """What a reader needs of a receiver's access server (`ReceiverRows`)."""

    def ask_rows(self, uuid: str, positions: dict[str, int], seen: int, wait_ms: int) -> None: ...
    def rows(self, without: Collection[str] = ()) -> ReceivedRows: ...
    def frame(self, uuid: str, source: str, index: int) -> tuple[int, np.ndarray]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class RowListener(Protocol):
    """Who takes the rows. Called from the reader's thread.

    ``rows_came`` gives the streams to ask for next; rows of ``gone`` ones come no more.
    """

    def rows_came(
        self, rank: int, status: PipelineStatus, rows: dict[str, np.ndarray], gone: Collection[str]
    ) -> set[str]: ...
    def receiver_ended(self, rank: int, error: Lima2Error | None) -> None: ...
    def wait_for_room(self, rank: int) -> None: ...


class ReceiverReader:
    """Reads all rows of one receiver; ``listener.receiver_ended`` is always its last call unless it was stopped."""

    def __init__(
        self,
        job: PublishJob,
        rank: int,
        connect: Callable[[int], RowConnection],
        listener: RowListener,
    ) -> None:
        self._job = job
        self._rank = rank
        self._name = job.receivers[rank].name
        self._connect = connect
        self._listener = listener
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rows-{self._name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end soon; does not wait."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; True when it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        error: Lima2Error | None
        try:
            with self._connect(self._rank) as receiver:
                error = self._read(receiver)
        except Lima2Error as caught:
            named = self._name in caught.what
            error = caught if named else type(caught)(f"receiver {self._name}: {caught.what}", **caught.errinfo)
        except Exception as caught:  # noqa: BLE001 - whatever it is, the publication must learn of it
            _log.exception("%s: reading rows of %s failed", self._job.uuid, self._name)
            error = ProtocolError(f"reading rows of receiver {self._name} failed: {caught!r}")
        if self._stop.is_set():
            return
        if error is not None:
            error.errinfo.setdefault("receiver", self._name)
        self._listener.receiver_ended(self._rank, error)

    def _read(self, receiver: RowConnection) -> Lima2Error | None:
        fixed, counted = self._job.rows_to_read()
        positions = dict.fromkeys([*fixed, *counted], 0)
        optional = self._job.optional_rows()
        uuid, asked = self._job.uuid, set(positions)
        receiver.ask_rows(uuid, positions, -1, 0)
        ended = False
        while not self._stop.is_set():
            came = receiver.rows(optional)
            status, rows = came.status, {name: rows for name, rows in came.rows.items() if name in asked and len(rows)}
            for name, chunk in rows.items():
                positions[name] += len(chunk)
            for name in came.gone:
                positions.pop(name, None)
            wanted = self._listener.rows_came(self._rank, status, rows, came.gone)
            wanted &= set(positions)
            if ended and not rows and wanted <= asked:
                return self._verdict(status)
            # asked before there is room for the answer, so that the receiver rarely waits for us
            ended, asked = status.state in ENDED_STATES, wanted
            waiting = {name: positions[name] for name in asked}
            receiver.ask_rows(uuid, waiting, status.revision, 0 if ended else POLL_MS)
            self._listener.wait_for_room(self._rank)
        return None

    def _verdict(self, status: PipelineStatus) -> Lima2Error | None:
        if status.state != "failed":
            return None
        what = without_name(self._name, _what(status.error))
        return AcquisitionError(f"receiver {self._name} failed: {what}", uuid=self._job.uuid)


def _what(error_json: str) -> str:
    return str(error_from_json(error_json, AcquisitionError)) or "no reason given"
