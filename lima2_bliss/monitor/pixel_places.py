"""What a scan says of a detector's pixels: which of them do not count, and where the radial bins lie."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.monitor.describing import device_metadata
from lima2_bliss.monitor.model import Geometry

_log = logging.getLogger(__name__)

#: Radial units: of lengths on the detector [m], of angles [rad], of 2 pi / d [1/nm].
_METRES = {"r_m": 1.0, "r_mm": 1e-3}
_ANGLES = {"2th_deg": np.pi / 180, "2th_rad": 1.0}
_Q = {"q_nm^-1": 1.0, "q_A^-1": 10.0}


def mask_of(info: Mapping[str, Any], detector: str, shape: tuple[int, int]) -> np.ndarray | None:
    """bool ``shape``, True for pixels that do not count, from the mask file that the scan names.

    None when there is none, when it cannot be read from here, or when it is of another shape (an image that was cut,
    binned or turned).
    """
    given = device_metadata(info, detector).get("mask", {}).get("file")
    if not given:
        return None
    path, _, inside = str(given).partition("::")
    try:
        values = _dataset(path, inside) if inside else np.load(path, allow_pickle=False)
    except (OSError, ValueError, KeyError) as error:
        _log.info("the mask %s cannot be read: %s", given, error)
        return None
    masked: np.ndarray = np.asarray(values).reshape(np.shape(values)[-2:]) != 0
    return masked if masked.shape == shape else None


def _dataset(path: str, inside: str) -> np.ndarray:
    import h5py

    with h5py.File(Path(path), "r") as file:
        return np.asarray(file[inside][()])


def bin_radii(
    info: Mapping[str, Any], detector: str, where: Geometry, shape: tuple[int, int], nb_bins: int
) -> np.ndarray | None:
    """Radii of the bins of pipeline smx in its radial unit, while no file tells them: evenly from the nearest pixel to
    the farthest. None for a detector that is tilted, and for a unit that is not known.
    """
    metadata = device_metadata(info, detector)
    tilts = [metadata.get("poni", {}).get(name, 0.0) for name in ("rot1", "rot2")]
    unit = metadata.get("hit_finding", {}).get("unit", "")
    if any(abs(float(tilt)) > 1e-6 for tilt in tilts) or unit not in {**_METRES, **_ANGLES, **_Q}:
        return None
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - where.beam_y, x - where.beam_x)
    masked = mask_of(info, detector, shape)
    if masked is not None:
        radius = radius[~masked]
    if not radius.size:
        return None
    ends = in_unit(np.array([radius.min(), radius.max()]) * where.pixel_m, unit, where)
    width = (ends[1] - ends[0]) / nb_bins
    return np.asarray(ends[0] + (np.arange(nb_bins) + 0.5) * width)


def in_unit(radius_m: np.ndarray, unit: str, where: Geometry) -> np.ndarray:
    """Radii on the detector [m] in a radial unit of pipeline smx."""
    if unit in _METRES:
        return radius_m / _METRES[unit]
    angle = np.arctan(radius_m / where.distance_m)
    if unit in _ANGLES:
        return np.asarray(angle / _ANGLES[unit])
    return np.asarray(4 * np.pi * np.sin(angle / 2) / where.wavelength_nm / _Q[unit])


def inverse_spacings(radii: np.ndarray, unit: str, where: Geometry) -> np.ndarray | None:
    """1/d [1/nm] of radii in a radial unit of pipeline smx; None for a unit that is none of them."""
    if unit in _Q:
        return np.asarray(radii * _Q[unit] / (2 * np.pi))
    if unit in _ANGLES:
        angle = radii * _ANGLES[unit]
    elif unit in _METRES:
        angle = np.arctan(radii * _METRES[unit] / where.distance_m)
    else:
        return None
    return np.asarray(2 * np.sin(angle / 2) / where.wavelength_nm)
