"""The pedestal scan of a Jungfrau: dark frames of each gain stage, and the calibration that follows from them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from bliss import current_session

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, ParameterError
from lima2_bliss.controller.continuous_scan import TakeRequest, continuous_scan
from lima2_bliss.controller.detector_settings import deep_merged
from lima2_bliss.controller.image_files import make_directory
from lima2_bliss.controller.jungfrau_calibration import FILE, REPORT, pictures_folder
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.settings_models import ImageSettings, ProcessingSettings

if TYPE_CHECKING:
    from lima2_bliss.controller.jungfrau import Jungfrau

#: Gain modes that are measured, and the stage that each gives (in high-gain mode HG0, HG1, HG2).
STAGES = {"dynamic": "G0", "forceswitchg1": "G1", "forceswitchg2": "G2"}

#: A stage needs so many frames.
MIN_FRAMES = 10

#: Different dark frames of one module that a simulated detector makes: with a few its noise would be too small.
DARK_FRAMES = 64

_POLL_S = 0.2


@dataclass(frozen=True)
class PedestalRequest:
    """``nb_frames`` of ``expo_time`` [s] for each stage, dead time [s] or None for the setting; ``gains``: calibration
    file or gain files, None for the calibration in use; ``path``: file to write, None for a name with the date."""

    nb_frames: int
    expo_time: float
    gains: str | Path | Sequence[str | Path] | None = None
    path: str | Path | None = None
    latency_time: float | None = None
    timeout_s: float = 600.0


def pedestal_scan(detector: Jungfrau, request: PedestalRequest) -> str:
    """Take dark frames in three scans, make a calibration file of them and use it; returns what is told the user.

    Settings stay as they are, but for the calibration at the very end.
    """
    settings = detector.detector
    _check(detector, request)
    target = _target(detector, request.path)
    sums = target.with_name(f"{target.stem}_sums")
    make_directory(sums)
    try:
        gains = _gains(detector, request, sums)
        prefixes = {mode: str(sums / stage) for mode, stage in STAGES.items()}
        for mode, stage in STAGES.items():
            name = f"H{stage}" if settings["high_gain"] else stage
            _take_dark(detector, request, mode, name, prefixes[mode])
        report = pictures_folder(target)
        make_directory(report)
        order = {"sums": list(prefixes.values()), "gains": gains, "output": str(target), "report": str(report)}
        made = _done(detector, detector.command("calibrate", order), request.timeout_s)
    finally:
        shutil.rmtree(sums, ignore_errors=True)
    (report / REPORT).write_text(f"{made['report']}\n")
    used = detector.calibration.use(target)
    pictures = ", ".join(Path(path).name for path in made["pictures"])
    return "\n".join([made["report"], f"pictures in {report}: {pictures}", used])


def _check(detector: Jungfrau, request: PedestalRequest) -> None:
    """`ParameterError` for what can be known before the first frame."""
    settings, faults = detector.detector, []
    if settings["wire"] == "external":
        faults.append(
            f'{detector.name}.detector["wire"] is external, so the gain mode cannot be set: set it to detector'
        )
    taken = request.nb_frames - settings["pedestals.skip_frames"] * len(detector.receiver_names)
    if taken < MIN_FRAMES:
        faults.append(f"nb_frames = {request.nb_frames} leaves {taken} frames that count; at least {MIN_FRAMES}")
    paths = [] if request.gains is None else [request.gains] if isinstance(request.gains, str | Path) else request.gains
    missing = [str(path) for path in paths if not Path(path).is_file()]
    if missing:
        faults.append(f"no such gain file: {', '.join(missing)}")
    if request.gains is None and not settings[FILE] and not detector.simulated:
        faults.append("there is no calibration with gains yet: give gains=, a calibration file or PSI's gain files")
    if faults:
        raise ParameterError(f"{detector.name}.pedestal_scan: " + "; ".join(faults))


def _target(detector: Jungfrau, path: str | Path | None) -> Path:
    """The file to write; `ParameterError` when there is one already."""
    if path is None:
        folder = Path(current_session.scan_saving.base_path) / "calibration"
        path = folder / f"{detector.name}_{datetime.now():%Y%m%d_%H%M%S}.h5"
    target = Path(path).absolute()
    if target.suffix != ".h5":
        target = target.with_name(f"{target.name}.h5")
    if target.exists():
        raise ParameterError(f"{target} exists already and is kept; give another path")
    make_directory(target.parent)
    return target


def _gains(detector: Jungfrau, request: PedestalRequest, folder: Path) -> str | list[str]:
    """Gains to go with the pedestals: those given, those in use, or of a simulated detector its own."""
    if request.gains is not None:
        one = isinstance(request.gains, str | Path)
        return str(Path(request.gains).absolute()) if one else [str(Path(path).absolute()) for path in request.gains]  # type: ignore[arg-type, union-attr]
    if detector.detector[FILE]:
        return str(detector.detector[FILE])
    wanted = {"path": str(folder / "gains"), "what": "gains", "det": detector.settings_now().detector}
    made = _done(detector, detector.command("simulated_calibration", wanted), request.timeout_s)
    return [str(path) for path in made["paths"]]


def dark_settings(state: DetectorState, gain_mode: str, prefix: str, dark_images: int = 8) -> DetectorState:
    """Settings to take dark frames with, made of those of the user: nothing but frames as they are read, not saved."""
    wanted: Mapping[str, Any] = {
        "gain_mode": gain_mode,
        "correction": {"output": "raw"},
        "pedestals": {"enabled": True, "path": prefix},
        "running_pedestal": {"enabled": False},
        "beam": {"pattern": "dark", "images": dark_images},  # of a simulated detector; no other looks at it
    }
    buffers = {name: getattr(state.processing, name) for name in ProcessingSettings.model_fields if name[:3] == "nb_"}
    return replace(
        state,
        image=ImageSettings(),
        processing=ProcessingSettings(**buffers),
        saving=state.saving.model_copy(update={"enabled": False}),
        detector=deep_merged(state.detector, wanted),
        rois={},
        profiles={},
    )


def _take_dark(detector: Jungfrau, request: PedestalRequest, gain_mode: str, stage: str, prefix: str) -> None:
    wanted = TakeRequest(request.nb_frames, request.expo_time, latency_time=request.latency_time)
    title = f"{detector.name}.pedestal_scan: {request.nb_frames} dark frames of {stage} ({gain_mode})"
    settings = detector.detector
    modules = settings["geometry.module_rows"] * settings["geometry.module_columns"]
    images = max(settings["beam.images"], DARK_FRAMES // modules)
    with detector.with_settings(lambda state: dark_settings(state, gain_mode, prefix, images)):
        continuous_scan(detector, wanted, (detector.counters.image,), name="pedestals", title=title)


def _done(detector: Jungfrau, state: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
    """The outcome of what control does in the background."""
    with gevent.Timeout(timeout_s, False):
        while state["state"] == "running":
            gevent.sleep(_POLL_S)
            state = detector.command("calibrate_state")
    if state["state"] == "running":
        raise DeviceTimeoutError(
            f"{detector.name}: control is not done with the calibration after {timeout_s:g} s; see its log, and "
            f'{detector.name}.command("calibrate_state")'
        )
    if state["state"] != "done":
        raise AcquisitionError(f"{detector.name}: no calibration was made: {state['error']}")
    return state
