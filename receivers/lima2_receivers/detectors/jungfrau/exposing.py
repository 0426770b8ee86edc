"""From mean photon counts to a simulated module's raw pixels: what `wire.encode` does, fast, with Poisson noise."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Any

import numpy as np

from lima2_receivers.detectors.jungfrau.packets import ADC_MASK, GAIN_SHIFT, SATURATED_PIXEL, STAGE_BITS
from lima2_receivers.kernels.compilation import kernel

#: Entries of the table of normally distributed numbers that noise is drawn from.
_NORMALS = 1 << 16
#: Above this mean the number of photons is drawn from a normal distribution.
_MANY_PHOTONS = 30.0
_BITS = tuple(bits << GAIN_SHIFT for bits in STAGE_BITS)


@functools.cache
def _normals() -> np.ndarray:
    """Quantiles of the normal distribution; their mean is 0 and their variance 1."""
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse(0.5 + (entry + 0.5) / _NORMALS) for entry in range(_NORMALS // 2)])
    both = np.concatenate([-upper, upper])
    return (both / both.std()).astype(np.float32)


def expose(
    photons: np.ndarray,
    photon_kev: float,
    pedestals: np.ndarray,
    gains: np.ndarray,
    switch_kev: tuple[float, float],
    out: np.ndarray,
    *,
    noise_adu: tuple[float, float, float] | None = None,
    drift_adu: float = 0.0,
    forced_stage: int | None = None,
    seed: int = 1,
) -> None:
    """Write the raw pixels (uint16) of a module that sees ``photons`` (float32), both (rows, columns), to ``out``.

    ``pedestals`` [ADU] and ``gains`` [ADU/keV]: float32 (3, rows, columns). Without ``noise_adu`` the counts are taken
    as they are, fractions too; with it they are the means of Poisson's distribution, and the stages have noise.
    ``drift_adu`` is added to the pedestals of G0. ``seed`` decides about all noise.
    """
    noisy = noise_adu is not None
    noise = np.array(noise_adu or (0, 0, 0), np.float32)
    forced = -1 if forced_stage is None else forced_stage
    _expose(
        photons.ravel(),
        float(photon_kev),
        pedestals.reshape(3, -1),
        gains.reshape(3, -1),
        np.array((drift_adu, 0.0, 0.0)),
        np.array(switch_kev, np.float64),
        noise,
        _normals(),
        forced,
        noisy,
        np.uint64(seed * 0x9E3779B97F4A7C15 % (1 << 64) or 1),
        out.reshape(-1),
    )


@kernel()
def _next(state: Any) -> Any:
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state


@kernel()
def _expose(
    photons: np.ndarray,
    photon_kev: float,
    pedestals: np.ndarray,
    gains: np.ndarray,
    drift: np.ndarray,
    switch_kev: np.ndarray,
    noise: np.ndarray,
    normals: np.ndarray,
    forced: int,
    noisy: bool,
    state: Any,
    out: np.ndarray,
) -> None:
    multiplier, half = np.uint64(0x2545F4914F6CDD1D), np.uint64(48)
    for pixel in range(photons.size):
        count: Any = np.float64(photons[pixel])
        deviation: Any = 0.0
        if noisy:
            state = _next(state)
            drawn = state * multiplier
            deviation = np.float64(normals[drawn >> half])
            mean = count
            if mean <= 0.0:
                count = 0.0
            elif mean > _MANY_PHOTONS:
                spread = np.float64(normals[(drawn >> np.uint64(16)) & np.uint64(0xFFFF)])
                count = max(np.rint(mean + math.sqrt(mean) * spread), 0.0)
            else:
                state = _next(state)
                uniform = np.float64((state * multiplier) >> np.uint64(11)) * 2.0**-53
                count = 0.0
                chance = math.exp(-mean)
                reached = chance
                while uniform > reached and chance > 1e-18:
                    count += 1.0
                    chance *= mean / count
                    reached += chance
        energy = count * photon_kev
        value = 0
        adc: Any = 0.0
        if forced >= 0:
            adc = np.rint(
                pedestals[forced, pixel] + drift[forced] + gains[forced, pixel] * energy + noise[forced] * deviation
            )
            value = _BITS[forced] | int(min(max(adc, 0.0), ADC_MASK))
        else:
            for stage in range(3):
                adc = np.rint(
                    pedestals[stage, pixel] + drift[stage] + gains[stage, pixel] * energy + noise[stage] * deviation
                )
                if stage == 2:
                    value = SATURATED_PIXEL if adc < 1 else _BITS[2] | int(min(adc, ADC_MASK - 1))
                elif energy <= switch_kev[stage] and adc <= ADC_MASK and (stage == 0 or adc >= 1):
                    value = _BITS[stage] | int(max(adc, 0.0))
                    break
        out[pixel] = value
