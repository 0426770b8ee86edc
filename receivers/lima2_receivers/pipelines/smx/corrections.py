"""Correction maps of the SMX pipeline: read, combined into one normalisation, bad pixels found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.pipelines.maps import load_map

#: Parameters that name correction maps; what the normalisation is the product of.
DIVIDED = ("flat_path", "solid_angle_path", "polarization_path", "absorption_path")
MAPS = ("mask_path", "dark_path", "dark_variance_path", "variance_path", *DIVIDED)


@dataclass(frozen=True)
class RawMaps:
    """Maps float32 (height * width), None where there is none; ``masked``: bool, also where a map is not usable."""

    masked: np.ndarray
    dark: np.ndarray | None = None
    dark_variance: np.ndarray | None = None
    variance: np.ndarray | None = None
    divided: list[np.ndarray] = field(default_factory=list)


def read_maps(fai: Fai, info: FrameInfo, faults: list[str]) -> RawMaps:
    """Read all maps; what cannot be used is added to ``faults`` and left out."""
    masked = np.zeros(info.height * info.width, bool)
    found: dict[str, np.ndarray] = {}
    for name in MAPS:
        path = getattr(fai, name)
        if not path:
            continue
        try:
            pixels = load_map(path, info, f"fai.{name}")[0].ravel()
        except ParameterError as error:
            faults.append(error.what)
            continue
        if name == "mask_path":
            masked |= pixels != 0  # also NaN
            continue
        pixels = pixels.astype(np.float32)
        bad = ~np.isfinite(pixels)
        if name.endswith("variance_path"):
            bad |= pixels < 0
        if bad.all():
            faults.append(f"fai.{name}: {path} has no usable value")
            continue
        masked |= bad
        found[name] = pixels
    divided = [found[name] for name in DIVIDED if name in found]
    if divided:
        product = combined(divided, 1.0)
        masked |= ~(product > 0)
        if not (product > 0).any():
            given = ", ".join(f"fai.{name}" for name in DIVIDED if name in found)
            faults.append(f"{given}: the normalisation is nowhere positive; check what is in the files")
    return RawMaps(masked, found.get("dark_path"), found.get("dark_variance_path"), found.get("variance_path"), divided)


def combined(maps: list[np.ndarray], factor: float) -> np.ndarray:
    """Product of maps and factor, float32; 0 where it is not a positive number."""
    product = np.full(maps[0].size, factor, np.float64)
    for pixels in maps:
        product *= pixels
    with np.errstate(over="ignore"):
        result = product.astype(np.float32)
    result[~((result > 0) & np.isfinite(result))] = 0
    return result
