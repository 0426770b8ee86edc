"""Sigma clipping of radial bins, compiled: the frame is brought into the order of the bins, then each bin is clipped.

Values of a bin that are accepted are always one interval, so no pixel carries a state: a cycle is a pass over a few
thousand floats in the L1 or L2 cache with two comparisons. What cannot count (dummy, infinite) is NaN in the scratch
and outside every interval.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import REORDERED, kernel
from lima2_receivers.kernels.smx_cpu_tables import BAND
from lima2_receivers.kernels.smx_reference import SMALLEST_DEVIATION

#: Error models as the kernels number them. Hybrid clips as azimuthal and ends as poisson.
MODELS = {"no_var": 0, "variance": 1, "poisson": 2, "azimuthal": 3, "hybrid": 4}

_NO_VARIANCE, _POISSON, _AZIMUTHAL, _HYBRID = (MODELS[name] for name in ("no_var", "poisson", "azimuthal", "hybrid"))
_LOWEST, _HIGHEST = np.float32(np.finfo(np.float32).min), np.float32(np.finfo(np.float32).max)
_BY_GAUSS = np.log(np.sqrt(2 * np.pi))


@kernel()
def sort_bands(raw, order, out_of, cache_line, out):  # type: ignore[no-untyped-def]
    """Bring the pixels of bands ``out_of[0]`` to ``out_of[1]`` into the order of the bins.

    ``order``: (offsets, runs, targets, bands) of `EntryTables`. ``cache_line``: pixels of one. ``out``: (entries), of
    the raw type. Returns a number that has no meaning; it keeps the compiler from leaving out the reading ahead.
    """
    offsets, runs, targets, bands = order
    ahead = 0
    for band in range(out_of[0], out_of[1]):
        pixels = raw[band * BAND : min((band + 1) * BAND, raw.size)]
        for k in range(0, pixels.size, cache_line):
            ahead += 1 if pixels[k] > 0 else 0
        for run in range(bands[band], bands[band + 1]):
            here = offsets[runs[run] : runs[run + 1]]
            target = out[targets[run] : targets[run] + here.size]
            for k in range(here.size):
                target[k] = pixels[here[k]]
    return ahead


@kernel()
def _read(pixels, dummy, delta, out):  # type: ignore[no-untyped-def]
    """Pixels as float32; NaN for those within ``delta`` of ``dummy`` (none if ``delta`` is negative)."""
    for k in range(out.size):
        out[k] = np.float32(pixels[k])
    if delta >= 0:
        for k in range(out.size):
            out[k] = np.float32(np.nan) if abs(out[k] - dummy) <= delta else out[k]


@kernel(REORDERED)
def _plain_sums(value, low, high):  # type: ignore[no-untyped-def]
    """(count, sum of values, sum of their Poisson variance) of the values in the interval."""
    count = np.float64(0)
    total = np.float64(0)
    variance = np.float64(0)
    for k in range(value.size):
        here = value[k]
        inside = (here >= low) & (here <= high)
        count += 1.0 if inside else 0.0
        total += np.float64(here) if inside else 0.0
        variance += np.float64(here if here > np.float32(1) else np.float32(1)) if inside else 0.0
    return count, total, variance


@kernel(REORDERED)
def _plain_deviation(value, low, high, mean):  # type: ignore[no-untyped-def]
    """Sum of squared distances from the mean of the values in the interval."""
    squares = np.float64(0)
    for k in range(value.size):
        here = value[k]
        away = np.float64(here) - mean
        squares += away * away if (here >= low) & (here <= high) else 0.0
    return squares


@kernel(REORDERED)
def _weighted_sums(value, weight, variance, low, high):  # type: ignore[no-untyped-def]
    """(count, sum w, sum w * value, sum w**2, sum of variances) of the values in the interval."""
    count = np.float64(0)
    weights = np.float64(0)
    total = np.float64(0)
    squares = np.float64(0)
    variances = np.float64(0)
    for k in range(value.size):
        here = value[k]
        inside = (here >= low) & (here <= high)
        w = np.float64(weight[k])
        count += 1.0 if inside else 0.0
        weights += w if inside else 0.0
        squares += w * w if inside else 0.0
        total += w * np.float64(here) if inside else 0.0
        variances += np.float64(variance[k]) if inside else 0.0
    return count, weights, total, squares, variances


@kernel(REORDERED)
def _weighted_deviation(value, weight, low, high, mean):  # type: ignore[no-untyped-def]
    """Sum of squared weighted distances from the mean of the values in the interval."""
    squares = np.float64(0)
    for k in range(value.size):
        here = value[k]
        away = np.float64(weight[k]) * (np.float64(here) - mean)
        squares += away * away if (here >= low) & (here <= high) else 0.0
    return squares


@kernel()
def _moments(value, weight, variance, plain, low, high, model):  # type: ignore[no-untyped-def]
    """(count, average, deviation) of the values in the interval; NaN if there are none."""
    if plain:
        count, total, variances = _plain_sums(value, low, high)
        weights = count
        squares = count
    else:
        count, weights, total, squares, variances = _weighted_sums(value, weight, variance, low, high)
    if not weights > 0:
        return count, np.nan, np.nan
    average = total / weights
    if model == _NO_VARIANCE:
        return count, average, 0.0
    if model == _AZIMUTHAL:
        if plain:
            variances = _plain_deviation(value, low, high, average)
        else:
            variances = _weighted_deviation(value, weight, low, high, average)
    return count, average, np.sqrt(variances / squares)


@kernel()
def _clip(value, weight, variance, plain, entries, model, cutoff, cycle):  # type: ignore[no-untyped-def]
    """(average, deviation) of one bin after clipping."""
    current = _AZIMUTHAL if model == _HYBRID else model
    low = np.float64(_LOWEST)
    high = np.float64(_HIGHEST)
    count, average, deviation = _moments(value, weight, variance, plain, low, high, current)
    for _ in range(cycle):
        if not deviation > SMALLEST_DEVIATION * abs(average):
            break
        width = deviation * max(cutoff, np.sqrt(2 * (np.log(np.float64(max(3, entries))) - _BY_GAUSS)))
        low = max(low, average - width)
        high = min(high, average + width)
        left, average_left, deviation_left = _moments(value, weight, variance, plain, low, high, current)
        if left == count:
            break
        entries -= np.int64(count - left)
        count = left
        average = average_left
        deviation = deviation_left
    if model == _HYBRID:
        count, average, deviation = _moments(value, weight, variance, plain, low, high, _POISSON)
    return average, deviation


@kernel()
def clip_plain(pixels, begins, counts, out_of, clipping, scratch, averages, deviations):  # type: ignore[no-untyped-def]
    """Clip bins ``out_of[0]`` to ``out_of[1]`` where values are raw pixels that all count the same.

    ``pixels``: (entries), sorted. ``clipping``: (model, cutoff, cycle, dummy, delta). ``scratch``: float32 (3, longest
    bin).
    """
    model, cutoff, cycle, dummy, delta = clipping
    for number in range(out_of[0], out_of[1]):
        here = pixels[begins[number] : begins[number + 1]]
        value = scratch[0, : here.size]
        _read(here, dummy, delta, value)
        averages[number], deviations[number] = _clip(value, value, value, True, counts[number], model, cutoff, cycle)


@kernel()
def _weigh(maps, begin, end, value, weight, variance):  # type: ignore[no-untyped-def]
    """Apply the maps to the entries of one bin: ``value`` is corrected in place, the others are set."""
    dark, norm, share, known_variance, dark_variance = maps
    if known_variance.size:
        variance[:] = known_variance[begin:end]
    else:
        for k in range(value.size):
            variance[k] = value[k] if value[k] > np.float32(1) else np.float32(1)
    if dark_variance.size:
        here = dark_variance[begin:end]
        for k in range(value.size):
            variance[k] += here[k]
    if dark.size:
        here = dark[begin:end]
        for k in range(value.size):
            value[k] -= here[k]
    weight[:] = np.float32(1)
    if norm.size:
        here = norm[begin:end]
        for k in range(value.size):
            weight[k] = here[k]
            value[k] /= here[k]
    if share.size:
        here = share[begin:end]
        for k in range(value.size):
            weight[k] *= here[k]
            variance[k] *= here[k] * here[k]


@kernel()
def clip_weighted(pixels, begins, counts, maps, out_of, clipping, scratch, averages, deviations):  # type: ignore[no-untyped-def]
    """The same with maps: (dark, norm, share, variance, dark_variance) of the entries, each empty if there is none."""
    model, cutoff, cycle, dummy, delta = clipping
    for number in range(out_of[0], out_of[1]):
        begin = begins[number]
        end = begins[number + 1]
        value = scratch[0, : end - begin]
        weight = scratch[1, : end - begin]
        variance = scratch[2, : end - begin]
        _read(pixels[begin:end], dummy, delta, value)
        _weigh(maps, begin, end, value, weight, variance)
        averages[number], deviations[number] = _clip(
            value, weight, variance, False, counts[number], model, cutoff, cycle
        )
