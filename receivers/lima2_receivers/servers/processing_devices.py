"""Making and removing the processing devices of a receiver while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import tango

from lima2_bliss.contract import Lima2Error
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.servers.processing import ProcessingDevice

logger = logging.getLogger(__name__)

#: A device is removed when none was made or given up for so long: a Tango database that keeps its devices in files
#: (beacon) takes 15 ms for each change, which a prepare under way should not have to wait for.
QUIET_S = 0.3
#: So many may wait for quiet; more are removed at once.
MAX_LEAVING = 4


class ProcessingDevices:
    """The processing devices of a receiver: one per pipeline, named ``<domain>/limaprocessing/<uuid>@<rank>``.

    With ``wanted`` False none is made: prepare is quicker and the database left alone, but LImA2's own clients cannot
    be used, which read counts, frames and results from these devices.
    """

    def __init__(self, domain: str, rank: int, *, wanted: bool = True, quiet_s: float = QUIET_S) -> None:
        self._domain = domain
        self._rank = rank
        self._wanted = wanted
        self._quiet_s = quiet_s
        self._changed = threading.Condition()
        self._tango = threading.Lock()  # one change of Tango's devices at a time
        self._made: dict[str, tuple[str, str]] = {}
        self._leaving: deque[tuple[str, str]] = deque()
        self._quiet_at = 0.0
        self._ended = False
        self._worker: threading.Thread | None = None

    def device_name(self, uuid: str) -> str:
        return f"{self._domain}/limaprocessing/{uuid}@{self._rank}"

    def make(self, run: PipelineRun) -> None:
        """Make and export the device of a run."""
        if not self._wanted:
            return
        name = self.device_name(run.uuid)
        ProcessingDevice.runs[name] = run
        with self._changed:
            self._made[run.uuid] = (run.pipeline, name)
            self._quiet_at = time.monotonic() + self._quiet_s
        try:
            with self._tango:
                tango.Util.instance().create_device(run.pipeline, name)
        except tango.DevFailed as failure:
            self.remove(run.uuid)
            raise Lima2Error(f"processing device {name} cannot be made: {failure.args[0].desc}") from failure

    def remove(self, uuid: str) -> None:
        """Have the device of a run that is erased removed soon. Harmless when there is none."""
        with self._changed:
            made = self._made.pop(uuid, None)
            if made is None:
                return
            self._leaving.append(made)
            self._quiet_at = time.monotonic() + self._quiet_s
            if self._worker is None and not self._ended:
                self._worker = threading.Thread(target=self._work, name="processing-devices", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def end(self) -> None:
        """The process ends: take all devices out of the database. Tango itself must no longer be changed."""
        with self._changed:
            self._ended = True
            leaving = [*self._leaving, *self._made.values()]
            self._leaving.clear()
            self._made.clear()
            self._changed.notify_all()
        if leaving:
            database = tango.Database()  # one made before the server is of no use here
            for tango_class, name in leaving:
                self._attempt(tango_class, name, lambda _, name: database.delete_device(name))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended and not self._may_remove():
                    self._changed.wait(max(self._quiet_at - time.monotonic(), 0.001) if self._leaving else None)
                if self._ended:
                    return
                tango_class, name = self._leaving.popleft()
            with self._tango, tango.EnsureOmniThread():
                self._attempt(tango_class, name, tango.Util.instance().delete_device)

    def _may_remove(self) -> bool:
        quiet = time.monotonic() >= self._quiet_at
        return len(self._leaving) > MAX_LEAVING or (bool(self._leaving) and quiet)

    @staticmethod
    def _attempt(tango_class: str, name: str, delete: Callable[[str, str], None]) -> None:
        try:
            delete(tango_class, name)
        except tango.DevFailed as failure:
            logger.warning("processing device %s was not removed: %s", name, failure.args[0].desc)
        ProcessingDevice.runs.pop(name, None)
