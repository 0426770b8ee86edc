"""The acquisitions of a live view: short ones, unsaved, one after another, offered to viewers by the image device."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import gevent
import numpy as np

from lima2_bliss.client import Acquisition, AcquisitionStatus, Detector, DeviceLink
from lima2_bliss.contract import AcqState, Lima2Error, NotAvailableError
from lima2_bliss.contract.access import AttachJob, LiveJob, LiveWish
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.detector_settings import deep_merged
from lima2_bliss.controller.parameters import DetectorState, acquisition_parameters, processing_parameters
from lima2_bliss.controller.rate import ImageRate
from lima2_bliss.controller.scan_request import ScanRequest

_log = logging.getLogger(__name__)

#: Places for frames on each receiver: the newest image is all that is wanted of a live view.
_PLACES = {"nb_fifo_frames": 20, "nb_frames_buffer": 4, "nb_input_frames_buffer": 1}


@dataclass(frozen=True)
class LiveLimits:
    """Times of a live view [s].

    After ``segment_s`` the next acquisition begins; images are ``period_s`` apart or more. Viewers and settings are
    looked at every ``poll_s``; a session that is not heard of for ``lease_s`` is gone. The view is resumed ``resume_s``
    after a scan, if none follows. It has ``stop_s`` to end by itself.
    """

    segment_s: float = 10.0
    period_s: float = 0.04
    poll_s: float = 0.5
    lease_s: float = 5.0
    resume_s: float = 0.5
    stop_s: float = 1.0


def live_settings(state: DetectorState) -> DetectorState:
    """Settings of a live view, made of those of the user: the images that scans give, nothing looked for or saved."""
    fewer = {name: min(places, getattr(state.processing, name)) for name, places in _PLACES.items()}
    detector = state.detector
    if isinstance(detector.get("pedestals"), dict):  # of a Jungfrau: sums of dark frames would be written
        detector = deep_merged(detector, {"pedestals": {"enabled": False}})
    return replace(
        state,
        processing=state.processing.model_copy(update={"pipeline": "legacy", "max_countrate": None, **fewer}),
        saving=state.saving.model_copy(update={"enabled": False, "raw": "none"}),
        detector=detector,
        rois={},
        profiles={},
    )


def live_request(state: DetectorState, expo_time: float, limits: LiveLimits = LiveLimits()) -> ScanRequest:
    """One acquisition of the live view: as many images as fit into ``segment_s``, at least one."""
    latency = max(state.acquisition.latency_time, limits.period_s - expo_time)
    nb_images = max(1, math.ceil(limits.segment_s / (expo_time + latency)))
    return ScanRequest(nb_images, expo_time, "internal", latency_time=latency)


class LiveAcquisitions:
    """Begins, follows and ends the acquisitions of a live view; ``settings()`` are those of the user now.

    ``note(uuid)`` is called for each of them.
    """

    def __init__(
        self,
        given: Configuration,
        connection: Connection,
        settings: Callable[[], DetectorState],
        note: Callable[[str], None],
        limits: LiveLimits,
    ) -> None:
        # one more than scans keep: their frames stay readable
        self._client = Detector(given.control, given.receivers, keep_pipelines=connection.client.keep_pipelines + 1)
        self._access = DeviceLink(given.access)
        self._control = DeviceLink(given.control)
        self._settings = settings
        self._note = note
        self._limits = limits
        self._present: Acquisition | None = None
        self._armed_with: DetectorState | None = None
        self._before = self._taken = 0
        self.expo_time = 0.0
        self.rate = ImageRate()

    @property
    def images(self) -> int:
        """Images of the live view so far."""
        return self._before + self._taken

    def restart_counting(self) -> None:
        """A new live view begins."""
        self._before = self._taken = 0
        self.rate = ImageRate()

    def last_image(self) -> np.ndarray | None:
        """Newest frame (channels, height, width), None when there is none or a scan has come since."""
        if self._present is None:
            return None
        try:
            return self._present.frame(-1)
        except NotAvailableError:
            return None

    def begin(self, expo_time: float) -> None:
        """Start the next acquisition, with images of ``expo_time`` [s]."""
        self._before += self._taken
        self._taken = 0
        self.forget()
        self._armed_with = self._settings()
        live = live_settings(self._armed_with)
        request = live_request(live, expo_time, self._limits)
        processing = processing_parameters(live, None).model_dump(mode="json")
        acquisition = self._client.prepare(acquisition_parameters(live, request), processing)
        shown = AttachJob(uuid=acquisition.uuid, endpoints=acquisition.endpoints(), nb_frames=acquisition.nb_frames)
        job = LiveJob(
            images=shown,
            before=self._before,
            expo_time_s=expo_time,
            latency_s=request.latency_time or 0.0,
            lease_s=self._limits.lease_s,
        )
        try:
            self._access.call("ShowLive", job.model_dump_json())
            acquisition.start()
        except Lima2Error:
            self._client.reset()
            raise
        self._present, self.expo_time = acquisition, expo_time
        self._note(acquisition.uuid)

    def follow(self) -> LiveWish:
        """Until the acquisition is over, or settings or wishes of viewers have changed; what is wished next."""
        acquisition = self._present
        assert acquisition is not None
        wish = LiveWish(expo_time_s=self.expo_time)
        look_at = 0.0

        def over(status: AcquisitionStatus) -> bool:
            nonlocal wish, look_at
            self._taken = status.processed
            self.rate.note(self.images)
            if status.finished or time.monotonic() < look_at:
                return status.finished
            look_at = time.monotonic() + self._limits.poll_s
            wish = self.wishes()
            return not wish.run or wish.expo_time_s != self.expo_time or self._settings() != self._armed_with

        try:
            finished = acquisition.wait(over).finished
        except Lima2Error:
            acquisition.stop()
            raise
        if finished:
            acquisition.release()
        else:
            self.end(fast=False)
        return wish

    def wishes(self) -> LiveWish:
        """What viewers ask for; tells them that somebody listens."""
        return LiveWish.model_validate_json(self._access.call("PollLive"))

    def end(self, fast: bool) -> None:
        """End exposing, and let the last images through if it is not to be ``fast``; what takes long is given up."""
        acquisition = self._present
        if acquisition is None:
            return
        if not fast:
            acquisition.stop()
            try:
                status = acquisition.wait(lambda status: status.finished, timeout_s=self._limits.stop_s)
                self._taken = status.processed
                acquisition.release()
                return
            except Lima2Error as error:
                _log.debug("live acquisition %s is given up: %s", acquisition.uuid, error)
        self._client.reset()

    def forget(self) -> None:
        """Free the memory of the acquisition that was shown last."""
        acquisition, self._present = self._present, None
        if acquisition is None:
            return
        try:
            self._client.erase(acquisition.uuid)
        except Lima2Error as error:
            _log.debug("live acquisition %s is left to the receivers: %s", acquisition.uuid, error)

    def tell_end(self, paused: bool = False) -> None:
        """Tell viewers that no more images come, or none until one of them wants some again."""
        try:
            self._access.call("EndLive", paused)
        except Lima2Error as error:
            _log.debug("the image device was not told that the live view has ended: %s", error)

    def end_elsewhere(self) -> bool:
        """End a live view that another session runs, or has left behind; True if there was one."""
        try:
            uuid, heard = self._access.read("live_uuid", "video_live")
            if not uuid or uuid != self._control.read("uuid")[0] or not self._busy():
                return False
            if heard:
                self._access.write({"video_live": False})
        except Lima2Error as error:
            _log.debug("no live view to end elsewhere: %s", error)
            return False
        deadline = time.monotonic() + self._limits.poll_s + self._limits.stop_s
        while self._busy():
            if not heard or time.monotonic() > deadline:  # its session is gone
                self._client.reset()
                break
            gevent.sleep(0.05)
        return True

    def _busy(self) -> bool:
        states = self._client.states()
        return not {states.control, *states.receivers} <= {AcqState.IDLE, AcqState.PREPARED}
