"""What a detector says of itself when its name is typed in the shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lima2_bliss.contract import AcqState, Lima2Error, system_state
from lima2_bliss.controller.metadata import detector_model
from lima2_bliss.controller.outcome import count_lines
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_report import smx_lines

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector
    from lima2_bliss.controller.parameters import DetectorState

_FLIPS = {"left_right": "flipped left-right", "up_down": "flipped up-down", "both": "flipped left-right and up-down"}
_ROTATIONS = {
    "90cw": "rotated by 90 degrees clockwise",
    "180": "rotated by 180 degrees",
    "90ccw": "rotated by 90 degrees counter-clockwise",
}


def _size(shape: tuple[int, int] | None) -> str:
    return "size not known before a scan" if shape is None else f"{shape[1]} x {shape[0]} pixels (width x height)"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _seconds(value: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g} s"


def image_words(image: ImageSettings) -> str:
    """What is done to the geometry, in the order in which it is done."""
    words = []
    if image.binning != (1, 1):
        words.append(f"binned {image.binning[0]} x {image.binning[1]}")
    if image.roi is not None:
        x, y, width, height = image.roi
        words.append(f"cut to x={x} y={y} width={width} height={height}")
    words += [table[key] for table, key in ((_FLIPS, image.flip), (_ROTATIONS, image.rotation)) if key in table]
    return ", then ".join(words) or "the full frame as it is"


def processing_words(processing: ProcessingSettings) -> str:
    """What is done to the pixel values."""
    words = []
    for name, file in (
        ("mask", processing.mask),
        ("dark", processing.background),
        ("flat field", processing.flatfield),
    ):
        if file is not None:
            words.append(f"{name} {file}")
    if processing.accumulation > 1:
        words.append(f"{processing.accumulation} exposures summed into each image")
    if processing.max_exposure is not None:
        words.append(f"exposures longer than {_seconds(processing.max_exposure)} summed of shorter ones")
    if processing.accumulation_time == "real" and (processing.accumulation > 1 or processing.max_exposure is not None):
        words.append("dead times counted in")
    if processing.max_countrate is not None:
        words.append(f"scan ends above {processing.max_countrate:g} counts/s in a pixel")
    return "; ".join(words) or "no mask, dark or flat field, no accumulation"


def step_words(acquisition: AcquisitionSettings) -> str:
    """How the images of a step scan are taken."""
    return (
        f"{_number(acquisition.frames_per_point, 'image')} per point, {acquisition.step_trigger} trigger,"
        f" dead time {_seconds(acquisition.latency_time)}"
    )


def saving_words(saving: SavingSettings) -> str:
    """Whether and how images are saved."""
    if not saving.enabled:
        return "off (no images are saved)"
    raw = {"none": "", "all": ", also all raw frames", "hits": ", also the raw frames of hits"}[saving.raw]
    return f"with each saved scan, compression {saving.compression}, {saving.frames_per_file} images per file{raw}"


def _pixel(info: Mapping[str, Any]) -> str:
    size = info.get("pixel_size")
    return f", pixel {float(size['x']) * 1e6:g} x {float(size['y']) * 1e6:g} um" if size else ""


def _devices(detector: Lima2Detector) -> list[str]:
    states = detector.device_states()
    width = max(map(len, states))
    lines = [f"State:      {system_state(states.values()).name}"]
    for name, state in states.items():
        kind = "control" if name == detector.control_name else "receiver"
        lines.append(f"  {kind:<9} {name:<{width}}  {'not running' if state is AcqState.OFFLINE else state.name}")
    if AcqState.OFFLINE in states.values():
        lines.append("  Start what is not running, then scan again; settings can be changed meanwhile.")
    return lines


def _processing(settings: DetectorState, info: Mapping[str, Any]) -> list[str]:
    if settings.processing.pipeline == "legacy":
        return [f"Processing: pipeline legacy: {processing_words(settings.processing)}"]
    pixel = info.get("pixel_size")
    size = (float(pixel["x"]), float(pixel["y"])) if pixel else None
    return ["Processing: pipeline smx", *smx_lines(settings.smx, size)]


def detector_report(detector: Lima2Detector, more: Sequence[str] = ()) -> str:
    """State, devices, sizes, key settings, ROIs and the last acquisition, as lines of text; ``more`` before saving."""
    info: dict[str, Any] = {}
    try:
        info = detector.detector_info()
        what = detector_model(info) + (f", serial number {info['sn']}" if info.get("sn") else "")
    except Lima2Error as error:
        what = f"detector unknown: {error}"
    settings = detector.settings_now()
    name = detector.name
    lines = [
        f"{name}: {what}",
        *_devices(detector),
        f"Detector:   {_size(detector.detector_shape())}{_pixel(info)}",
        f"Image:      {_size(detector.image_shape())}: {image_words(settings.image)}",
        f"Step scans: {step_words(settings.acquisition)}",
        *_processing(settings, info),
        *more,
        f"Saving:     {saving_words(settings.saving)}",
        detector.roi_counters.__info__(),
        detector.roi_profiles.__info__(),
        "Last acquisition of this session:",
        *(f"  {line}" for line in count_lines(detector.last_outcome)),
        f"Settings: {name}.acquisition, .image, .processing, .smx, .saving, .detector, .roi_counters, .roi_profiles,"
        f" .mask; sets of them: {name}.settings; what runs: {name}.topology, .receivers, .pipelines, .live;"
        f" commands: {name}.commands",
    ]
    return "\n".join(lines)
