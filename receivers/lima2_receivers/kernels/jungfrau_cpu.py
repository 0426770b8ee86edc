"""The Jungfrau conversion as compiled code: one pass from raw rows to rows of the image.

A row is looked at first: while all its pixels are in G0, one loop converts it and only the maps of G0 are read. Where a
few have switched, as under Bragg spots, these are done again one by one; where many have, all choose between the stages
in SIMD code that reads all maps.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.jungfrau_place import place_row
from lima2_receivers.kernels.jungfrau_types import ADC_MASK, ERROR, GAIN_SHIFT, MISSING, NO_STAGE_BITS, SATURATED

#: Pixels that are looked through one by one when one of them has switched.
BLOCK = 64

#: One part in so many of a row's blocks with switched pixels makes it a row in which all pixels choose.
MANY = 4

#: Counters of `PixelCounts`, in its order.
NB_COUNTS = 6

_STAGE_1, _STAGE_2 = 1, 3
_G0_TOP = 1 << GAIN_SHIFT


@kernel()
def _convert_mixed(raw, maps, line, start, length, counts):  # type: ignore[no-untyped-def]
    """Convert ``length`` pixels from ``start`` on that may be in any stage; returns how many have a special code.

    All maps are read for all pixels, and numbers are chosen by selects alone: so it is SIMD code.
    """
    p0, f0, p1, f1, p2, f2 = maps
    g1, g2, codes = np.int32(0), np.int32(0), np.int32(0)
    for j in range(length):
        k = np.uintp(start) + np.uintp(j)
        value = np.int32(raw[k])
        bits = value >> GAIN_SHIFT
        pedestal0, factor0, pedestal1, factor1, pedestal2, factor2 = p0[k], f0[k], p1[k], f1[k], p2[k], f2[k]
        first = bits == _STAGE_1
        second = bits == _STAGE_2
        pedestal = pedestal2 if second else pedestal0
        pedestal = pedestal1 if first else pedestal
        factor = factor2 if second else factor0
        factor = factor1 if first else factor
        factor = factor if factor0 == factor0 else factor0
        line[k] = (np.float32(value & ADC_MASK) - pedestal) * factor
        used = np.int32(factor0 == factor0)
        special = np.int32((value == MISSING) | (value == SATURATED) | (value == ERROR))
        g1 += used & np.int32(first) & (np.int32(1) - special)
        g2 += used & np.int32(second) & (np.int32(1) - special)
        codes += special | np.int32(bits == NO_STAGE_BITS)
    counts[4] += g1
    counts[5] += g2
    return codes


@kernel()
def _convert_switched(raw, maps, line, start, length, counts):  # type: ignore[no-untyped-def]
    """Replace the values of those of ``length`` pixels that are not in G0; returns how many have a special code.

    Reads the maps of G1 and G2 at these pixels only: with few of them that is faster than choosing for all.
    """
    _, f0, p1, f1, p2, f2 = maps
    codes = 0
    for j in range(length):
        k = np.uintp(start) + np.uintp(j)
        value = raw[k]
        if value < _G0_TOP:
            continue
        bits = value >> GAIN_SHIFT
        if value in (MISSING, SATURATED, ERROR) or bits == NO_STAGE_BITS:
            codes += 1
        elif f0[k] == f0[k]:
            adc = np.float32(value & ADC_MASK)
            if bits == _STAGE_1:
                line[k] = (adc - p1[k]) * f1[k]
                counts[4] += 1
            else:
                line[k] = (adc - p2[k]) * f2[k]
                counts[5] += 1
    return codes


@kernel()
def _convert_row(raw, maps, line, counts):  # type: ignore[no-untyped-def]
    """Convert a row of pixels as read into ``line`` (float32, not a number where masked). True: there are codes."""
    p0, f0 = maps[0], maps[1]
    columns = raw.size
    highest = np.uint16(0)
    for j in range(columns):
        highest = np.uint16(highest | raw[j])
    if highest < _G0_TOP:
        for j in range(columns):
            line[j] = (np.float32(raw[j]) - p0[j]) * f0[j]
        return False
    switched = 0
    for start in range(0, columns, BLOCK):
        switched += _switched(raw, start, min(BLOCK, columns - start))
    if switched * BLOCK * MANY > columns:
        return _convert_mixed(raw, maps, line, 0, columns, counts) > 0
    codes = 0
    for j in range(columns):
        line[j] = (np.float32(raw[j]) - p0[j]) * f0[j]
    for start in range(0, columns, BLOCK):
        length = min(BLOCK, columns - start)
        if _switched(raw, start, length):
            codes += _convert_switched(raw, maps, line, start, length, counts)
    return codes > 0


@kernel()
def _switched(raw, start, length):  # type: ignore[no-untyped-def]
    """Whether one of ``length`` pixels is not in G0."""
    highest = np.uint16(0)
    for j in range(length):
        highest = np.uint16(highest | raw[np.uintp(start) + np.uintp(j)])
    return highest >= _G0_TOP


@kernel()
def _finish_row(line, marks, limits, values):  # type: ignore[no-untyped-def]
    """A converted row in the output's type."""
    masked = marks[0]
    kind = values.dtype.type
    if kind is np.float32:
        for j in range(line.size):
            value = line[j]
            values[j] = value if value == value else masked
    else:
        lowest, highest = limits
        for j in range(line.size):
            value = line[j]
            number = value == value
            clipped = min(max(value if number else np.float32(0), lowest), highest)
            whole = np.int32(clipped)
            rest = clipped - np.float32(whole)
            whole += np.int32(rest + rest)
            values[j] = kind(whole) if number else masked


@kernel()
def _mark_codes(raw, f0, marks, values, counts):  # type: ignore[no-untyped-def]
    """Put marks in place of special codes, and count them."""
    for j in range(raw.size):
        value = raw[j]
        if value < _G0_TOP:
            continue
        bits = value >> GAIN_SHIFT
        used = f0[j] == f0[j]
        if value == MISSING:
            values[j] = marks[1]
            counts[0] += 1
        elif not used:
            values[j] = marks[0]
        elif value == SATURATED:
            values[j] = marks[2]
            counts[1] += 1
        elif value == ERROR:
            values[j] = marks[3]
            counts[2] += 1
        elif bits == NO_STAGE_BITS:
            values[j] = marks[3]
            counts[3] += 1


@kernel()
def correct_rows(stack, pedestals, factors, geometry, marks, limits, begin, end, out, counts):  # type: ignore[no-untyped-def]
    """Convert and place rows ``begin`` to ``end`` of a stack (all modules one after another), adding to ``counts``."""
    rows, columns = stack.shape[1:]
    line = np.empty(columns, np.float32)
    values = np.empty(columns, out.dtype)
    spare = np.empty(out.shape[1], out.dtype)
    for number in range(begin, end):
        m, r = number // rows, number % rows
        raw = stack[m, r]
        maps = (
            pedestals[0, m, r],
            factors[0, m, r],
            pedestals[1, m, r],
            factors[1, m, r],
            pedestals[2, m, r],
            factors[2, m, r],
        )
        with_codes = _convert_row(raw, maps, line, counts)
        _finish_row(line, marks, limits, values)
        if with_codes:
            _mark_codes(raw, maps[1], marks, values, counts)
        place_row(values, geometry, m, r, marks, spare, out)
