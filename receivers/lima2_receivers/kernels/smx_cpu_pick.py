"""Picking of pixels above the radial background, compiled: a whole segment of pixels is compared at once.

The radius hardly changes over `SEGMENT` pixels, so one bound below all their thresholds rules most segments out: its
largest pixel is below. Only pixels that reach the bound of their segment are computed exactly.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.smx_cpu_tables import SEGMENT

#: Bounds are lowered by this share of what they are made of: more than float32 rounds.
_MARGIN = 1e-5


@kernel()
def least_thresholds(average, deviation, noise, cutoff_pick, cutoff_peak, levels):  # type: ignore[no-untyped-def]
    """Lower bounds of the values that are picked or may be tops of spots, for ranges of bins.

    ``levels``: float64 (depth, nb_bins); row j is set to what holds from bin i up to bin i + 2**j - 1 and the way to
    the next bin. Infinite where there is no background.
    """
    last = average.size - 1
    for number in range(average.size):
        after = min(number + 1, last)
        level = np.float64(min(average[number], average[after]))
        spread = np.hypot(np.float64(min(deviation[number], deviation[after])), np.float64(noise))
        distance = min(max(np.float64(noise), cutoff_pick * spread), cutoff_peak * spread)
        bound = level + distance - _MARGIN * (abs(level) + distance)
        known = np.isfinite(average[number]) and np.isfinite(average[after])
        levels[0, number] = bound if known and np.isfinite(bound) else np.inf
    for depth in range(1, levels.shape[0]):
        half = 1 << (depth - 1)
        for number in range(average.size):
            other = levels[depth - 1, min(number + half, last)]
            levels[depth, number] = min(levels[depth - 1, number], other)


@kernel()
def segment_bounds(segments, levels, out_of, bounds):  # type: ignore[no-untyped-def]
    """Lower bounds of the raw pixels that are picked or may be tops, for segments ``out_of[0]`` to ``out_of[1]``.

    ``segments``: of `PickTables`. ``bounds``: float32 (segments). Bounds that are not positive become -inf: the bits of
    negative floats do not sort like them.
    """
    first, last, level, least_dark, least_norm, most_norm = segments
    for segment in range(out_of[0], out_of[1]):
        if last[segment] < first[segment]:
            bounds[segment] = np.float32(np.inf)
            continue
        row = levels[level[segment]]
        bound = min(row[first[segment]], row[last[segment] + 1 - (1 << level[segment])])
        if least_norm.size and np.isfinite(bound):
            bound *= least_norm[segment] if bound > 0 else most_norm[segment]
            bound -= _MARGIN * abs(bound)
        if least_dark.size:
            dark = np.float64(least_dark[segment])
            bound += dark - _MARGIN * (abs(dark) + (abs(bound) if np.isfinite(bound) else 0.0))
        bounds[segment] = np.float32(bound) if bound > 0 else np.float32(-np.inf)


@kernel()
def height_of(pixel, place, pixels, average, deviation, noise, dummy, delta):  # type: ignore[no-untyped-def]
    """(value - background, deviation with noise) of a pixel; the former is -inf where nothing is looked for."""
    position, dark, norm = pixels
    here = position[place]
    if np.isnan(here):
        return np.float32(-np.inf), noise
    lower = np.int64(here)
    upper = min(lower + 1, average.size - 1)
    share = here - np.float32(lower)
    rest = np.float32(1) - share
    level = average[lower] * rest + average[upper] * share
    width = deviation[lower] * rest + deviation[upper] * share
    spread = np.sqrt(width * width + noise * noise)
    value = np.float32(pixel)
    if abs(value - dummy) <= delta:
        return np.float32(0), spread
    if dark.size:
        value -= dark[place]
    if norm.size:
        value /= norm[place]
    return (value - level if np.isfinite(value) else np.float32(0)), spread


@kernel()
def _heights(raw, position, dark, norm, average, deviation, limits, height, spread):  # type: ignore[no-untyped-def]
    """`height_of` for a whole segment, without branches; what it gives where nothing is looked for has no meaning."""
    noise, _, _, dummy, delta = limits
    last = np.uint32(average.size - 1)
    for k in range(raw.size):
        here = position[k] if position[k] >= 0 else np.float32(0)
        lower = np.uint32(np.int32(here))
        upper = min(np.uint32(lower + np.uint32(1)), last)
        share = here - np.float32(np.int32(here))
        rest = np.float32(1) - share
        height[k] = average[lower] * rest + average[upper] * share
        spread[k] = deviation[lower] * rest + deviation[upper] * share
    for k in range(raw.size):
        value = np.float32(raw[k])
        known = not abs(value - dummy) <= delta
        if dark.size:
            value -= dark[k]
        if norm.size:
            value /= norm[k]
        height[k] = value - height[k] if known & np.isfinite(value) else np.float32(0)
        spread[k] = np.sqrt(spread[k] * spread[k] + noise * noise)


@kernel()
def _largest(keys):  # type: ignore[no-untyped-def]
    largest = keys[0]
    for k in range(keys.size):
        largest = keys[k] if keys[k] > largest else largest
    return largest


@kernel()
def _reaching(raw, bound):  # type: ignore[no-untyped-def]
    """uint64: bit k is set if pixel k of a segment reaches the bound."""
    bits = np.uint64(0)
    for k in range(raw.size):
        bits |= np.uint64(raw[k] >= bound) << np.uint64(k)
    return bits


@kernel()
def _above(height, spread, limits):  # type: ignore[no-untyped-def]
    """uint64, twice: bit k is set if pixel k of a segment is picked; if it may be a top."""
    noise, cutoff_pick, cutoff_peak, _, _ = limits
    picked = np.uint64(0)
    tops = np.uint64(0)
    for k in range(height.size):
        here = height[k]
        picked |= np.uint64((here > noise) & (here > cutoff_pick * spread[k])) << np.uint64(k)
        tops |= np.uint64((here > 0) & (here >= cutoff_peak * spread[k])) << np.uint64(k)
    return picked, tops


@kernel()
def _append(bits, place, out, count):  # type: ignore[no-untyped-def]
    """Append ``place`` + k for each bit k; returns the new count."""
    while bits != 0:
        if bits & np.uint64(1):
            out[count] = place
            count += 1
        bits >>= np.uint64(1)
        place += 1
    return count


@kernel()
def pick(raw, keys, bounds, key_bounds, watched, out_of, pixels, average, deviation, limits, index, tops):  # type: ignore[no-untyped-def]
    """Find the picked pixels, and possible tops of spots, of segments ``out_of[0]`` to ``out_of[1]``.

    ``keys``, ``key_bounds``: integers that sort like ``raw`` and ``bounds`` where these are positive (the bits of
    floats, integers themselves). ``watched``: of `PickTables`. ``limits``: (noise, cutoff_pick, cutoff_peak, dummy,
    delta), float32. ``index``, ``tops``: int32, are filled from the first pixel of the first segment on. Returns how
    many of each there are.
    """
    position, dark, norm = pixels
    start = out_of[0] * SEGMENT
    nb_picked = start
    nb_tops = start
    heights = np.empty(SEGMENT, np.float32)
    spreads = np.empty(SEGMENT, np.float32)
    for segment in range(out_of[0], out_of[1]):
        begin = segment * SEGMENT
        end = min(begin + SEGMENT, raw.size)
        bound = bounds[segment]
        if bound > 0 and not _largest(keys[begin:end]) >= key_bounds[segment]:
            continue
        here = raw[begin:end]
        reaching = _reaching(here, bound) & watched[segment]
        if reaching == 0:
            continue
        height = heights[: end - begin]
        spread = spreads[: end - begin]
        maps = (position[begin:end], dark[begin:end], norm[begin:end])  # those that are empty stay so
        _heights(here, *maps, average, deviation, limits, height, spread)
        picked, top = _above(height, spread, limits)
        nb_picked = _append(picked & reaching, begin, index, nb_picked)
        nb_tops = _append(top & reaching, begin, tops, nb_tops)
    return nb_picked - start, nb_tops - start
