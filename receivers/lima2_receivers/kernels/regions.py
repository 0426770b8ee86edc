"""Which pixels belong to a region: every ROI becomes a list of runs of consecutive pixels, made once at prepare.

One form for rectangles, arcs, masked pixels and several channels; the kernels then read memory in straight lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lima2_receivers.kernels.compilation import kernel

#: (x, y, width, height) in image pixels.
RectangleRoi = tuple[int, int, int, int]


@dataclass(frozen=True)
class ArcRoi:
    """Ring segment: pixel centres with ``r1 <= r < r2`` [px] and angle in ``[a1, a2)`` [degrees, +x to +y]."""

    x: float
    y: float
    r1: float
    r2: float
    a1: float = 0.0
    a2: float = 360.0


@dataclass(frozen=True)
class Regions:
    """The pixels of several ROIs in a frame of ``shape`` (channels, height, width).

    Run ``k`` is ``lengths[k]`` pixels of the flat frame from ``starts[k]`` on; ROI ``i`` owns the runs
    ``offsets[i]`` to ``offsets[i + 1]``.
    """

    shape: tuple[int, int, int]
    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pixels(self, roi: int) -> np.ndarray:
        """Flat indices of all pixels of one ROI, channel after channel."""
        runs = range(self.offsets[roi], self.offsets[roi + 1])
        parts = [np.arange(self.starts[run], self.starts[run] + self.lengths[run]) for run in runs]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    @property
    def sizes(self) -> list[int]:
        """Pixels of each ROI, over all channels."""
        ends = np.concatenate(([0], np.cumsum(self.lengths)))
        return [int(ends[last] - ends[first]) for first, last in zip(self.offsets[:-1], self.offsets[1:], strict=True)]


def arc_mask(shape: tuple[int, int], arc: ArcRoi, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Boolean image: True where the pixel's centre lies in the arc. The centre (r = 0) has the angle 0.

    Neighbouring arcs that share a border never share a pixel, and leave none out. Pixel (0, 0) of the result is pixel
    ``corner`` (x, y) of the image.
    """
    dx = np.arange(corner[0], corner[0] + shape[1])[None, :] - arc.x
    dy = np.arange(corner[1], corner[1] + shape[0])[:, None] - arc.y
    squared = dx * dx + dy * dy
    inside = (squared >= arc.r1 * arc.r1) & (squared < arc.r2 * arc.r2)
    if arc.a2 - arc.a1 >= 360:
        return inside
    rows, columns = np.nonzero(inside)
    angle = turned(np.degrees(np.arctan2(dy[rows, 0], dx[0, columns])))
    first, last = float(turned(np.float64(arc.a1))), float(turned(np.float64(arc.a2)))
    if first < last:
        taken = (angle >= first) & (angle < last)
    elif first > last:
        taken = (angle >= first) | (angle < last)
    else:  # borders that rounding made equal: nearly all or nearly nothing
        taken = np.full(angle.shape, arc.a2 - arc.a1 > 180)
    inside[rows, columns] = taken
    return inside


def turned(degrees: np.ndarray | np.floating) -> np.ndarray:
    """The same angle in [0, 360); rounding of tiny negative angles to 360 is undone."""
    angle = np.asarray(np.mod(degrees, 360.0))
    return np.where(angle >= 360.0, 0.0, angle)


Runs = tuple[np.ndarray, np.ndarray]  # (starts, lengths)


def _rectangle_runs(roi: RectangleRoi, shape: tuple[int, int]) -> Runs:
    """Runs of a rectangle: one per row, or a single one when its rows touch."""
    x, y, columns, rows = roi
    if columns == shape[1]:
        return np.array([y * columns]), np.array([rows * columns])
    return (np.arange(y, y + rows) * shape[1] + x), np.full(rows, columns)


