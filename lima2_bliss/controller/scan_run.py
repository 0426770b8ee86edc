"""One acquisition in a scan: start, trigger point by point, follow to the end, stop; every wait is limited."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import gevent
import gevent.event

from lima2_bliss.client import Acquisition, AcquisitionStatus
from lima2_bliss.contract import DeviceTimeoutError, Lima2Error, StateError
from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.scan_request import ScanRequest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waits:
    """Limits of waiting, seconds. ``point_s`` comes on top of the exposure, ``stop_s`` holds after Ctrl-C, ``failed_s``
    after a failure, ``detach_s`` after that; ``failure_s`` is what the scan has to end a point that failed.
    """

    point_s: float = 10.0
    end_s: float = 60.0
    stop_s: float = 1.0
    failed_s: float = 1.0
    detach_s: float = 0.2
    failure_s: float = 1.0
    publish_s: float = 10.0


class Publishing(Protocol):
    """The publication of one acquisition."""

    def watch(self) -> None:
        """Return when the publication has ended; raises what goes wrong meanwhile."""

    def finish(self, saved: int | None, timeout_s: float) -> None:
        """Wait until everything is published; ``saved`` frames are readable from files."""

    def abort(self, why: str) -> None:
        """Give up; never raises."""


class ScanRun:
    """Drives a prepared acquisition from start to end beside the scan.

    ``on_failure(error)`` is called once, at the moment when something fails while the scan runs; it returns True if it
    ends the scan. ``finish_up(saved)`` is called at the very end, when all is published that can be; ``saved`` images
    are in files, None if the streams say so already.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        request: ScanRequest,
        on_failure: Callable[[Exception], bool],
        finish_up: Callable[[int | None], None],
        waits: Waits = Waits(),
    ) -> None:
        self.acquisition = acquisition
        self.request = request
        self.outcome = Outcome(acquisition.uuid, request.nb_images)
        self.error: Exception | None = None
        #: Between these times [s since 1970] the detector got the last software trigger.
        self.trigger_span_s: tuple[float, float] | None = None
        self._on_failure = on_failure
        self._finish_up = finish_up
        self._waits = waits
        self._publishing: Publishing | None = None
        self._received = 0
        self._triggers = 0
        self._news = gevent.event.Event()
        self._stopping = False
        self._detached = False
        self._error_at_end: Exception | None = None
        self._scan_ends = False
        self._task: gevent.Greenlet | None = None
        self._publishing_watch: gevent.Greenlet | None = None
        self._stop_task: gevent.Greenlet | None = None

    @property
    def started(self) -> bool:
        return self._task is not None

    @property
    def files(self) -> Mapping[str, Path]:
        """The master files by frame source; those still to be written if the scan ends before the acquisition."""
        over = self._task is None or self._task.ready()
        return self.outcome.files if over else self.acquisition.master_files

    def start(self, begin_publishing: Callable[[], Publishing]) -> None:
        """Start the acquisition, and its publication at the same time."""
        publishing = gevent.spawn(begin_publishing)
        try:
            self.acquisition.start()
        finally:
            # joined whatever happens: no publication may be left behind that nobody knows of
            publishing.join()
            if publishing.successful():
                self._publishing = publishing.value
        try:
            publishing.get()
        except Lima2Error:
            self.acquisition.stop()
            raise
        self._publishing_watch = gevent.spawn(self._watch_publishing, publishing.value)
        self._task = gevent.spawn(self._follow)
        self._task.name = f"lima2-follow-{self.acquisition.uuid[:8]}"

    def abandon(self) -> None:
        """It never came to a start: end the publication, if that has begun. Never raises."""
        self._give_up_publishing("the scan ended before the acquisition had started")

    # --- points ---------------------------------------------------------------------------------------------------

    def trigger_and_wait(self) -> None:
        """Take the images of the next point; returns when the receivers have them."""
        self._triggers += 1
        begun_s = time.time()
        try:
            self.acquisition.trigger()
            self.trigger_span_s = (begun_s, time.time())
        except Lima2Error as error:
            self._fail(error)
            self._leave_it_to_the_scan()
            raise
        per_trigger = self.request.images_per_trigger * self.acquisition.depth
        limit_s = self._due_s(per_trigger)
        wanted = self._triggers * per_trigger
        if not self._wait_received(wanted, limit_s, f"point {self._triggers}"):
            raise DeviceTimeoutError(
                f"point {self._triggers}: {self._received} of {wanted} frames received within {limit_s:g} s;"
                " see the log of the detector's control"
            )

    def wait_images(self, images: int, what: str) -> None:
        """Wait until the first ``images`` are received, however long it takes; ``what`` the scan waits for."""
        wanted = images * self.acquisition.depth
        due_s = self._due_s(wanted - self._received)
        if self._wait_received(wanted, due_s, what):
            return
        _log.warning(
            "the scan waits for %s (%s trigger): %d of %d frames received; Ctrl-C ends the scan",
            what,
            self.request.trigger,
            self._received,
            wanted,
        )
        while not self._wait_received(wanted, 3600.0, what):
            pass

    def _due_s(self, frames: int) -> float:
        """Time in which so many frames should be there [s], dead times included."""
        acq = self.acquisition.acquisition_parameters["acq"]
        return max(0, frames) * 1.5e-6 * float(acq["expo_time"] + acq["latency_time"]) + self._waits.point_s

    def _wait_received(self, wanted: int, timeout_s: float, what: str) -> bool:
        """Wait for frames; False when they are not there in time, an error when they will not come."""
        deadline = time.monotonic() + timeout_s
        while self._received < wanted:
            if self.error is not None:
                self._leave_it_to_the_scan()
                raise self.error
            if self._task is not None and self._task.ready():
                raise StateError(f"the acquisition ended before {what}")
            self._news.clear()
            if not self._news.wait(max(0.0, deadline - time.monotonic())):
                return False
        return True

    def _leave_it_to_the_scan(self) -> None:
        """Wait to be ended with the scan, if it is being ended: one error instead of two."""
        if self._scan_ends:
            gevent.event.Event().wait(self._waits.failure_s)

    def _note(self, status: AcquisitionStatus) -> None:
        self.outcome.status = status
        self.outcome.rate.note(status.processed)
        if status.received != self._received:
            self._received = status.received
            self._news.set()

    # --- end ------------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Wait until all is received, processed, saved and published; raises what went wrong.

        After a stop that could not wait for all of it, there is nothing to wait for.
        """
        if self._task is not None and not self._detached:
            self._task.join()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End now: what is there is still processed, saved and published, within ``stop_s``. Never raises."""
        if self._task is None:
            for fault in self.acquisition.stop():
                _log.warning("%s", fault)
            return
        if self._task.ready() or self._detached:
            return
        self._stopping = True
        if self.error is None:
            deadline = time.monotonic() + self._waits.stop_s
            self.acquisition.stop()
            self._task.join(max(0.1, deadline - time.monotonic()))
        else:
            self._task.join(self._waits.failed_s)
        if not self._task.ready():
            self._detach()

    def _detach(self) -> None:
        """Let the scan end now; the last images are saved in the background, and the master file is written then."""
        self._detached = True
        self._error_at_end = self.error
        if self._publishing_watch is not None:
            self._publishing_watch.kill()
        if self.error is None:
            _log.warning("the last images are still being processed or saved; a line says when the files are complete")
        try:
            # the next scan may begin before this acquisition is closed
            self.acquisition.release()
        except Lima2Error as error:
            _log.log(logging.WARNING if self.error is None else logging.DEBUG, "%s", error)
        status = self.outcome.status
        saved = None
        if status is not None and self.acquisition.master_files:
            # what is processed will be saved, unless that is what fails
            saved = status.processed if self.error is None else status.readable
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            try:
                publishing.finish(saved, self._waits.detach_s)
                saved = None
            except Lima2Error as error:
                publishing.abort(f"the scan ended before all was published: {error}")
        self._finish_up(saved)

    def _follow(self) -> None:
        try:
            self.acquisition.wait("finished", on_progress=self._note)
        except Lima2Error as error:
            self._fail(error)
        self._complete()

    def _watch_publishing(self, publishing: Publishing) -> None:
        try:
            publishing.watch()
        except Lima2Error as error:
            self._publishing = None
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self.outcome.error = str(error)
            self._news.set()
            if not self._stopping and not self._detached:
                self._scan_ends = self._on_failure(error)
                self._stop_task = gevent.spawn(self.acquisition.stop)

    def _complete(self) -> None:
        limited = self._stopping or self.error is not None
        saved: int | None = None
        if self._publishing_watch is not None:
            self._publishing_watch.kill()
        if self._stop_task is not None:
            self._stop_task.join()
        try:
            self.outcome.files = self.acquisition.close(self._waits.end_s)
            # what is known now; asking a receiver that is gone would take its time
            self.outcome.status = self.acquisition.wait(lambda status: True)
            if self.outcome.files:
                saved = self.outcome.status.readable
        except Lima2Error as error:
            self._fail(error)
        if self._publishing is not None:
            try:
                self._publishing.finish(saved, self._waits.stop_s if limited else self._waits.publish_s)
                saved = None
            except Lima2Error as error:
                self._give_up_publishing(str(error))
                self._fail(error)
        self._finish_up(saved)
        if self._detached:
            self._tell_end()

    def _tell_end(self) -> None:
        """The scan was over long ago: its user reads here how its files are."""
        status, uuid = self.outcome.status, self.outcome.uuid
        if self.error is not self._error_at_end:
            _log.warning("acquisition %s of an earlier scan ended with an error: %s", uuid, self.error)
        elif status is not None and (self.error is None or self.outcome.files):
            files = ", ".join(str(path) for path in self.outcome.files.values())
            saved = status.saved if self.error is None else status.readable
            _log.warning("the files of the earlier scan are complete: %d images saved, %s", saved, files or "none")

    def _give_up_publishing(self, why: str) -> None:
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            publishing.abort(why)
