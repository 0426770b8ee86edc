"""Frames of a diffracting crystal: radial background, Bragg spots in the hits, Poisson noise."""

from __future__ import annotations

import numpy as np

from lima2_receivers.detectors.simulator.lattice import SPOT, bragg_spots
from lima2_receivers.detectors.simulator.params import SimulatorParameters, lattice_index
from lima2_receivers.detectors.simulator.quantise import to_pixels

# What a random number generator is for; with seed and slot it makes independent streams.
_HITS, _CRYSTAL, _NOISE = range(3)


def _rng(parameters: SimulatorParameters, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([parameters.det.generator.seed, *purpose]))


def hits(parameters: SimulatorParameters) -> np.ndarray:
    """Which slots have spots: exactly the hit rate, rounded to a whole number of slots, at random places."""
    slots = parameters.det.nb_prefetch_frames
    chosen = round(parameters.det.generator.diffraction.hit_rate * slots)
    return _rng(parameters, _HITS).permutation(slots) < chosen


def beam(parameters: SimulatorParameters, slot: int) -> tuple[float, float]:
    """(x, y) where the beam hits in a slot [px]."""
    crystal, size = parameters.det.generator.diffraction, parameters.det.size
    x = crystal.x0 if crystal.x0 >= 0 else (size.x - 1) / 2
    y = crystal.y0 if crystal.y0 >= 0 else (size.y - 1) / 2
    return (
        x + crystal.source_pos_x + slot * crystal.source_speed_x,
        y + crystal.source_pos_y + slot * crystal.source_speed_y,
    )


def spots(parameters: SimulatorParameters, slot: int) -> np.ndarray:
    """`SPOT` rows of a slot: exact centres and expected counts; none when it is no hit."""
    if not hits(parameters)[slot]:
        return np.zeros(0, SPOT)
    crystal, size = parameters.det.generator.diffraction, parameters.det.size
    return bragg_spots(
        crystal, size, beam(parameters, slot), lattice_index(parameters), _rng(parameters, _CRYSTAL, slot)
    )


def _background(parameters: SimulatorParameters, slot: int) -> np.ndarray:
    crystal, size = parameters.det.generator.diffraction, parameters.det.size
    x0, y0 = beam(parameters, slot)
    rows = np.exp(-0.5 * ((np.arange(size.y) - y0) / crystal.background_width) ** 2)
    columns = np.exp(-0.5 * ((np.arange(size.x) - x0) / crystal.background_width) ** 2)
    return np.outer(crystal.background_level * rows, columns) + crystal.background_floor


def _add_spots(mean: np.ndarray, found: np.ndarray, sigma: float) -> None:
    height, width = mean.shape
    reach = int(np.ceil(4 * sigma))
    for y, x, intensity in found.tolist():
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        rows = np.arange(top, min(round(y) + reach + 1, height))
        columns = np.arange(left, min(round(x) + reach + 1, width))
        profile_y = np.exp(-0.5 * ((rows - y) / sigma) ** 2)
        profile_x = np.exp(-0.5 * ((columns - x) / sigma) ** 2)
        patch = np.outer(profile_y, profile_x) * (intensity / (2 * np.pi * sigma**2))
        mean[top : top + len(rows), left : left + len(columns)] += patch


def make_frame(parameters: SimulatorParameters, slot: int, dtype: np.dtype) -> np.ndarray:
    """Frame (channels, height, width) of a slot; the channels differ by their noise only."""
    generator, size = parameters.det.generator, parameters.det.size
    mean = _background(parameters, slot)
    _add_spots(mean, spots(parameters, slot), generator.diffraction.spot_sigma)
    frame = np.empty((generator.nb_channels, size.y, size.x), dtype)
    for channel in range(generator.nb_channels):
        if generator.diffraction.noise:
            counts = _rng(parameters, _NOISE, slot, channel).poisson(mean).astype(np.float64)
        else:
            counts = mean.copy()
        frame[channel] = to_pixels(counts, dtype)
    return frame