@lru_cache(maxsize=256)
def _arc_runs(arc: ArcRoi, shape: tuple[int, int]) -> Runs:
    """Runs of an arc, cut at the borders of the image; kept for the next prepare."""
    left, right = _clipped(arc.x, arc.r2, shape[1])
    top, bottom = _clipped(arc.y, arc.r2, shape[0])
    inside = arc_mask((bottom - top, right - left), arc, (left, top))
    closed = np.zeros((inside.shape[0], inside.shape[1] + 2), np.int8)
    closed[:, 1:-1] = inside
    steps = np.diff(closed, axis=1)
    row, begin = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    return (row + top) * shape[1] + begin + left, end - begin


def _clipped(centre: float, radius: float, size: int) -> tuple[int, int]:
    """Pixels from ... to (excluded) that a circle can touch along one axis."""
    first = min(max(math.floor(centre - radius), 0), size)
    return first, min(max(math.ceil(centre + radius) + 1, first), size)


@kernel()
def _split_runs(starts, lengths, offsets, valid, new_starts, new_lengths, new_offsets):  # type: ignore[no-untyped-def]
    """Leave out pixels that are not valid. With empty ``new_starts`` it only counts; returns the number of runs."""
    runs = 0
    for roi in range(offsets.size - 1):
        for run in range(offsets[roi], offsets[roi + 1]):
            length = 0
            for pixel in range(starts[run], starts[run] + lengths[run] + 1):
                if pixel < starts[run] + lengths[run] and valid[pixel % valid.size]:
                    length += 1
                    continue
                if length:
                    if new_starts.size:
                        new_starts[runs] = pixel - length
                        new_lengths[runs] = length
                    runs += 1
                length = 0
        new_offsets[roi + 1] = runs
    return runs


def without_masked(regions: Regions, valid: np.ndarray) -> Regions:
    """The same regions without the pixels where ``valid`` (channels or 1, height, width) is False."""
    flat = np.ascontiguousarray(valid, np.uint8).reshape(-1)
    none = np.empty(0, np.int64)
    offsets = np.zeros_like(regions.offsets)
    number = _split_runs(regions.starts, regions.lengths, regions.offsets, flat, none, none, offsets)
    starts, lengths = np.empty(number, np.int64), np.empty(number, np.int64)
    _split_runs(regions.starts, regions.lengths, regions.offsets, flat, starts, lengths, offsets)
    return Regions(regions.shape, starts, lengths, offsets)


def find_regions(
    shape: tuple[int, int, int],
    rectangles: Sequence[RectangleRoi] = (),
    arcs: Sequence[ArcRoi] = (),
    valid: np.ndarray | None = None,
) -> Regions:
    """The pixels of rectangles, then arcs, without those where ``valid`` (channels or 1, height, width) is False.

    Rectangles lie inside the image; arcs are cut at its borders.
    """
    channels, height, width = shape
    rois = [_rectangle_runs(roi, (height, width)) for roi in rectangles]
    rois += [_arc_runs(arc, (height, width)) for arc in arcs]
    shifts = [channel * height * width for channel in range(channels)]
    starts = [np.empty(0, np.int64), *(begin + shift for begin, _ in rois for shift in shifts)]
    lengths = [np.empty(0, np.int64), *(length for _, length in rois for _ in shifts)]
    offsets = np.cumsum([0, *(channels * len(begin) for begin, _ in rois)], dtype=np.int64)
    regions = Regions(shape, np.concatenate(starts, dtype=np.int64), np.concatenate(lengths, dtype=np.int64), offsets)
    return regions if valid is None else without_masked(regions, valid)


def row_regions(shape: tuple[int, int, int], roi: RectangleRoi, valid: np.ndarray | None = None) -> Regions:
    """Each row of a rectangle as a region of its own."""
    channels, height, width = shape
    x, y, columns, rows = roi
    starts = np.arange(y, y + rows, dtype=np.int64)[:, None] * width + x + np.arange(channels) * (height * width)
    lengths = np.full(rows * channels, columns, np.int64)
    regions = Regions(shape, starts.reshape(-1), lengths, np.arange(rows + 1, dtype=np.int64) * channels)
    return regions if valid is None else without_masked(regions, valid)
