"""What the SMX kernels take and give: radial bins, corrections, settings, results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lima2_bliss.contract import SPOT


@dataclass(frozen=True)
class RadialBins:
    """Which pixels make up which radial bin, as a sparse matrix in CSR form (bins x pixels).

    ``centers``: float32 (nb_bins), evenly spaced bin centres. ``indptr``: int32 (nb_bins + 1), ``indices``: int32 (nnz)
    flat pixel places, ``coefs``: float32 (nnz), the share of the pixel that belongs to the bin, or None when all are 1
    (no pixel splitting). ``radius``: float32 (height * width), radial position of each pixel, NaN where masked.
    """

    shape: tuple[int, int]
    centers: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    coefs: np.ndarray | None
    radius: np.ndarray

    @property
    def nb_bins(self) -> int:
        return len(self.centers)


@dataclass(frozen=True)
class PixelCorrections:
    """Maps of the raw frame, float32 (height * width), None where there is none.

    ``normalization`` is the product of factor, flat, solid angle, polarization and absorption; a pixel where it is 0
    or not finite is left out. ``masked``: bool (height * width). ``dummy``: (value, delta) of pixels that measured
    nothing.
    """

    dark: np.ndarray | None = None
    dark_variance: np.ndarray | None = None
    variance: np.ndarray | None = None
    normalization: np.ndarray | None = None
    masked: np.ndarray | None = None
    dummy: tuple[float, float] | None = None


@dataclass(frozen=True)
class FinderSettings:
    """Thresholds, as pyFAI names them; ``radial_range`` is (lowest, beyond highest) radius or None."""

    error_model: str = "poisson"  # no_var, variance, poisson, azimuthal, hybrid
    cutoff_clip: float = 0.0
    cycle: int = 3
    cutoff_pick: float = 4.0
    noise: float = 0.6
    radial_range: tuple[float, float] | None = None
    cutoff_peak: float = 5.0
    patch_size: int = 5
    connected: int = 3
    max_spots: int = 2048


@dataclass(frozen=True)
class FinderResult:
    """One frame: radial background, pixels above it, spots.

    ``background_avg``, ``background_std``: float32 (nb_bins), NaN for a bin without pixels. ``index``: int32 (n) in
    ascending order; ``intensity``: (n), dark subtracted, not normalised, of the type that the finder says. ``spots``:
    `SPOT` rows in order of place, at most ``max_spots`` (the strongest); ``nb_dropped``: how many weaker ones there
    were.
    """

    background_avg: np.ndarray
    background_std: np.ndarray
    index: np.ndarray
    intensity: np.ndarray
    spots: np.ndarray = field(default_factory=lambda: np.zeros(0, SPOT))
    nb_dropped: int = 0


class Finder(Protocol):
    """Finds background, intense pixels and spots of a frame; any number of threads may call it at the same time."""

    #: Which backend it is: cpu, opencl, reference.
    backend: str
    #: Type of `FinderResult.intensity`: the raw type for integers without dark, else float32.
    intensity_dtype: np.dtype

    def __call__(self, image: np.ndarray) -> FinderResult:
        """``image``: raw frame (height, width)."""

    def close(self) -> None:
        """Give memory and threads back; harmless twice."""
