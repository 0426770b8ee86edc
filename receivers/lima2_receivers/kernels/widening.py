"""Which pixel type a sum needs, so that it never wraps around; and what marks a sum without a value in it."""

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


def sum_dummy(dtype: np.dtype) -> float:
    """What marks a sum of type ``dtype`` in which a pixel had no value: the largest unsigned or lowest signed number,
    not a number for floats. `sum_dtype` leaves it free for sums of integers that are smaller."""
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return float(limits.max if dtype.kind == "u" else limits.min)


def dummy_of(dtype: np.dtype, dummy: float | None) -> tuple[bool, np.generic]:
    """For kernels: whether pixels of an integer ``dtype`` can be dummy, and the value of those that are.

    Floats have none: what is not a number has no value in any case.
    """
    if dummy is None or dtype.kind == "f":
        return False, dtype.type(0)
    return True, dtype.type(int(dummy))
