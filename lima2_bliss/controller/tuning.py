"""Trying other thresholds on the frames of the last scan, with the tuning helper of the receivers' package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lima2_bliss.contract import NotAvailableError, ParameterError
from lima2_bliss.controller.parameters import processing_parameters

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector

_PACKAGE = "lima2_receivers"
_PROGRAM = "lima2_receivers.tuning.cli"


def tune(
    detector: Lima2Detector, file: str | Path | None, nb_frames: int, settings: Mapping[str, Any], timeout_s: float
) -> str:
    """Table of hits, spots and reduction for every combination of ``settings`` (a value or several for each name).

    Frames come from ``file``; None: from the dense master file of the last acquisition, or from the receivers' memory
    when it was not saved. All other parameters are those that the detector has now. Raises `ParameterError` with what
    the helper refuses.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ParameterError(
            "the kernels are not installed beside BLISS; run lima2-smx-tune on a receiver's host, or install "
            "lima2-bliss[receivers] here"
        )
    if not settings:
        raise ParameterError("nothing to try; give settings with values, as in tune(cutoff_peak=[4, 5], min_spots=10)")
    with tempfile.TemporaryDirectory(prefix="lima2-tune-") as place:
        parameters = Path(place) / "parameters.json"
        parameters.write_text(processing_parameters(detector.settings_now(), None).model_dump_json())
        frames = Path(file) if file is not None else _last_frames(detector, Path(place), nb_frames)
        command = [sys.executable, "-m", _PROGRAM, str(frames), "--params", str(parameters)]
        command += ["--max-frames", str(nb_frames)]
        for name, values in settings.items():
            command += ["--set", f"{name}={_listed(values)}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise ParameterError(f"{detector.name}.tune: {lines[-1]}")
    return done.stdout.rstrip()


def _listed(values: Any) -> str:
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        values = [values]
    return ",".join(str(value) for value in values)


def _last_frames(detector: Lima2Detector, place: Path, nb_frames: int) -> Path:
    """File with the frames of the last acquisition."""
    master = detector.last_outcome.files.get("frame")
    if master is not None and Path(master).exists():
        return Path(master)
    frames = detector.last_acquisition.frames(slice(-nb_frames, None), skip_missing=True)
    kept = [pixels[0] for _, pixels in frames]
    if not kept:
        raise NotAvailableError(
            f"the last frames of {detector.name} were not saved and have left the receivers' memory; give a file"
        )
    path = place / "frames.npy"
    np.save(path, np.stack(kept))
    return path
