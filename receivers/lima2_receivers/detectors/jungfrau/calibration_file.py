"""Calibrations of a Jungfrau in files: one HDF5 file each, versioned; an existing file is never overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import ParameterError, SavingError
from lima2_receivers.detectors.jungfrau.calibration import STAGES, Calibration

FORMAT = "lima2-bliss Jungfrau calibration"

#: Raised by one when older programs cannot read the file any more.
VERSION = 1

_UNITS = {"gains": "ADU/keV", "pedestals": "ADU", "noise": "ADU"}


def save_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a new file, which appears when it is complete; `SavingError` if it exists or cannot be written."""
    write_new_file(path, "calibration", lambda file: _write(file, calibration))


def write_new_file(path: str | Path, what: str, write: Callable[[Any], None]) -> None:
    """Let ``write`` fill a new HDF5 file, which appears when it is complete; ``what`` it is, for the errors.

    `SavingError` if it exists or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        with h5py.File(temporary, "w") as file:
            write(file)
        os.link(temporary, path)  # unlike a rename this fails when the name is taken
    except FileExistsError:
        raise SavingError(f"{path} exists already and is kept; give another name for the {what}") from None
    except OSError as error:
        raise SavingError(f"{path}: the {what} could not be written: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


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
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except OSError as error:
        raise ParameterError(f"{path}: calibration cannot be read: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"{path}: damaged calibration: {error}") from None


def _read(file: Any, path: str | Path) -> Calibration:
    attributes: Mapping[str, Any] = file.attrs
    if attributes.get("format") != FORMAT:
        raise ParameterError(f"{path} is no Jungfrau calibration (attribute format is {attributes.get('format')!r})")
    if int(attributes["version"]) > VERSION:
        raise ParameterError(
            f"{path} has version {attributes['version']}; this program reads up to {VERSION}: update it"
        )
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
