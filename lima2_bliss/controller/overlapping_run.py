"""A scan that ends before its images are saved: the next one may begin meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import gevent.event

from lima2_bliss.client import Acquisition, AcquisitionStatus
from lima2_bliss.contract import Lima2Error
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.scan_run import ScanRun, Waits

#: Writers in a process of their own: they would refer to images that are not saved yet (`Echo` cannot hold them back).
NO_OVERLAP = ("nexus", "external")


class OverlappingRun(ScanRun):
    """Lets the scan end as soon as all its frames are received, processed and published.

    What is left is saving; ``unsaved(run)`` is called then. `saved` is set when the files are complete, or never will
    be: `error` says why. An acquisition without files, or until stopped, ends with its scan as any other.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        request: ScanRequest,
        on_failure: Callable[[Exception], bool],
        finish_up: Callable[[int | None], None],
        unsaved: Callable[[OverlappingRun], None],
        waits: Waits = Waits(),
    ) -> None:
        super().__init__(acquisition, request, on_failure, finish_up, waits)
        self._unsaved = unsaved
        self._handed_over = gevent.event.Event()
        self.saved = gevent.event.Event()

    @property
    def images_saved(self) -> int:
        """Images in files by now."""
        status = self.outcome.status
        return 0 if status is None else status.saved

    def wait(self) -> None:
        """Wait until the scan may end; raises what went wrong until then."""
        if self._task is not None and not self._handed_over.is_set():
            gevent.wait([self._task, self._handed_over], count=1)
        if not self._handed_over.is_set():
            super().wait()

    def _follow(self) -> None:
        try:
            status = self.acquisition.wait(_all_processed, on_progress=self._note)
            if self._goes_on(status):
                self._hand_over(status)
            self.acquisition.wait("finished", on_progress=self._note)
        except Lima2Error as error:
            self._fail(error)
        self._complete()
        self.outcome.pending = {}
        self.saved.set()

    def _goes_on(self, status: AcquisitionStatus) -> bool:
        """Nothing is left to do but to save."""
        ends = self._stopping or self.error is not None or status.finished or status.failed
        return not ends and bool(self.acquisition.master_files) and status.processed >= self.acquisition.nb_frames > 0

    def _hand_over(self, status: AcquisitionStatus) -> None:
        """Publish all, tell consumers that the images will be in files, and let the scan end."""
        if self._publishing_watch is not None:
            self._publishing_watch.kill()
        self.acquisition.release()
        publishing, self._publishing = self._publishing, None
        self.outcome.pending = dict(self.acquisition.master_files)
        if publishing is not None:
            try:
                publishing.finish(status.processed, self._waits.publish_s)
            except Lima2Error as error:
                self.outcome.pending = {}
                publishing.abort(f"not all was published: {error}")
                raise
        self._detached = True
        self._finish_up(None)
        self._finish_up = _nothing
        self._unsaved(self)
        self._handed_over.set()

    def _tell_end(self) -> None:
        """Failures are told by `UnsavedScans`."""


def _all_processed(status: AcquisitionStatus) -> bool:
    return status.processing_done or status.finished


def _nothing(saved: int | None) -> None:
    """The scan is over: its streams are sealed."""


def scan_run(
    acquisition: Acquisition,
    request: ScanRequest,
    on_failure: Callable[[Exception], bool],
    finish_up: Callable[[int | None], None],
    unsaved: Callable[[OverlappingRun], None] | None,
) -> ScanRun:
    """The run of a scan, that ends before its images are saved if there is somebody ``unsaved`` to take it over."""
    if unsaved is None:
        return ScanRun(acquisition, request, on_failure, finish_up)
    return OverlappingRun(acquisition, request, on_failure, finish_up, unsaved)
