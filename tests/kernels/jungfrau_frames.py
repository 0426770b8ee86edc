"""Raw Jungfrau frames made from photons by the inverse of the correction, written apart from it."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.jungfrau_types import StageMaps

PEDESTALS = (3000.0, 15000.0, 15000.0)
GAINS = (41.0, -1.439, -0.1145)  # ADU/keV
PHOTON_KEV = 12.4

#: Gain bits of the stages.
BITS = np.array([0, 1, 3], np.uint16)


def random_maps(shape: tuple[int, int, int], masked: float = 0.0, seed: int = 1) -> StageMaps:
    """Maps of plausible size for photons; a part of the pixels is masked."""
    random = np.random.default_rng(seed)
    each = (slice(None), None, None, None)
    pedestals = np.array(PEDESTALS)[each] + random.normal(0, 20, (3, *shape))
    gains = np.array(GAINS)[each] * random.normal(1, 0.03, (3, *shape))
    factors = (1 / (gains * PHOTON_KEV)).astype(np.float32)
    factors[:, random.random(shape) < masked] = np.nan
    return StageMaps(pedestals.astype(np.float32), factors)


def to_raw(photons: np.ndarray, stages: np.ndarray, maps: StageMaps) -> np.ndarray:
    """uint16 pixels that show so many photons in the given stages (0, 1, 2)."""
    pedestal = np.take_along_axis(maps.pedestals, stages[None].astype(np.intp), 0)[0].astype(np.float64)
    factor = np.take_along_axis(maps.factors, stages[None].astype(np.intp), 0)[0].astype(np.float64)
    adc = np.rint(pedestal + photons / np.where(np.isnan(factor), np.inf, factor))
    if adc.min() < 0 or adc.max() > 0x3FFF:
        raise ValueError("more photons than the ADC can show in this stage")
    return (BITS[stages] << 14 | adc.astype(np.uint16)).astype(np.uint16)
