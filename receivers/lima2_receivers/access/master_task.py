"""Writes master files beside the requests of the access process, one at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lima2_bliss.contract import Lima2Error, StateError
from lima2_bliss.contract.access import MasterJob

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MasterState:
    """Where the last master file is: ``state`` is idle, writing, done or failed; ``error`` is the text for people."""

    state: str = "idle"
    path: str = ""
    error: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def write_by_saving(job: MasterJob) -> Path:
    """Write with the saving package, imported when the first file is written: it needs HDF5."""
    from lima2_receivers.saving.masters import write_master

    return write_master(job)


class MasterTask:
    """Starts one master file after another with ``write``; `state` tells how the last one went."""

    def __init__(self, write: Callable[[MasterJob], Path] = write_by_saving) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.state = MasterState()

    def start(self, job: MasterJob) -> None:
        """Begin to write and return at once; `StateError` while another file is being written."""
        path = str(job.saving.layout().master_file)
        with self._lock:
            if self.state.state == "writing":
                raise StateError(f"{self.state.path} is being written; wait until master_state is done, then ask again")
            self.state = MasterState("writing", path)
            self._thread = threading.Thread(target=self._run, args=(job, path), name="master-file", daemon=True)
            self._thread.start()

    def _run(self, job: MasterJob, path: str) -> None:
        try:
            written = MasterState("done", str(self._write(job)))
        except Lima2Error as error:
            logger.error("master file %s was not written: %s", path, error)
            written = MasterState("failed", path, str(error))
        except Exception as error:
            logger.exception("master file %s was not written", path)
            written = MasterState("failed", path, f"{type(error).__name__}: {error}")
        self.state = written

    def close(self, timeout_s: float = 30.0) -> None:
        """Wait for a file under way."""
        if self._thread is not None:
            self._thread.join(timeout_s)
