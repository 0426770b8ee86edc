"""Frames of Gaussian peaks."""

from __future__ import annotations

import numpy as np

from lima2_receivers.detectors.simulator.params import Peak, SimulatorParameters
from lima2_receivers.detectors.simulator.quantise import to_pixels

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def peaks(parameters: SimulatorParameters) -> list[Peak]:
    """The peaks that are shown: those given, or one in the middle."""
    size = parameters.det.size
    middle = Peak(x0=(size.x - 1) / 2, y0=(size.y - 1) / 2, fwhm=min(size.x, size.y) / 8, max=100)
    return parameters.det.generator.gauss.peaks or [middle]


def make_frame(parameters: SimulatorParameters, slot: int, dtype: np.dtype) -> np.ndarray:
    """Frame (channels, height, width) of a slot: each peak is the product of a row and a column profile."""
    generator, size = parameters.det.generator, parameters.det.size
    x, y = np.arange(size.x), np.arange(size.y)
    shown = peaks(parameters)
    rows = np.empty((len(shown), size.y))
    columns = np.empty((len(shown), size.x))
    for number, peak in enumerate(shown):
        sigma = peak.fwhm / _FWHM_PER_SIGMA
        rows[number] = peak.max * np.exp(-0.5 * ((y - peak.y0) / sigma) ** 2)
        columns[number] = np.exp(-0.5 * ((x - peak.x0) / sigma) ** 2)
    rows *= 1 + slot * generator.gauss.grow_factor
    first = np.outer(rows[0], columns[0]) if len(shown) == 1 else rows.T @ columns
    frame = np.empty((generator.nb_channels, size.y, size.x), dtype)
    for channel in range(generator.nb_channels):
        frame[channel] = to_pixels(first * (channel + 1) if generator.nb_channels > 1 else first, dtype)
    return frame
