"""The Jungfrau conversion in plain NumPy, as the definition that compiled code is held against."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.jungfrau_layout import Layout, assemble_reference
from lima2_receivers.kernels.jungfrau_types import (
    ADC_MASK,
    ERROR,
    GAIN_SHIFT,
    MISSING,
    NO_STAGE_BITS,
    SATURATED,
    STAGE_BITS,
    Output,
    PixelCounts,
    StageMaps,
)


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Whole numbers, halves away from zero; exact, which floor(x + 0.5) is not just below a half."""
    whole = np.trunc(values)
    return whole + np.trunc(2 * (values - whole))


def convert_reference(stack: np.ndarray, maps: StageMaps, output: Output) -> tuple[np.ndarray, PixelCounts]:
    """Values of a raw stack (modules, rows, columns) of uint16 in the output's type, and what was counted."""
    bits = stack >> GAIN_SHIFT
    adc = (stack & ADC_MASK).astype(np.float32)
    values = np.full(stack.shape, np.nan, np.float32)
    for stage, of_stage in enumerate(STAGE_BITS):
        converted = (adc - maps.pedestals[stage]) * maps.factors[stage]
        values = np.where(bits == of_stage, converted, values)
    used = ~np.isnan(maps.factors[0])
    missing = stack == MISSING
    saturated = (stack == SATURATED) & used
    error = (stack == ERROR) & used
    invalid = (bits == NO_STAGE_BITS) & used
    result = in_type(values, output)
    for where, mark in ((missing, 1), (saturated, 2), (error | invalid, 3)):
        result[where] = output.marks[mark]
    result[~used & ~missing] = output.marks[0]
    g1 = (bits == 1) & used & ~error
    g2 = (bits == 3) & used & ~missing & ~saturated
    return result, PixelCounts(*(int(what.sum()) for what in (missing, saturated, error, invalid, g1, g2)))


def in_type(values: np.ndarray, output: Output) -> np.ndarray:
    """float32 values in the output's type; what is not a number becomes the mark of masked pixels."""
    masked = np.isnan(values)
    if output.dtype.kind == "f":
        return np.where(masked, output.marks[0], values)
    clipped = np.clip(np.where(masked, 0, values), np.float32(output.lowest), np.float32(output.highest))
    return np.where(masked, output.marks[0], round_half_away(clipped).astype(output.dtype))


def correct_reference(
    stack: np.ndarray, layout: Layout, maps: StageMaps, output: Output
) -> tuple[np.ndarray, PixelCounts]:
    """The corrected image of a raw stack, and what was counted."""
    values, counts = convert_reference(stack, maps, output)
    return assemble_reference(values, layout, output.gap, tuple(output.marks[:4])), counts
