"""The acquisitions that a receiver keeps, by uuid: the current one and those that clients may still read."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.contract.wire import PipelineStatus
from lima2_receivers.engine.pipeline_run import PipelineRun

logger = logging.getLogger(__name__)

#: Erased acquisitions whose last status is still told: who follows one to its end may be a moment late.
ENDS_KNOWN = 64


class RunArchive:
    """Acquisitions in order of their prepare; erasing one frees its memory and tells who asked to know."""

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self._lock = threading.Lock()
        self._runs: dict[str, PipelineRun] = {}
        self._ends: OrderedDict[str, PipelineStatus] = OrderedDict()
        self._erased_callbacks: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._runs

    def add(self, run: PipelineRun) -> None:
        with self._lock:
            self._runs[run.uuid] = run

    def all(self) -> Mapping[str, PipelineRun]:
        """All runs by uuid, the newest last (a copy)."""
        with self._lock:
            return dict(self._runs)

    def get(self, uuid: str) -> PipelineRun:
        """The acquisition ``uuid``, or the newest one for an empty uuid."""
        runs = self.all()
        if not uuid and runs:
            return list(runs.values())[-1]
        if uuid not in runs:
            known = ", ".join(runs) or "none"
            raise NotAvailableError(
                f"receiver {self._receiver} has no acquisition {uuid or 'at all yet'}; it has: {known}"
            )
        return runs[uuid]

    def on_erased(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the uuid of every acquisition that is erased, for whatever reason."""
        self._erased_callbacks.append(callback)

    def erase(self, run: PipelineRun) -> None:
        """Erase a finished run; `StateError` if it is not finished."""
        end = run.status()
        run.erase()
        with self._lock:
            self._runs.pop(run.uuid, None)
            self._ends[run.uuid] = end
            while len(self._ends) > ENDS_KNOWN:
                self._ends.popitem(last=False)
        for callback in self._erased_callbacks:
            try:
                callback(run.uuid)
            except Exception:
                logger.exception("%s: a callback on the erasure of %s failed", self._receiver, run.uuid)

    def end_of(self, uuid: str) -> PipelineStatus | None:
        """The last status of an acquisition that was erased not long ago."""
        with self._lock:
            return self._ends.get(uuid)

    def erasable_bytes(self) -> int:
        """Memory of all finished runs."""
        return sum(run.memory_bytes for run in self.all().values() if run.finished.is_set())

    def erase_oldest(self) -> bool:
        """Erase the oldest finished run; False when there is none."""
        for run in self.all().values():
            if run.finished.is_set():
                logger.info("%s: acquisition %s erased to make room", self._receiver, run.uuid)
                self.erase(run)
                return True
        return False
