"""A strip chart's numbers: thinned as the scan gets longer, never more than a fixed number of buckets."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

CAPACITY = 2048


@dataclass(frozen=True)
class Points:
    """Points of a chart: place, mean, lowest and highest value of each bucket that has any; float64 (n,)."""

    x: np.ndarray
    y: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


class Series:
    """Values by frame index, in buckets of 1, 2, 4, ... frames; mean, lowest and highest of each are kept.

    NaN is no value. Written by one thread, read by any.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity {capacity}: give an even number of buckets, 2 or more")
        self._capacity = capacity
        self._width = 1
        self._end = 0
        self._sum = np.zeros(capacity)
        self._number = np.zeros(capacity, np.int64)
        self._low = np.full(capacity, np.inf)
        self._high = np.full(capacity, -np.inf)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Index behind the last frame that was added."""
        return self._end

    @property
    def last(self) -> float | None:
        """Mean of the newest bucket that has a value."""
        points = self.points(self._capacity)
        return float(points.y[-1]) if len(points.y) else None

    def add(self, first: int, values: np.ndarray) -> None:
        """Values of the frames from ``first`` on, which must not lie before the ones added so far."""
        values = np.asarray(values, np.float64)
        if not len(values):
            return
        if first < 0 or values.ndim != 1:
            raise ValueError(f"values of shape {values.shape} from frame {first}: give one number for each frame")
        with self._lock:
            self._end = max(self._end, first + len(values))
            while (self._end - 1) // self._width >= self._capacity:
                self._halve()
            there = ~np.isnan(values)
            bucket = np.arange(first, first + len(values)) // self._width
            starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
            places = bucket[starts]
            self._sum[places] += np.add.reduceat(np.where(there, values, 0.0), starts)
            self._number[places] += np.add.reduceat(there.astype(np.int64), starts)
            low = np.minimum.reduceat(np.where(there, values, np.inf), starts)
            high = np.maximum.reduceat(np.where(there, values, -np.inf), starts)
            self._low[places] = np.minimum(self._low[places], low)
            self._high[places] = np.maximum(self._high[places], high)

    def _halve(self) -> None:
        """Merge neighbours; the upper half becomes free."""
        half = self._capacity // 2
        self._width *= 2
        self._sum[:half] = self._sum.reshape(half, 2).sum(axis=1)
        self._number[:half] = self._number.reshape(half, 2).sum(axis=1)
        self._low[:half] = self._low.reshape(half, 2).min(axis=1)
        self._high[:half] = self._high.reshape(half, 2).max(axis=1)
        self._sum[half:] = self._number[half:] = 0
        self._low[half:], self._high[half:] = np.inf, -np.inf

    def points(self, most: int = 500) -> Points:
        """At most ``most`` points over everything added so far."""
        with self._lock:
            used = -(-self._end // self._width)
            factor = max(1, -(-used // most))
            groups = -(-used // factor)
            size = groups * factor

            def grouped(values: np.ndarray, empty: float) -> np.ndarray:
                padded = np.full(size, empty, values.dtype)
                padded[:used] = values[:used]
                return padded.reshape(groups, factor)

            number = grouped(self._number, 0).sum(axis=1)
            there = number > 0
            total = grouped(self._sum, 0.0).sum(axis=1)[there]
            low = grouped(self._low, np.inf).min(axis=1)[there] if groups else np.empty(0)
            high = grouped(self._high, -np.inf).max(axis=1)[there] if groups else np.empty(0)
            step = self._width * factor
            x = np.flatnonzero(there) * step + (step - 1) / 2
        return Points(x, total / number[there], low, high)
