"""Spots around the tops that picking left over, compiled."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.smx_cpu_pick import height_of


@kernel()
def _brightest(raw, top, width, half):  # type: ignore[no-untyped-def]
    """Place of the largest raw value of a patch: the one that is most likely to rule ``top`` out."""
    brightest = top
    for dy in range(-half, half + 1):
        for place in range(top + dy * width - half, top + dy * width + half + 1):
            brightest = place if raw[place] > raw[brightest] else brightest
    return brightest


@kernel()
def find_spots(raw, shape, tops, pixels, average, deviation, limits, patch, out):  # type: ignore[no-untyped-def]
    """Measure the spots among the possible tops.

    ``raw``: (height * width). ``tops``: int32 (n) flat places. ``limits``: (noise, cutoff_pick, cutoff_peak, dummy,
    delta), float32. ``patch``: (half of its side, connected). ``out``: float32 (n, 5), columns y, x, intensity, sigma,
    size. Returns how many rows are set.
    """
    height, width = shape
    noise, _, cutoff_peak, dummy, delta = limits
    half, connected = patch
    found = 0
    for number in range(tops.size):
        top = np.int64(tops[number])
        y = top // width
        x = top - y * width
        if y < half or y >= height - half or x < half or x >= width - half:
            continue
        largest, spread = height_of(raw[top], top, pixels, average, deviation, noise, dummy, delta)
        likely = _brightest(raw, top, width, half)
        value, spread = height_of(raw[likely], likely, pixels, average, deviation, noise, dummy, delta)
        if value > largest:
            continue
        valid = True
        size = 0
        total = np.float64(0)
        variance = np.float64(0)
        along_y = np.float64(0)
        along_x = np.float64(0)
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                place = top + dy * width + dx
                value, spread = height_of(raw[place], place, pixels, average, deviation, noise, dummy, delta)
                if value > 0:
                    if value > largest:
                        valid = False
                        break
                    if value >= cutoff_peak * spread:
                        size += 1
                    total += value
                    along_y += np.float64(value) * dy
                    along_x += np.float64(value) * dx
                    variance += np.float64(spread) * spread
                elif spread <= 0:
                    valid = False
                    break
            if not valid:
                break
        if valid and size >= connected:
            out[found, 0] = y + along_y / total
            out[found, 1] = x + along_x / total
            out[found, 2] = total
            out[found, 3] = np.sqrt(variance)
            out[found, 4] = size
            found += 1
    return found
