"""Which pixel type a sum needs, so that it never wraps around."""

from __future__ import annotations

import numpy as np


def sum_dtype(raw: np.dtype, pixels: int) -> np.dtype:
    """Type that holds the sum of any ``pixels`` values of type ``raw``.

    Integers: 32 bit (of the same sign) if the largest possible sum fits, else float64 (exact up to 2**53).
    Floats keep their type. A single pixel (1) keeps any type.
    """
    if pixels == 1 or raw.kind == "f":
        return raw
    wide = np.dtype("u4" if raw.kind == "u" else "i4")
    largest = max(abs(int(np.iinfo(raw).min)), int(np.iinfo(raw).max)) * pixels
    return wide if largest <= np.iinfo(wide).max else np.dtype("f8")
