"""Sparse frames: the pixels above a radial background, the background itself, and the spots found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lima2_bliss.contract.records import SPOT


@dataclass(frozen=True, eq=False)
class SparseFrame:
    """One frame as pixels above background.

    ``index``: int32 (n), flat places (y * width + x) in ascending order. ``intensity``: their values, dark subtracted
    and not normalised, in the type of `SparseInfo.dtype`. ``background_avg``, ``background_std``: float32 (nb_bins),
    mean and deviation of the normalised background at `SparseInfo.radius`. ``spots``: `SPOT` rows.
    """

    index: np.ndarray
    intensity: np.ndarray
    background_avg: np.ndarray
    background_std: np.ndarray
    spots: np.ndarray = field(default_factory=lambda: np.zeros(0, SPOT))
    is_hit: bool = False


@dataclass(frozen=True, eq=False)
class SparseInfo:
    """What all sparse frames of an acquisition have in common.

    ``radius``: float32 (nb_bins), bin centres; ``mask``: float32 (height, width), radius of each pixel, NaN where
    masked; both in ``unit`` as pyFAI writes them into sparse files (`unit` already scaled: m for r_m, ...).
    ``normalization``: float32 (height, width) or None for 1 everywhere. ``dummy``: value of masked pixels.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    radius: np.ndarray
    mask: np.ndarray
    unit: str = "r_m"
    normalization: np.ndarray | None = None
    dummy: float = 0.0
    max_spots: int = 2048

    @property
    def nb_bins(self) -> int:
        return len(self.radius)

    def to_json(self) -> dict[str, object]:
        """What clients are told: size, pixel type and number of bins."""
        from lima2_bliss.contract.pixels import pixel_type_of

        return {
            "nb_channels": 1,
            "dimensions": {"x": self.shape[1], "y": self.shape[0]},
            "pixel_type": pixel_type_of(self.dtype),
            "nb_bins": self.nb_bins,
        }
