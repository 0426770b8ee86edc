"""What a scan asks of the detector, checked: frames, exposure, trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Parameters, TriggerMode, parse
from lima2_bliss.controller.frame_waits import FrameIds, frame_ids
from lima2_bliss.controller.settings_models import AcquisitionSettings

#: The trigger words of LImA 1 scans: (mode, one trigger starts all frames).
_LIMA1_TRIGGERS: Mapping[str, tuple[TriggerMode, bool]] = {
    "INTERNAL_TRIGGER": ("internal", False),
    "INTERNAL_TRIGGER_MULTI": ("software", False),
    "EXTERNAL_TRIGGER": ("external", True),
    "EXTERNAL_TRIGGER_MULTI": ("external", False),
    "EXTERNAL_GATE": ("gate", False),
}
_TRIGGERS: tuple[TriggerMode, ...] = ("internal", "software", "external", "gate")


class AcqParams(Parameters):
    """The ``acq_params`` of an acquisition object. LImA 1 trigger words are understood."""

    acq_expo_time: float = Field(gt=0, le=86_400, description="count time of one image [s]")
    acq_nb_frames: int = Field(1, ge=0, le=2**31 - 1, description="images in the scan; 0 until the scan is stopped")
    acq_trigger_mode: str = "internal"
    acq_frames_per_point: int = Field(1, ge=1, description="images at each trigger")
    acq_wait_each_point: bool = Field(
        False,
        description="external and gate trigger: the scan goes on to its next point when this one's images are there",
    )
    latency_time: float | None = Field(None, ge=0, description="dead time between two frames [s]; None: the setting")
    acq_mode: Literal["SINGLE"] = Field("SINGLE", description="accumulation is set by det.processing.accumulation")
    prepare_once: bool = Field(
        True, description="False: acq_nb_frames are those of each iteration, of which wait_frame_id has one entry each"
    )
    start_once: bool = Field(False, description="kept for LImA 1 scans")
    wait_frame_id: Any = Field(
        None, description="for each iteration the index of the image that must be there before the next one; or None"
    )


@dataclass(frozen=True)
class ScanRequest:
    """Images and triggers of one scan. ``nb_images`` 0 is endless; ``expo_time`` is the count time of an image [s].

    ``wait_each_point``: the scan waits at each point for the images that an external signal triggers there.
    ``wait_frame_ids``: for each iteration of the scan the image that must be there before the next one.
    """

    nb_images: int
    expo_time: float
    trigger: TriggerMode
    images_per_trigger: int = 1
    latency_time: float | None = None
    wait_each_point: bool = False
    wait_frame_ids: FrameIds | None = None

    @property
    def endless(self) -> bool:
        return self.nb_images == 0


def step_parameters(
    settings: AcquisitionSettings, scan_params: Mapping[str, Any], acq_params: Mapping[str, Any]
) -> dict[str, Any]:
    """``acq_params`` of a step scan, filled up from the settings: ``frames_per_point`` images at each point."""
    per_point = acq_params.get("acq_frames_per_point", settings.frames_per_point)
    npoints = scan_params.get("npoints", 1)
    return {
        **acq_params,
        "acq_nb_frames": acq_params.get("acq_nb_frames", npoints * per_point),
        "acq_expo_time": acq_params.get("acq_expo_time", scan_params.get("count_time", 1.0)),
        "acq_trigger_mode": acq_params.get("acq_trigger_mode", settings.step_trigger),
        "acq_frames_per_point": per_point,
        "acq_wait_each_point": acq_params.get("acq_wait_each_point", True),
    }


def scan_request(name: str, acq_params: Mapping[str, Any]) -> ScanRequest:
    """The request in ``acq_params``; one `ParameterError` that names the detector and every fault."""
    params = parse(AcqParams, dict(acq_params), f"{name}: acquisition parameters")
    word = params.acq_trigger_mode
    if word in _LIMA1_TRIGGERS:
        trigger, all_at_once = _LIMA1_TRIGGERS[word]
    elif word in _TRIGGERS:
        trigger, all_at_once = word, False
    else:
        raise ParameterError(f"{name}: acq_trigger_mode {word!r} is unknown; allowed: {', '.join(_TRIGGERS)}")
    per_trigger = params.acq_frames_per_point
    if all_at_once and params.acq_nb_frames:
        per_trigger = params.acq_nb_frames
    if trigger == "internal":
        per_trigger = 1
    ids = frame_ids(name, params.wait_frame_id, params.acq_nb_frames)
    if not params.prepare_once and ids is not None:
        return _each_iteration(name, params, trigger, per_trigger, ids)
    if params.acq_nb_frames % per_trigger:
        raise ParameterError(
            f"{name}: {params.acq_nb_frames} images are no multiple of {per_trigger} images per trigger;"
            " change acq_nb_frames or acq_frames_per_point"
        )
    waits = params.acq_wait_each_point and trigger in ("external", "gate") and not all_at_once
    return ScanRequest(
        params.acq_nb_frames, params.acq_expo_time, trigger, per_trigger, params.latency_time, waits, ids
    )


def _each_iteration(name: str, params: AcqParams, trigger: TriggerMode, per_trigger: int, ids: FrameIds) -> ScanRequest:
    """The request of a LImA 1 scan that prepares anew at each iteration: here one acquisition of all its images."""
    nb_images = params.acq_nb_frames
    if not isinstance(ids, tuple) or set(ids) != {nb_images - 1}:
        raise ParameterError(
            f"{name}: with prepare_once = False, wait_frame_id must be a list of acq_nb_frames - 1 ="
            f" {nb_images - 1} for each iteration"
        )
    if trigger == "internal":
        trigger, per_trigger = "software", nb_images
    elif nb_images % per_trigger:
        raise ParameterError(f"{name}: {nb_images} images are no multiple of {per_trigger} images per trigger")
    ends = tuple(range(nb_images - 1, len(ids) * nb_images, nb_images))
    return ScanRequest(
        len(ids) * nb_images, params.acq_expo_time, trigger, per_trigger, params.latency_time, False, ends
    )
