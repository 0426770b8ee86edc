"""From computed intensities to what a detector's counter holds."""

from __future__ import annotations

import numpy as np


def to_pixels(intensity: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Intensities (float) as pixels of ``dtype``: integers are rounded to the nearest and saturate at their limits.

    ``intensity`` is used up: it may be changed.
    """
    if dtype.kind == "f":
        return intensity.astype(dtype)
    limits = np.iinfo(dtype)
    np.rint(intensity, out=intensity)
    if intensity.min() < limits.min or intensity.max() > limits.max:
        np.clip(intensity, limits.min, limits.max, out=intensity)
    return intensity.astype(dtype)
