"""All publications of a publisher process, by acquisition uuid. No Tango."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import zmq

from lima2_bliss.contract import NotAvailableError, StateError
from lima2_bliss.publishing.job import PublishJob, ReceiverAddress
from lima2_bliss.publishing.publication import Publication
from lima2_bliss.publishing.publication_status import PublicationStatus
from lima2_bliss.publishing.receiver_reader import RowConnection
from lima2_bliss.publishing.receiver_rows import ReceiverRows

#: Publications that may run at once, and ended ones whose status is kept.
MAX_RUNNING = 8
MAX_KEPT = 16


class Publisher:
    """Begins, finishes and aborts publications; none of its calls waits longer than it is told to.

    ``connect(job, rank)`` opens a connection to a receiver's access server.
    """

    def __init__(self, connect: Callable[[PublishJob, int], RowConnection] | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._connect = connect or self._connect_by_zmq
        self._publications: dict[str, Publication] = {}
        #: Keys of streams that were given up: the next acquisition of the scan must not go on behind the gap.
        self._given_up: set[str] = set()
        self._lock = threading.Lock()

    def _connect_by_zmq(self, job: PublishJob, rank: int) -> RowConnection:
        address: ReceiverAddress = job.receivers[rank]
        return ReceiverRows(address, self._context, job.limits.connect_timeout_s, job.limits.reply_timeout_s)

    def begin(self, job: PublishJob) -> None:
        """Start to publish; `StateError` when this acquisition is published already or too many are."""
        with self._lock:
            if job.uuid in self._publications:
                raise StateError(f"acquisition {job.uuid} is published already; a job is begun once")
            ended = [uuid for uuid, publication in self._publications.items() if publication.status(False).final]
            running = len(self._publications) - len(ended)
            if running >= MAX_RUNNING:
                raise StateError(
                    f"{running} publications are running, at most {MAX_RUNNING}; finish or abort one first"
                )
            for uuid in ended[: max(len(ended) - MAX_KEPT + 1, 0)]:
                del self._publications[uuid]
            known = [job, *(publication.job for publication in self._publications.values())]
            self._given_up.intersection_update(target.key for each in known for target in each.streams)
            publication = Publication(job, partial(self._connect, job), self._given_up)
            self._publications[job.uuid] = publication
        publication.start()

    def publication(self, uuid: str) -> Publication:
        """The publication of that acquisition; `NotAvailableError` when there is none (any more)."""
        with self._lock:
            try:
                return self._publications[uuid]
            except KeyError:
                raise NotAvailableError(
                    f"acquisition {uuid!r} is not published here; known: {', '.join(self._publications) or 'none'}"
                ) from None

    def finish(self, uuid: str, saved: int | None = None) -> None:
        """End the publication when all its rows are written; returns at once."""
        self.publication(uuid).finish(saved)

    def abort(self, uuid: str, why: str = "asked to") -> None:
        """End the publication now; returns at once."""
        self.publication(uuid).abort(why)

    def statuses(self) -> dict[str, PublicationStatus]:
        """Full status of every publication, oldest first."""
        with self._lock:
            publications = dict(self._publications)
        return {uuid: publication.status() for uuid, publication in publications.items()}

    def close(self, timeout_s: float = 2.0) -> None:
        """Abort everything; the process ends."""
        with self._lock:
            publications = list(self._publications.values())
        for publication in publications:
            publication.abort("the publisher process ends")
        ended = [publication.join(timeout_s) for publication in publications]
        if all(ended):
            self._context.term()  # only now: it waits for every socket
