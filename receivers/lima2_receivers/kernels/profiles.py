"""Profiles: statistics of each row or each column of a rectangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.regions import RectangleRoi, Regions, row_regions
from lima2_receivers.kernels.statistics import STATISTICS, region_statistics
from lima2_receivers.kernels.widening import dummy_of

Direction = Literal["vertical", "horizontal"]


@dataclass(frozen=True)
class Profile:
    """What is needed to compute one profile: the rows as regions (vertical), or the valid pixels (horizontal)."""

    shape: tuple[int, int, int]
    roi: RectangleRoi
    direction: Direction
    rows: Regions | None
    valid: np.ndarray

    def __len__(self) -> int:
        """Number of bins."""
        return self.roi[3] if self.direction == "vertical" else self.roi[2]


def make_profile(
    shape: tuple[int, int, int], roi: RectangleRoi, direction: Direction, valid: np.ndarray | None = None
) -> Profile:
    """A profile of ``roi`` for frames of ``shape``: one bin per row (`vertical`) or per column (`horizontal`)."""
    x, y, columns, rows = roi
    if direction == "vertical":
        return Profile(shape, roi, direction, row_regions(shape, roi, valid), np.empty((0, 0, 0), bool))
    window = np.ones((1, rows, columns), bool) if valid is None else valid[:, y : y + rows, x : x + columns]
    return Profile(shape, roi, direction, None, np.ascontiguousarray(window))


def profile_reference(
    frame: np.ndarray, profile: Profile, valid: np.ndarray | None = None, dummy: float | None = None
) -> np.ndarray:
    """The same in plain NumPy."""
    x, y, columns, rows = profile.roi
    values = frame.astype(np.float64)
    if dummy is not None and frame.dtype.kind != "f":
        values[values == dummy] = np.nan
    if valid is not None:
        values[~np.broadcast_to(valid, frame.shape)] = np.nan
    window = values[:, y : y + rows, x : x + columns]
    bins = window.transpose(1, 0, 2) if profile.direction == "vertical" else window.transpose(2, 0, 1)
    out = np.full((len(profile), len(STATISTICS)), np.nan)
    for index, pixels in enumerate(bins):
        kept = pixels[~np.isnan(pixels)]
        if kept.size:
            out[index] = kept.min(), kept.max(), kept.mean(), kept.std(), kept.sum()
    return out


def profile_statistics(frame: np.ndarray, profile: Profile, dummy: float | None = None) -> np.ndarray:
    """Statistics of each bin: float64 (bins, 5), columns and ``dummy`` as in `statistics`."""
    if profile.rows is not None:
        return region_statistics(frame, profile.rows, dummy)
    if frame.shape != profile.shape:
        raise ValueError(f"frame of shape {frame.shape}, but the profile was made for {profile.shape}")
    out = np.empty((len(profile), len(STATISTICS)))
    total = np.zeros(len(profile), np.float64 if frame.dtype.kind == "f" else np.int64)
    arguments = profile.roi[0], profile.roi[1], *dummy_of(frame.dtype, dummy)
    _column_statistics(frame, profile.valid, *arguments, total, out)
    return out


@kernel()
def _column_statistics(frame, valid, x, y, has_dummy, dummy, total, out):  # type: ignore[no-untyped-def]
    """Two passes over the rows, all columns side by side: sums first, then squares around the mean."""
    _, rows, columns = valid.shape
    count = np.zeros(columns, np.int64)
    mean = np.empty(columns)
    squares = np.zeros(columns)
    measured = np.empty(columns, np.bool_)
    low = np.empty(columns, frame.dtype)
    high = np.empty(columns, frame.dtype)
    for channel in range(frame.shape[0]):
        for row in range(rows):
            pixels = frame[channel, y + row, x : x + columns]
            keep = valid[channel % valid.shape[0], row]
            if has_dummy:
                for j in range(columns):
                    measured[j] = keep[j] & (pixels[j] != dummy)
                keep = measured
            for j in range(columns):
                value = pixels[j]
                take = keep[j] and value == value
                low[j] = value if take and (count[j] == 0 or value < low[j]) else low[j]
                high[j] = value if take and (count[j] == 0 or value > high[j]) else high[j]
                total[j] += value if take else 0
                count[j] += take
    for j in range(columns):
        mean[j] = total[j] / count[j] if count[j] else np.nan
    for channel in range(frame.shape[0]):
        for row in range(rows):
            pixels = frame[channel, y + row, x : x + columns]
            keep = valid[channel % valid.shape[0], row]
            if has_dummy:
                for j in range(columns):
                    measured[j] = keep[j] & (pixels[j] != dummy)
                keep = measured
            for j in range(columns):
                value = pixels[j]
                take = keep[j] and value == value
                distance = np.float64(value) - mean[j]
                squares[j] += distance * distance if take else 0.0
    for j in range(columns):
        some = count[j] > 0
        out[j, 0] = np.float64(low[j]) if some else np.nan
        out[j, 1] = np.float64(high[j]) if some else np.nan
        out[j, 2] = mean[j]
        out[j, 3] = np.sqrt(squares[j] / count[j]) if some else np.nan
        out[j, 4] = np.float64(total[j]) if some else np.nan
