"""Calibrations of a Jungfrau in files: one HDF5 file each, versioned; an existing file is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.calibration import STAGES, Calibration
from lima2_receivers.detectors.jungfrau.versioned_file import read_versioned, write_new_file

FORMAT = "lima2-bliss Jungfrau calibration"

#: Raised by one when older programs cannot read the file any more.
VERSION = 1

_UNITS = {"gains": "ADU/keV", "pedestals": "ADU", "noise": "ADU"}


def save_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a new file, which appears when it is complete; `SavingError` if it exists or cannot be written."""
    write_new_file(path, "calibration", lambda file: _write(file, calibration))


def _write(file: Any, calibration: Calibration) -> None:
    file.attrs.update(format=FORMAT, version=VERSION, serial=calibration.serial)
    file.attrs.update(taken_at=calibration.taken_at.isoformat(), stages=json.dumps(STAGES))
    file.attrs["conditions"] = json.dumps(dict(calibration.conditions))
    file.attrs["history"] = json.dumps(calibration.history)
    file["module_ids"] = np.array(calibration.module_ids, np.int64)
    for name in ("gains", "pedestals", "noise", "mask"):
        values = getattr(calibration, name)
        chunks = (*(1 for _ in values.shape[:-2]), *values.shape[-2:])
        stored = file.create_dataset(
            name, data=values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
        )
        if name in _UNITS:
            stored.attrs["units"] = _UNITS[name]


def load_calibration(path: str | Path) -> Calibration:
    """Read a file; `ParameterError` says what is wrong with one that is no calibration, or of a newer version."""
    return read_versioned(path, "calibration", FORMAT, VERSION, lambda file: _read(file, path))


def _read(file: Any, path: str | Path) -> Calibration:
    attributes: Mapping[str, Any] = file.attrs
    if json.loads(attributes["stages"]) != list(STAGES):
        raise ParameterError(f"{path} has the stages {attributes['stages']}, not {', '.join(STAGES)}")
    return Calibration(
        **{name: file[name][()] for name in ("gains", "pedestals", "noise", "mask")},
        module_ids=tuple(int(number) for number in file["module_ids"][()]),
        taken_at=datetime.fromisoformat(attributes["taken_at"]),
        serial=str(attributes["serial"]),
        conditions=json.loads(attributes["conditions"]),
        history=tuple(json.loads(attributes["history"])),
    )
