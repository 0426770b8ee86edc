"""Earlier scans of a detector whose images are still being saved, and the waiting for them."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import gevent.event

from lima2_bliss.contract import DeviceTimeoutError, ParameterError
from lima2_bliss.controller.outcome import Outcome

_log = logging.getLogger(__name__)

#: Saving of which nothing is heard for so long is no longer waited for [s].
STALL_S = 60.0
#: Between two looks at the progress of what is waited for [s].
_LOOK_S = 0.5

Prepared = TypeVar("Prepared")


class SavingRun(Protocol):
    """What is needed of an acquisition that is being saved (`OverlappingRun`)."""

    saved: gevent.event.Event
    outcome: Outcome
    error: Exception | None

    @property
    def images_saved(self) -> int: ...


class UnsavedScans:
    """The scans of detector ``name`` that ended before their images were saved, oldest first."""

    def __init__(self, name: str, scans: Mapping[str, str], stall_s: float = STALL_S) -> None:
        self._name = name
        self._scans = scans
        self._stall_s = stall_s
        self._runs: list[SavingRun] = []
        self._failed: list[str] = []
        self._at_exit = False

    def add(self, run: SavingRun) -> None:
        """A scan ends, and its images are still being saved."""
        self._runs.append(run)
        gevent.spawn(self._follow, run)
        if not self._at_exit:
            atexit.register(self._last_wait)
            self._at_exit = True

    def _follow(self, run: SavingRun) -> None:
        run.saved.wait()
        self._runs.remove(run)
        if run.error is None:
            _log.info("%s: the images of scan %s are saved", self._name, self._words(run))
            return
        text = f"the images of scan {self._words(run)} are not all saved: {run.error}"
        self._failed.append(text)
        _log.warning("%s: %s", self._name, text)

    def _words(self, run: SavingRun) -> str:
        return self._scans.get(run.outcome.uuid) or run.outcome.uuid

    def __len__(self) -> int:
        return len(self._runs)

    def uuids(self) -> list[str]:
        """The acquisitions that are being saved."""
        return [run.outcome.uuid for run in self._runs]

    def files(self) -> list[Path]:
        """Master files that will be there when all is saved."""
        return [path for run in self._runs for path in run.outcome.pending.values()]

    def wait(self, most: int = 0, timeout_s: float | None = None) -> None:
        """Wait until no more than ``most`` scans are being saved, as long as that goes on.

        `DeviceTimeoutError` after ``timeout_s``, or when nothing was saved for a minute.
        """
        begun = moved = time.monotonic()
        saved, told = -1, False
        while len(self._runs) > most:
            run = self._runs[0]
            now = time.monotonic()
            if run.images_saved != saved:
                saved, moved = run.images_saved, now
            if timeout_s is not None and now - begun >= timeout_s:
                raise self._too_late(run, f"after {timeout_s:g} s")
            if now - moved >= self._stall_s:
                raise self._too_late(run, f", and nothing was saved for {self._stall_s:g} s")
            if now - begun > 1.0 and not told:
                told = True
                _log.warning("%s: waits until the images of scan %s are saved", self._name, self._words(run))
            left = _LOOK_S if timeout_s is None else min(_LOOK_S, begun + timeout_s - now)
            if run.saved.wait(max(left, 0.0)):
                gevent.sleep(0)  # `_follow` takes it off the list

    def _too_late(self, run: SavingRun, why: str) -> DeviceTimeoutError:
        return DeviceTimeoutError(
            f"{self._name}: {run.images_saved} of {run.outcome.expected} images of scan {self._words(run)} are saved"
            f" {why}; see {self._name}.pipelines, and whether the disk of {', '.join(map(str, self.files()))} is slow"
        )

    def prepare(self, most: int, prepare: Callable[[], Prepared]) -> Prepared:
        """``prepare()`` the next scan when no more than ``most`` earlier ones are being saved, and memory allows it.

        Tells once more which scans were not saved.
        """
        failed, self._failed = self._failed, []
        for text in failed:
            _log.warning("%s: before this scan, %s", self._name, text)
        self.wait(most)
        while True:
            try:
                return prepare()
            except ParameterError as error:
                if "memory_needed" not in error.errinfo or not self._runs:
                    raise
                _log.info("%s: %s", self._name, error)
            self.wait(len(self._runs) - 1)

    def _last_wait(self) -> None:
        """The session ends: the master files are written from here."""
        if self._runs:
            _log.warning("%s: waits for %d scans to be saved; Ctrl-C leaves without", self._name, len(self._runs))
            self.wait()
