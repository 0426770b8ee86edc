"""What goes wrong: each kind of trouble is made in the processes of the stack, and undone."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import psutil
import redis
from bliss.common.data_store import get_default_data_store
from trouble_plan import Experiment

from lima2_bliss.stack import Stack

SERVERS = {"receiver": "lima2_receiver/{}_{}", "control": "lima2_control/{}", "access": "lima2_access/{}"}
SERVERS["publisher"] = "lima2_publisher/{}"


class Trouble:
    """The trouble of one experiment. ``make`` and ``undo`` may both be called only once."""

    def __init__(self, experiment: Experiment, stack: Stack, scan: gevent.Greenlet, images: Callable[[], Path | None]):
        self.experiment = experiment
        self.killed: str = ""
        self._stack = stack
        self._scan = scan
        self._images = images
        self._undo: list[Callable[[], Any]] = []

    def make(self) -> None:
        """Do it; returns when what passes by itself has passed."""
        what, _, whom = self.experiment.trouble.partition("_")
        if what in ("kill", "freeze", "mute"):
            getattr(self, f"_{what}")(whom)
        else:
            getattr(self, f"_{self.experiment.trouble}")()

    def undo(self) -> None:
        """All as it was, once the scan is over; what was killed runs again."""
        for undo in self._undo:
            undo()
        if self.killed:
            self._stack.restart(self.killed)

    # --- from the shell -------------------------------------------------------------------------------------------

    def _ctrl_c(self) -> None:
        self._scan.kill(KeyboardInterrupt, block=False)

    def _ctrl_c_twice(self) -> None:
        self._scan.kill(KeyboardInterrupt, block=False)
        self._scan.join(self.experiment.hold_s / 4)
        self._scan.kill(KeyboardInterrupt, block=False)

    # --- processes ------------------------------------------------------------------------------------------------

    def _process(self, whom: str) -> tuple[str, int]:
        name = SERVERS[whom].format(self.experiment.detectors[0], self.experiment.rank + 1)
        record = self._stack.record()
        assert record is not None
        return name, record.pids[name]

    def _kill(self, whom: str) -> None:
        self.killed, pid = self._process(whom)
        os.kill(pid, signal.SIGKILL)

    def _freeze(self, whom: str) -> None:
        pid = self._process(whom)[1]
        with _stopped([pid]):
            gevent.sleep(self.experiment.hold_s)

    def _mute(self, whom: str) -> None:
        pid = self._process(whom)[1]
        os.kill(pid, signal.SIGSTOP)
        self._undo.append(lambda: os.kill(pid, signal.SIGCONT))

    def _detector_fails(self) -> None:
        """Nothing to do: the detector was told beforehand to fail."""

    # --- Redis ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _cut_redis() -> None:
        with contextlib.closing(redis.Redis.from_url(get_default_data_store()._url)) as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

    def _pause_redis(self) -> None:
        record = self._stack.record()
        assert record is not None
        servers = psutil.Process(record.pids["beacon"]).children(recursive=True)
        data = [p.pid for p in servers if f":{record.ports['redis_data']}" in " ".join(p.cmdline())]
        assert data, "the Redis of the data was not found"
        with _stopped(data):
            gevent.sleep(self.experiment.hold_s)

    # --- disk -----------------------------------------------------------------------------------------------------

    def _disk_full(self) -> None:
        """No file of the receiver may become larger than ``room``: writing beyond fails."""
        receiver = psutil.Process(self._process("receiver")[1])
        receiver.rlimit(psutil.RLIMIT_FSIZE, (self.experiment.room, resource.RLIM_INFINITY))
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self._undo.append(lambda: receiver.rlimit(psutil.RLIMIT_FSIZE, unlimited))

    def _directory_gone(self) -> None:
        """A file takes the place of the images' directory."""
        images = self._images()
        if images is None:
            return
        away = images.with_name(f"{images.name}_away")
        if images.is_dir():
            images.rename(away)
        images.parent.mkdir(parents=True, exist_ok=True)
        images.touch()

        def back() -> None:
            images.unlink()
            if away.is_dir():
                away.rename(images)

        self._undo.append(back)


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
