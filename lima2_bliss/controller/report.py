"""What a detector says of itself when its name is typed in the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lima2_bliss.contract import AcqState, Lima2Error, system_state
from lima2_bliss.controller.scan_run import count_lines
from lima2_bliss.controller.settings import SettingsSection

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector


def _size(shape: tuple[int, int] | None) -> str:
    return "not known before a scan" if shape is None else f"{shape[1]} x {shape[0]} pixels (width x height)"


def _settings_line(section: SettingsSection, *names: str) -> str:
    return ", ".join(f"{name} {getattr(section, name)}" for name in names)


def _devices(detector: Lima2Detector) -> list[str]:
    states = detector.device_states()
    lines = [f"State:      {system_state(states.values()).name}"]
    for name, state in states.items():
        kind = "control" if name == detector.control_name else "receiver"
        lines.append(f"  {kind:<9} {name}  {'not running' if state is AcqState.OFFLINE else state.name}")
    if AcqState.OFFLINE in states.values():
        lines.append("  Start what is not running, then scan again; settings can be changed meanwhile.")
    return lines


def detector_report(detector: Lima2Detector) -> str:
    """State, devices, sizes, key settings, ROIs and the last acquisition, as lines of text."""
    try:
        info: dict[str, Any] = detector.detector_info()
        what = f"{info.get('plugin', '?')} {info.get('model', '')} (serial number {info.get('sn', '?')})"
    except Lima2Error as error:
        what = f"detector unknown: {error}"
    image, processing = detector.image, detector.processing
    lines = [
        f"{detector.name}: {what}",
        *_devices(detector),
        f"Detector:   {_size(detector.detector_shape())}",
        f"Image:      {_size(detector.image_shape())}",
        f"            {_settings_line(image, 'binning', 'roi', 'flip', 'rotation')}",
        f"Acquired:   {_settings_line(detector.acquisition, 'step_trigger', 'frames_per_point', 'latency_time')}",
        f"Processed:  {_settings_line(processing, 'accumulation', 'mask', 'background', 'flatfield')}",
        f"Saved:      {_settings_line(detector.saving, 'enabled', 'compression', 'frames_per_file')}",
        detector.roi_counters.__info__(),
        detector.roi_profiles.__info__(),
        "Last acquisition:",
        *(f"  {line}" for line in count_lines(detector.last_outcome)),
        f"Settings: {detector.name}.acquisition, .image, .processing, .saving, .detector, .roi_counters, .roi_profiles",
    ]
    return "\n".join(lines)
