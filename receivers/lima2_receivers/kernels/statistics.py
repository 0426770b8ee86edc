"""Minimum, maximum, average, standard deviation and sum of the pixels of many regions, in one call.

Integer sums are exact (64 bit). The deviation is exact up to its final division for 8 and 16-bit integers; other types
use two passes over blocks that stay in the L1 cache, merged by Chan, Golub and LeVeque, "Algorithms for computing the
sample variance" (1983). It is the population's (divided by n). NaN pixels count as not measured, and so do integers of
the value ``dummy``. No pixel: all NaN. An infinite pixel counts: average and sum are infinite then, the deviation NaN.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import REORDERED, kernel
from lima2_receivers.kernels.regions import Regions
from lima2_receivers.kernels.widening import dummy_of

#: Columns of the result.
STATISTICS = ("min", "max", "avg", "std", "sum")

_BLOCK = 4096  # pixels: fits into L1, and 32-bit partial sums cannot overflow
_NARROW = tuple(np.dtype(text) for text in ("u1", "i1", "u2", "i2"))


def region_statistics_reference(frame: np.ndarray, regions: Regions, dummy: float | None = None) -> np.ndarray:
    """The same in plain NumPy."""
    out = np.full((len(regions), len(STATISTICS)), np.nan)
    for roi in range(len(regions)):
        pixels = frame.ravel()[regions.pixels(roi)].astype(np.float64)
        pixels = pixels[~np.isnan(pixels) & ((frame.dtype.kind == "f") | (pixels != dummy))]
        if pixels.size:
            out[roi] = pixels.min(), pixels.max(), pixels.mean(), pixels.std(), pixels.sum()
    return out


def region_statistics(frame: np.ndarray, regions: Regions, dummy: float | None = None) -> np.ndarray:
    """Statistics of each region: float64 (regions, 5), columns as in `STATISTICS`. All channels count together."""
    if frame.shape != regions.shape:
        raise ValueError(f"frame of shape {frame.shape}, but the regions were made for {regions.shape}")
    out = np.empty((len(regions), len(STATISTICS)))
    flat = frame.reshape(-1)
    left_out = dummy_of(frame.dtype, dummy)
    if frame.dtype in _NARROW:
        _narrow_statistics(flat, *left_out, regions.starts, regions.lengths, regions.offsets, out)
    else:
        floating = frame.dtype.kind == "f"
        keys = flat.view(f"i{frame.itemsize}") if floating else flat
        flip = keys.dtype.type(np.iinfo(keys.dtype).max if floating else 0)
        zero = np.float64(0) if floating else np.int64(0)
        _wide_statistics(flat, keys, flip, *left_out, regions.starts, regions.lengths, regions.offsets, zero, out)
    return out


@kernel()
def _extremes(block):  # type: ignore[no-untyped-def]
    low = block[0]
    high = block[0]
    for j in range(block.size):
        value = block[j]
        low = value if value < low else low
        high = value if value > high else high
    return low, high


@kernel()
def _narrow_sums(block):  # type: ignore[no-untyped-def]
    """(sum, sum of squares) of up to `_BLOCK` pixels of at most 16 bit, all in 32-bit lanes (16 per AVX-512 word)."""
    total = np.uint32(0)
    square_low = np.uint32(0)
    square_high = np.uint32(0)
    for j in range(block.size):
        total = np.uint32(total + np.uint32(block[j]))  # two's complement: right modulo 2**32
    for j in range(block.size):
        value = np.uint32(block[j])
        square = np.uint32(value * value)
        square_low = np.uint32(square_low + np.uint32(square & np.uint32(0xFFFF)))
        square_high = np.uint32(square_high + np.uint32(square >> np.uint32(16)))
    return np.int64(np.int32(total)), np.int64(square_low) + (np.int64(square_high) << np.int64(16))


@kernel()
def _count_dummy(block, dummy):  # type: ignore[no-untyped-def]
    count = np.uint32(0)
    for j in range(block.size):
        count += np.uint32(block[j] == dummy)
    return count


@kernel()
def _without_dummy(block, dummy, measured):  # type: ignore[no-untyped-def]
    kept = 0
    for j in range(block.size):
        measured[kept] = block[j]
        kept += block[j] != dummy
    return kept


@kernel()
def _narrow_statistics(flat, has_dummy, dummy, starts, lengths, offsets, out):  # type: ignore[no-untyped-def]
    measured = np.empty(_BLOCK, flat.dtype)
    for roi in range(offsets.size - 1):
        count = np.int64(0)
        total = np.int64(0)
        squares = np.int64(0)
        low = flat[0]
        high = flat[0]
        for run in range(offsets[roi], offsets[roi + 1]):
            start = starts[run]
            left = lengths[run]
            while left > 0:
                size = min(left, _BLOCK)
                block = flat[start : start + size]
                start += size
                left -= size
                if has_dummy and _count_dummy(block, dummy):
                    size = _without_dummy(block, dummy, measured)
                    if size == 0:
                        continue
                    block = measured[:size]
                block_low, block_high = _extremes(block)
                low = min(low, block_low) if count else block_low
                high = max(high, block_high) if count else block_high
                block_total, block_squares = _narrow_sums(block)
                total += block_total
                squares += block_squares
                count += size
        if count == 0:
            out[roi, :] = np.nan
            continue
        # sum((x - m)**2) for the integer m below the mean: exact in 64 bit; the rest to the true mean is < 1
        mean = total // count
        rest = np.float64(total - mean * count)
        around = squares - 2 * mean * total + count * mean * mean
        out[roi, 0] = low
        out[roi, 1] = high
        out[roi, 2] = total / count
        variance = (around - rest * rest / count) / count
        out[roi, 3] = np.sqrt(variance) if variance > 0 else 0.0
        out[roi, 4] = total


@kernel()
def _count_nan(block):  # type: ignore[no-untyped-def]
    count = 0
    for j in range(block.size):
        count += block[j] != block[j]
    return count


@kernel()
def _extreme_keys(keys, flip):  # type: ignore[no-untyped-def]
    """Lowest and highest as integers that sort like the pixels: LLVM vectorises these, but not float comparisons.

    The bits of a negative float sort backwards; ``flip`` (all bits but the sign; 0 for integer pixels) turns them.
    """
    low = keys[0] ^ flip if keys[0] < 0 else keys[0]
    high = low
    for j in range(keys.size):
        bits = keys[j]
        key = bits ^ flip if bits < 0 else bits
        low = key if key < low else low
        high = key if key > high else high
    return low, high


@kernel(REORDERED)
def _sum(block, zero):  # type: ignore[no-untyped-def]
    total = zero
    for j in range(block.size):
        total += block[j]
    return total


@kernel(REORDERED)
def _squares_around(block, mean):  # type: ignore[no-untyped-def]
    squares = 0.0
    for j in range(block.size):
        distance = np.float64(block[j]) - mean
        squares += distance * distance
    return squares


@kernel()
def _wide_statistics(flat, keys, flip, has_dummy, dummy, starts, lengths, offsets, zero, out):  # type: ignore[no-untyped-def]
    measured = np.empty(_BLOCK, flat.dtype)
    measured_keys = np.empty(_BLOCK, keys.dtype)
    bits = np.empty(1, keys.dtype)
    value = bits.view(flat.dtype)
    for roi in range(offsets.size - 1):
        count = np.int64(0)
        total = zero
        squares = 0.0
        low = keys[0] ^ flip
        high = low
        for run in range(offsets[roi], offsets[roi + 1]):
            start = starts[run]
            left = lengths[run]
            while left > 0:
                size = min(left, _BLOCK)
                block = flat[start : start + size]
                block_keys = keys[start : start + size]
                start += size
                left -= size
                if _count_nan(block) or (has_dummy and _count_dummy(block, dummy)):
                    kept = 0
                    for j in range(size):
                        if block[j] == block[j] and not (has_dummy and block[j] == dummy):
                            measured[kept] = block[j]
                            measured_keys[kept] = block_keys[j]
                            kept += 1
                    if kept == 0:
                        continue
                    size = kept
                    block = measured[:kept]
                    block_keys = measured_keys[:kept]
                block_low, block_high = _extreme_keys(block_keys, flip)
                block_total = _sum(block, zero)
                block_mean = block_total / size
                block_squares = _squares_around(block, block_mean)
                if count == 0:
                    low = block_low
                    high = block_high
                    squares = block_squares
                else:
                    low = min(low, block_low)
                    high = max(high, block_high)
                    shift = block_mean - total / count
                    squares += block_squares + shift * shift * (np.float64(count) * size / (count + size))
                total += block_total
                count += size
        if count == 0:
            out[roi, :] = np.nan
            continue
        bits[0] = low ^ flip if low < 0 else low
        out[roi, 0] = value[0]
        bits[0] = high ^ flip if high < 0 else high
        out[roi, 1] = value[0]
        out[roi, 2] = total / count
        out[roi, 3] = np.sqrt(squares / count)
        out[roi, 4] = total
