"""A camera-like view of a detector: images one after another, unsaved, without a scan, until something else is wanted.

Its acquisitions are short: when the session dies, the detector stops with the last of them. Any scan ends it first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import numpy as np
from bliss.scanning.scan_state import ScanState

from lima2_bliss.contract import Lima2Error, ParameterError
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.live_acquisitions import LiveAcquisitions, LiveLimits
from lima2_bliss.controller.parameters import DetectorState

_log = logging.getLogger(__name__)


class Viewer(Protocol):
    """What shows the live view. It neither raises nor keeps anybody waiting, but to ``create`` a window."""

    def show(self, create: bool) -> None:
        """Show the images, in a window that is opened if need be; without ``create`` only where there is one."""

    def hide(self) -> None:
        """No more images come."""


class LiveView:
    """Images as a camera shows them: `start`, `stop`. Nothing is saved, and a scan with the detector ends it first.

    With ``resume = True`` it starts again after the scan.
    """

    def __init__(
        self,
        name: str,
        given: Configuration,
        connection: Connection,
        settings: Callable[[], DetectorState],
        viewer: Viewer,
        note: Callable[[str], None],
        limits: LiveLimits = LiveLimits(),
    ) -> None:
        self._name = name
        self._acquisitions = LiveAcquisitions(given, connection, settings, note, limits)
        self._turn = connection.turn  # held while acquisitions begin or end
        self._viewer = viewer
        self._limits = limits
        self._task: gevent.Greenlet | None = None
        self._resuming: gevent.Greenlet | None = None
        self._resume_with: float | None = None
        self._paused = False
        self._first_scan = True
        self._story = "off"
        self._resume = False

    # --- for the user -------------------------------------------------------------------------------------------------

    def start(self, expo_time: float = 0.1, flint: bool = True) -> None:
        """Show images of ``expo_time`` [s] until `stop` or a scan, in Flint (opened if need be) unless told otherwise.

        Images have all settings that scans have (but no ROIs, spots or hits); at most 25 are taken in a second.
        """
        if not 1e-6 <= expo_time <= 3600:
            raise ParameterError(f"{self._name}.start: expo_time = {expo_time:g} s; give 1e-6 to 3600")
        with self._turn:
            self._cancel_resuming()
            self._end(fast=True)
            self.end_elsewhere()
            self._begin(expo_time)
        if flint:
            self._viewer.show(create=True)

    def stop(self) -> None:
        """End the live view; its last image stays readable."""
        with self._turn:
            self._cancel_resuming()
            if self.running:
                self._viewer.hide()
                self._end(fast=False)
            self._story = "off"

    @property
    def resume(self) -> bool:
        """Start again after a scan."""
        return self._resume

    @resume.setter
    def resume(self, wanted: bool) -> None:
        if not isinstance(wanted, bool):
            raise ParameterError(f"{self._name}.resume = {wanted!r}; give True or False")
        self._resume = wanted
        if not wanted:
            with self._turn:
                self._cancel_resuming()

    @property
    def running(self) -> bool:
        """True while images come, or the view is paused in Flint."""
        return self._task is not None and not self._task.ready()

    @property
    def expo_time(self) -> float | None:
        """Exposure time of the view that runs [s], None when there is none."""
        return self._acquisitions.expo_time if self.running else None

    @property
    def images(self) -> int:
        """Images of this live view, or of the last one, so far."""
        return self._acquisitions.images

    def __dir__(self) -> list[str]:
        return ["expo_time", "images", "last_image", "resume", "running", "start", "stop"]

    def __info__(self) -> str:
        if self.running and self._paused:
            now = "paused in Flint; its camera button starts it again"
        elif self.running:
            rate = self._acquisitions.rate.present()
            now = f"on, {self.expo_time:g} s, {self.images} images" + (f", {rate:.3g} images/s" if rate else "")
        elif self._resume_with is not None:
            now = f"off for a scan, then on again with {self._resume_with:g} s"
        else:
            now = self._story
        after = "it starts again after the scan" if self.resume else "it stays off then (resume is False)"
        return f"{self._name}: {now}\n  Nothing is saved. A scan with the detector ends it first; {after}."

    def last_image(self) -> np.ndarray | None:
        """Newest frame (channels, height, width) if the live view gave it, else None."""
        return self._acquisitions.last_image()

    # --- for scans ----------------------------------------------------------------------------------------------------

    def give_way(self, scan: Any) -> None:
        """``scan`` prepares the detector now: end at once, and start again after it if that is wished."""
        with self._turn:
            again = self._acquisitions.expo_time if self.running and not self._paused else self._resume_with
            self._cancel_resuming()
            if again is not None and self.resume and scan is not None:  # first: Ctrl-C may end the rest at any point
                self._resume_with = again
                self._resuming = gevent.spawn(self._resume_after, scan, again)
            if self.running:
                _log.info("%s: ended for a scan", self._name)
                self._story = "off, ended for a scan"
                self._viewer.hide()
                self._end(fast=True)
            self._acquisitions.forget()
            if self._first_scan:  # a session that was killed may have left a view behind
                self._first_scan = False
                self.end_elsewhere()

    def end_elsewhere(self) -> bool:
        """End a live view that another session runs, or has left behind; True if there was one."""
        ended = self._acquisitions.end_elsewhere()
        if ended:
            _log.info("%s: the live view of another session was ended", self._name)
        return ended

    # --- inside -------------------------------------------------------------------------------------------------------

    def _begin(self, expo_time: float) -> None:
        self._acquisitions.restart_counting()
        self._acquisitions.begin(expo_time)
        self._paused = False
        self._task = gevent.spawn(self._run)
        self._task.name = f"lima2-live-{self._name}"

    def _run(self) -> None:
        try:
            while True:
                wish = self._acquisitions.follow()
                expo_time = wish.expo_time_s if wish.run else self._wait_for_viewer()
                with self._turn:
                    self._acquisitions.begin(expo_time)
        except Lima2Error as error:
            self._story = f"off, it failed: {error}"
            _log.warning("%s: the live view has ended: %s", self._name, error)
            self._acquisitions.tell_end()

    def _wait_for_viewer(self) -> float:
        """Paused until a viewer wants images again; the exposure time that it wants."""
        self._acquisitions.tell_end(paused=True)
        self._paused = True
        while True:
            gevent.sleep(self._limits.poll_s)
            wish = self._acquisitions.wishes()
            if wish.run:
                self._paused = False
                return wish.expo_time_s

    def _end(self, fast: bool) -> None:
        """The view is off when this returns."""
        task, self._task = self._task, None
        if task is None or task.ready():
            return
        task.kill()
        if not self._paused:
            self._acquisitions.end(fast)
        gevent.spawn(self._acquisitions.tell_end)

    def _cancel_resuming(self) -> None:
        task, self._resuming, self._resume_with = self._resuming, None, None
        if task is not None:
            task.kill(block=False)

    def _resume_after(self, scan: Any, expo_time: float) -> None:
        scan.wait_state(ScanState.DONE)
        gevent.sleep(self._limits.resume_s)
        with self._turn:
            self._resuming = self._resume_with = None
            try:
                self.end_elsewhere()
                self._begin(expo_time)
            except Lima2Error as error:
                self._story = f"off, it could not start again: {error}"
                _log.info("%s: not started again: %s", self._name, error)
                return
        self._viewer.show(create=False)
