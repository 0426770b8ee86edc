"""The scans of the experiments, with small images that carry their number in their first pixel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from bliss.common.scans import ascan, ct, loopscan

from lima2_bliss.contract import Lima2Error

SIDE = 64
PONI = """\
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05, "max_shape": [64, 64], "orientation": 3}
Distance: 0.1
Poni1: 0.0024
Poni2: 0.0024
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 1e-10
"""


def settle(det: Any, place: Path) -> None:
    """The settings of all experiments."""
    det.roi_counters.clear()
    det.roi_profiles.clear()
    det.reset_settings()
    det.detector.update({"size.x": SIDE, "size.y": SIDE, "stamp_frame_number": True})
    det.roi_counters.set("number", (0, 0, 1, 1))
    det.saving.frames_per_file = 7
    poni = place / "geometry.poni"
    poni.write_text(PONI)
    det.smx.update({"poni": str(poni), "bins": 20, "backend": "cpu"})


def make_scan(kind: str, dets: list[Any], motor: Any, save: bool) -> Callable[[], Any]:
    """A call that runs the scan and returns it; ``dets[0]`` is the detector that has the trouble."""
    det = dets[0]
    det.processing.pipeline = "smx" if kind == "smx" else "legacy"
    det.acquisition.step_trigger = "external" if kind == "external_steps" else "software"
    calls: dict[str, Callable[[], Any]] = {
        "ct": lambda: ct(0.2, det, save=save),
        "loopscan": lambda: loopscan(15, 0.01, det, save=save),
        "ascan": lambda: ascan(motor, 0, 0.1, 5, 0.01, det, save=save),
        "take": lambda: det.take(40, 0.01, save=save),
        "endless": lambda: det.take(0, 0.01, save=save),
        "external": lambda: det.take(40, 0.005, trigger="external", save=save),
        "external_steps": lambda: loopscan(20, 0.005, det, save=save),
        "smx": lambda: det.take(30, 0.01, save=save),
        "two_detectors": lambda: loopscan(12, 0.01, *dets, save=save),
    }
    return calls[kind]


def pulse(det: Any, scan: gevent.Greenlet) -> None:
    """Give trigger pulses until the scan is over or 25 have been given."""
    given = 0
    while not scan.ready() and given < 25:
        with contextlib.suppress(Lima2Error):  # not exposing yet, or no more
            given += int(det.command("pulse", {"n": 5, "period_s": 0.02})["frames"])
        scan.join(0.05)
