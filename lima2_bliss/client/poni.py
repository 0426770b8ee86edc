"""What a PONI file of pyFAI says of geometry and wavelength, for reports, scan files and master files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, tan
from pathlib import Path

#: Lengths [m] and angles [rad] of a PONI file, in the order of pyFAI's `Geometry`.
_NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3")


@dataclass(frozen=True)
class BeamGeometry:
    """``distance_m`` from sample to detector along the beam; where the beam meets the detector [px], counted from the
    outer corner of the first pixel, None when the pixel size is not known; wavelength None when the file has none.

    ``poni``: the file's own numbers by name ([m], [rad]): `distance`, `poni1`, `poni2`, `rot1`, `rot2`, `rot3`.
    """

    distance_m: float
    beam_x_px: float | None = None
    beam_y_px: float | None = None
    wavelength_m: float | None = None
    poni: Mapping[str, float] = field(default_factory=dict)


def beam_geometry(path: str, pixel_m: tuple[float, float] | None = None) -> BeamGeometry | None:
    """The geometry in a PONI file; None when this host cannot read it or it lacks the distance.

    ``pixel_m`` (x, y) is used when the file only names its detector.
    """
    try:
        values = _values(Path(path).read_text())
        numbers = {name: float(values[name] if name in _NUMBERS[:3] else values.get(name, 0)) for name in _NUMBERS}
        wavelength = float(values["wavelength"]) if "wavelength" in values else None
        pixel_m = _pixel(values) or pixel_m
        plain = _orientation(values) in (0, 3)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    distance, rot1, rot2 = (numbers[name] for name in ("distance", "rot1", "rot2"))
    along_beam = distance / (cos(rot1) * cos(rot2))
    if pixel_m is None or not plain:
        return BeamGeometry(along_beam, wavelength_m=wavelength, poni=numbers)
    # the detector is turned by rot1 about its vertical and by rot2 about its horizontal axis, both left-handed
    x = (numbers["poni2"] - distance * tan(rot1)) / pixel_m[0]
    y = (numbers["poni1"] + distance * tan(rot2) / cos(rot1)) / pixel_m[1]
    return BeamGeometry(along_beam, x, y, wavelength, numbers)


def _values(text: str) -> dict[str, str]:
    """The last value of each key: a file may hold several calibrations, the newest at its end."""
    values = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and not key.startswith("#"):
            values[key.strip().lower()] = value.strip()
    return values


def _config(values: Mapping[str, str]) -> dict[str, object]:
    config = json.loads(values.get("detector_config") or "{}")
    return config if isinstance(config, dict) else {}


def _pixel(values: Mapping[str, str]) -> tuple[float, float] | None:
    config = _config(values)
    x = config.get("pixel2", values.get("pixelsize2"))
    y = config.get("pixel1", values.get("pixelsize1"))
    return (float(str(x)), float(str(y))) if x and y else None


def _orientation(values: Mapping[str, str]) -> int:
    return int(str(_config(values).get("orientation", 3) or 3))
