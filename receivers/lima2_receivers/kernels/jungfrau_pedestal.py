"""Dark frames of a Jungfrau: sums for pedestals and noise, and pedestals that follow slow drifts."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.jungfrau_types import ADC_MASK, ERROR, GAIN_SHIFT, MISSING, SATURATED

_BLOCK = 4096  # pixels: their count fits into 32 bits


def add_dark(
    stack: np.ndarray, bits: int, totals: np.ndarray, squares: np.ndarray, counts: np.ndarray, wrong: np.ndarray
) -> None:
    """Add one dark frame (any shape, uint16) to sums of the same shape: ADC and its square (int64), frames (uint32).

    Only pixels with these gain ``bits`` count; others are counted in ``wrong`` (uint32). Missing pixels count nowhere.
    """
    _add_dark(*(array.reshape(-1) for array in (stack, totals, squares, counts, wrong)), bits)


def add_dark_reference(
    stack: np.ndarray, bits: int, totals: np.ndarray, squares: np.ndarray, counts: np.ndarray, wrong: np.ndarray
) -> None:
    """The same in plain NumPy."""
    present = stack != MISSING
    good = present & (stack >> GAIN_SHIFT == bits) & (stack != SATURATED) & (stack != ERROR)
    adc = np.where(good, stack & ADC_MASK, 0).astype(np.int64)
    totals += adc
    squares += adc * adc
    counts += good.astype(np.uint32)
    wrong += (present & ~good).astype(np.uint32)


def track(stack: np.ndarray, bits: int, weight: float, limits: np.ndarray, pedestals: np.ndarray) -> int:
    """Move pedestals (float32) by ``weight`` towards one frame's ADC values; returns how many pixels took part.

    Pixels take part that have these gain ``bits`` and are at most ``limits`` (float32) [ADU] off their pedestal.
    """
    flat = (array.reshape(-1) for array in (stack, limits, pedestals))
    return int(_track(*flat, bits, np.float32(weight)))


def track_reference(stack: np.ndarray, bits: int, weight: float, limits: np.ndarray, pedestals: np.ndarray) -> int:
    """The same in plain NumPy."""
    off = (stack & ADC_MASK).astype(np.float32) - pedestals
    special = (stack == MISSING) | (stack == SATURATED) | (stack == ERROR)
    part = (stack >> GAIN_SHIFT == bits) & ~special & (np.abs(off) <= limits)
    pedestals[part] += off[part] * np.float32(weight)
    return int(part.sum())


@kernel()
def _add_dark(stack, totals, squares, counts, wrong, bits):  # type: ignore[no-untyped-def]
    for j in range(stack.size):
        value = np.int64(stack[j])
        present = np.int64(value != MISSING)
        special = np.int64((value == SATURATED) | (value == ERROR))
        good = present & (1 - special) & np.int64(value >> GAIN_SHIFT == bits)
        adc = (value & ADC_MASK) * good
        totals[j] += adc
        squares[j] += adc * adc
        counts[j] += np.uint32(good)
        wrong[j] += np.uint32(present - good)


@kernel()
def _track(stack, limits, pedestals, bits, weight):  # type: ignore[no-untyped-def]
    part = np.int64(0)
    for start in range(0, stack.size, _BLOCK):
        raw, limit, pedestal = (
            stack[start : start + _BLOCK],
            limits[start : start + _BLOCK],
            pedestals[start : start + _BLOCK],
        )
        part += _track_block(raw, limit, pedestal, bits, weight)
    return part


@kernel()
def _track_block(raw, limit, pedestal, bits, weight):  # type: ignore[no-untyped-def]
    """With a count of 32 bits, and selects alone, this is SIMD code."""
    part = np.uint32(0)
    for j in range(raw.size):
        value = np.int32(raw[j])
        off = np.float32(value & ADC_MASK) - pedestal[j]
        special = (value == MISSING) | (value == SATURATED) | (value == ERROR)
        near = ((value >> GAIN_SHIFT) == bits) & (special == 0) & (abs(off) <= limit[j])
        pedestal[j] += off * (weight if near else np.float32(0))
        part += np.uint32(near)
    return part
