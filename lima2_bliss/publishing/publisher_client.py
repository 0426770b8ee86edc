"""What a session says to its publisher process. Under gevent other greenlets run while it waits."""

from __future__ import annotations

import json
import time
from typing import Any

from lima2_bliss.client.tango_link import DeviceLink, ProxyFactory
from lima2_bliss.contract import DeviceTimeoutError, ProtocolError, error_from_json
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.publication_status import PublicationStatus

#: One request waits at most this long at the publisher; longer waits are several requests.
POLL_MS = 1000


class PublisherClient:
    """A `LimaPublisher` device by name. Errors name the publisher or the receiver that they come from."""

    def __init__(self, device: str, timeout_s: float = 3.0, proxy: ProxyFactory | None = None) -> None:
        self.device = device
        self._link = DeviceLink(device, timeout_s, proxy)

    def begin(self, job: PublishJob) -> None:
        """Start to publish an acquisition into streams that exist."""
        self._link.call("Begin", job.model_dump_json())

    def finish(self, uuid: str, timeout_s: float = 30.0, saved: int | None = None) -> PublicationStatus:
        """Return when all rows are in Redis; raise what went wrong, or `DeviceTimeoutError`.

        ``saved``: frames that the files of the job's ``lima_info`` hold (call it after the master file is written).
        """
        self._link.call("Finish", json.dumps({"uuid": uuid, "saved": -1 if saved is None else saved}))
        until = time.monotonic() + timeout_s
        status = self._wait(uuid, until, rows=None)
        if not status.final:
            raise DeviceTimeoutError(
                f"publisher {self.device} did not finish within {timeout_s:g} s: {status.rows} of {status.expected} "
                f"frames are published ({status.state})",
                device=self.device,
            )
        return self._checked(status)

    def abort(self, uuid: str, why: str = "asked to") -> None:
        """End the publication now; what is written stays."""
        self._link.call("Abort", json.dumps({"uuid": uuid, "why": why}))

    def status(self, uuid: str) -> PublicationStatus:
        """State and counts, points of each stream included."""
        return self._ask({"uuid": uuid, "full": True})

    def statuses(self) -> dict[str, PublicationStatus]:
        """Status of all publications that the publisher knows."""
        (text,) = self._link.read("publications")
        return {uuid: PublicationStatus.model_validate(each) for uuid, each in json.loads(text).items()}

    def wait_published(self, uuid: str, rows: int, timeout_s: float = 10.0) -> PublicationStatus:
        """Return as soon as ``rows`` frames are in Redis (about 1 ms after); raise what went wrong meanwhile."""
        status = self._wait(uuid, time.monotonic() + timeout_s, rows)
        if status.rows < rows and not status.final and not status.error:
            raise DeviceTimeoutError(
                f"publisher {self.device}: {status.rows} frames published within {timeout_s:g} s, waited for {rows}",
                device=self.device,
            )
        return status if status.rows >= rows else self._checked(status)

    def wait_change(self, uuid: str, seen: int, timeout_s: float = 1.0) -> PublicationStatus:
        """The status when state, warnings or error differ from those of revision ``seen``, else after ``timeout_s``."""
        return self._ask({"uuid": uuid, "rows": 2**62, "seen": seen, "wait_ms": min(int(timeout_s * 1000), POLL_MS)})

    def _wait(self, uuid: str, until: float, rows: int | None) -> PublicationStatus:
        while True:
            left_ms = max(int((until - time.monotonic()) * 1000), 0)
            aim = {"end": True} if rows is None else {"rows": rows}
            status = self._ask({"uuid": uuid, "wait_ms": min(left_ms, POLL_MS), **aim})
            if status.final or not left_ms or (rows is not None and (status.rows >= rows or status.error)):
                return status

    def _ask(self, request: dict[str, Any]) -> PublicationStatus:
        answer = self._link.call("Wait", json.dumps(request))
        try:
            return PublicationStatus.model_validate_json(answer)
        except ValueError as error:
            raise ProtocolError(f"publisher {self.device} answered what is no status: {error}") from None

    def _checked(self, status: PublicationStatus) -> PublicationStatus:
        if status.error:
            error = error_from_json(status.error)
            error.errinfo.setdefault("publisher", self.device)
            raise error
        return status
