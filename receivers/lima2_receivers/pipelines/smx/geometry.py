"""The geometry of an experiment as the SMX pipeline needs it: radial bins, what is known of the experiment, faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lima2_receivers.kernels.smx_types import RadialBins

logger = logging.getLogger(__name__)

#: Radial units with what stands on an axis.
UNIT_LABELS = {
    "r_m": "Radius (m)",
    "r_mm": "Radius (mm)",
    "q_nm^-1": "Scattering vector (nm^-1)",
    "q_A^-1": "Scattering vector (Å^-1)",
    "2th_deg": "Scattering angle (deg)",
    "2th_rad": "Scattering angle (rad)",
}

#: Set-ups with fewer bins that have pixels are refused: nearly always a wrong unit, mask or number of bins.
SMALLEST_FILLED_SHARE = 0.5

#: Bin centres may be off an even spacing by this share of the spacing.
SPACING_TOLERANCE = 0.01


@dataclass(frozen=True)
class Geometry:
    """Radial bins and what comes with them.

    ``solid_angle``, ``polarization``: float32 (height * width), divided by, or None. ``description``: names and plain
    values for file headers, e.g. ``poni`` (JSON text), ``beam_center_x`` [px], ``distance`` [m], ``wavelength`` [m],
    ``x_pixel_size`` [m]; only what is known.
    """

    bins: RadialBins
    solid_angle: np.ndarray | None = None
    polarization: np.ndarray | None = None
    description: dict[str, Any] = field(default_factory=dict)


def radial_span(bins: RadialBins) -> tuple[float, float]:
    """Smallest and largest radius of the pixels that are not masked; (NaN, NaN) without any."""
    radius = bins.radius[np.isfinite(bins.radius)]
    return (float(radius.min()), float(radius.max())) if radius.size else (np.nan, np.nan)


def without_pixels(bins: RadialBins, masked: np.ndarray) -> RadialBins:
    """The bins without the pixels that are ``masked`` (bool, height * width) or have no radius."""
    radius = np.where(masked, np.float32(np.nan), bins.radius)
    kept = np.isfinite(radius)[bins.indices]
    if kept.all():
        return RadialBins(bins.shape, bins.centers, bins.indptr, bins.indices, bins.coefs, radius)
    before = np.concatenate(([0], np.cumsum(kept)))
    return RadialBins(
        shape=bins.shape,
        centers=bins.centers,
        indptr=before[bins.indptr].astype(np.int32),
        indices=bins.indices[kept],
        coefs=None if bins.coefs is None else bins.coefs[kept],
        radius=radius,
    )


def bin_faults(bins: RadialBins) -> Iterator[str]:
    """What makes bins useless: no pixel at all, or most bins empty. A few empty bins are only logged."""
    filled = int(np.count_nonzero(np.diff(bins.indptr)))
    advice = "check mask, unit and nb_bins"
    if not filled:
        yield f"no pixel is left in any of the {bins.nb_bins} radial bins; {advice}"
    elif filled < SMALLEST_FILLED_SHARE * bins.nb_bins:
        yield f"only {filled} of {bins.nb_bins} radial bins have pixels; {advice}"
    elif filled < bins.nb_bins:
        logger.info("%d of %d radial bins have no pixels", bins.nb_bins - filled, bins.nb_bins)


def spacing_faults(centers: np.ndarray, where: str) -> Iterator[str]:
    """Bin centres have to be finite, ascending and evenly spaced, because background is interpolated between them."""
    if len(centers) < 2:
        yield f"{where} has {len(centers)} bin centres; at least 2 are needed"
        return
    if not np.isfinite(centers).all():
        yield f"{where} has bin centres that are not finite"
        return
    values = centers.astype(np.float64)
    if (np.diff(values) <= 0).any():
        yield f"{where}: bin centres must ascend"
        return
    even = np.linspace(values[0], values[-1], len(values))
    step = even[1] - even[0]
    off = np.abs(values - even).max()
    if off > SPACING_TOLERANCE * step + 4 * np.finfo(np.float32).eps * np.abs(values).max():
        yield f"{where}: bin centres must be evenly spaced; they are off by up to {off / step:.2g} of the mean spacing"


def range_faults(span: tuple[float, float], lowest: float, beyond: float, unit: str) -> Iterator[str]:
    """The radial range has to meet the pixels; ``beyond`` = 0 is no limit."""
    if not np.isfinite(span[0]):
        return
    if lowest > span[1] or (beyond and beyond <= span[0]):
        given = f"radius_min = {lowest:g}, radius_max = {beyond:g}"
        yield f"{given}: no pixel lies in it; the pixels lie from {span[0]:.6g} to {span[1]:.6g} {unit}"
