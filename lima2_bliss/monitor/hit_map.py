"""The map of hits over two motors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lima2_bliss.monitor.model import HitMap

#: Longest side of a map [cells].
MOST_CELLS = 512
#: First place, last place, how many.
Grid = tuple[float, float, int]
#: Points that are kept as they are, to find the steps of the scan; later ones are counted in cells at once.
EXACT_POINTS = 16384
#: Hits may come so much earlier than their positions, or the other way round; then the map ends.
MOST_WAITING = 1 << 21


class HitMaps:
    """Collects hits and positions, row by row; ``axes`` are the names of the streams of positions (fast, slow).

    Row i of the positions belongs to frames ``i * n`` to ``(i + 1) * n``, n whole: several frames at a point count
    together. Without two axes there is no map. What is kept is bounded: points by `EXACT_POINTS`, cells by
    `MOST_CELLS` a side; a map that outgrows that gets cells of twice the size. Points without a position are left out.
    ``grids``: places that are meant, of the axes where the scan says them; else they are found in the positions.
    """

    def __init__(self, axes: Sequence[str], grids: Mapping[str, Grid] | None = None) -> None:
        self.axes = tuple(axes) if len(axes) == 2 else ()
        self._waiting: dict[str, list[np.ndarray]] = {name: [] for name in (*self.axes, "")}
        self._grids = dict(grids or {})
        self._points: list[np.ndarray] = []
        self._exact = 0
        self._cells: _Cells | None = None
        self._map: HitMap | None = None
        self._given_up = False

    def positions(self, name: str, values: np.ndarray) -> None:
        """The next positions of an axis."""
        if not self._given_up:
            self._waiting[name].append(np.asarray(values, float).reshape(-1))

    def hits(self, flags: np.ndarray | None) -> None:
        """The next rows of is_hit."""
        if self.axes and flags is not None and not self._given_up:
            self._waiting[""].append(np.asarray(flags).reshape(-1) > 0)

    def map(self, frames_per_point: int = 1) -> HitMap | None:
        """The map so far: share of hits in each cell of the grid of positions; None while there is nothing.

        The same object as before when nothing was added.
        """
        points = self._together(frames_per_point)
        if not len(points):
            return self._map
        if self._cells is None:
            self._points.append(points)
            self._exact += len(points)
            points = np.concatenate(self._points)
            cells = _Cells(*(self._places(name, points[:, axis]) for axis, name in enumerate(self.axes)))
            if self._exact > EXACT_POINTS:
                self._cells, self._points = cells, []
        else:
            cells = self._cells
        cells.add(points)
        fast, slow = (name.rpartition(":")[2] for name in self.axes)
        self._map = HitMap(fast, slow, cells.x.centres(), cells.y.centres(), cells.shares())
        return self._map

    def _places(self, name: str, positions: np.ndarray) -> _Places:
        if name not in self._grids:
            return _Places.of(positions)
        start, stop, number = self._grids[name]
        number = min(number, MOST_CELLS)
        low, high = min(start, stop), max(start, stop)
        return _Places(low, (high - low) / max(number - 1, 1), number)

    def _together(self, frames_per_point: int) -> np.ndarray:
        """Points (n, 3) that are complete by now: two positions and the share of hits; they are taken out."""
        if not self.axes:
            return np.empty((0, 3))
        fast, slow, hits = (np.concatenate(parts or [np.empty(0)]) for parts in self._waiting.values())
        number = min(len(fast), len(slow), len(hits) // frames_per_point)
        rest = (fast[number:], slow[number:], hits[number * frames_per_point :])
        self._given_up = self._given_up or max(map(len, rest)) > MOST_WAITING
        kept = ([] if self._given_up else [part] for part in rest)
        self._waiting = dict(zip(self._waiting, kept, strict=True))
        shares = hits[: number * frames_per_point].reshape(number, frames_per_point).mean(axis=1)
        points = np.stack([fast[:number], slow[:number], shares], axis=1)
        return points[np.isfinite(points).all(axis=1)]


class _Places:
    """The grid of one axis: place i is at ``low + i * step``."""

    def __init__(self, low: float, step: float, number: int) -> None:
        self.low, self.step, self.number = low, step, number

    @classmethod
    def of(cls, positions: np.ndarray) -> _Places:
        """The grid of positions; those of the same step share a place."""
        low, high = float(positions.min()), float(positions.max())
        if high <= low:
            return cls(low, 0.0, 1)
        gaps = np.diff(np.unique(np.round(positions, 9)))
        # steps of the scan are the large gaps; what readings of one position differ by is small beside them
        step = float(gaps[gaps > gaps.max() * 0.3].min()) if len(gaps) else high - low
        number = int(np.clip(round((high - low) / step) + 1, 2, MOST_CELLS))
        return cls(low, (high - low) / (number - 1), number)

    def centres(self) -> np.ndarray:
        return self.low + np.arange(self.number) * self.step

    def cells(self, positions: np.ndarray) -> np.ndarray:
        """Cell of each position; below 0 and above the last when it lies outside."""
        if not self.step:
            return np.zeros(len(positions), int)
        return np.rint((positions - self.low) / self.step).astype(int)


class _Cells:
    """Counts of the cells of two axes; they grow with what is added."""

    def __init__(self, x: _Places, y: _Places) -> None:
        self.x, self.y = x, y
        self._total = np.zeros((y.number, x.number))
        self._number = np.zeros((y.number, x.number), np.int64)

    def add(self, points: np.ndarray) -> None:
        """Points (n, 3): x, y, share."""
        self._reach(self.x, points[:, 0], 1)
        self._reach(self.y, points[:, 1], 0)
        where = (self.y.cells(points[:, 1]), self.x.cells(points[:, 0]))
        np.add.at(self._total, where, points[:, 2])
        np.add.at(self._number, where, 1)

    def shares(self) -> np.ndarray:
        """Share of hits of each cell, NaN where nothing was taken."""
        shares = np.full(self._total.shape, np.nan)
        np.divide(self._total, self._number, out=shares, where=self._number > 0)
        return shares

    def _reach(self, places: _Places, positions: np.ndarray, axis: int) -> None:
        """Make the grid of an axis cover the positions."""
        low, high = float(positions.min()), float(positions.max())
        if not places.step and (low != places.low or high != places.low):
            places.step = max(abs(low - places.low), abs(high - places.low))
        if not places.step:
            return
        # cells at either end are needed; while these are too many, two become one
        while True:
            before, last = max(0, -round((low - places.low) / places.step)), round((high - places.low) / places.step)
            after = max(0, last - places.number + 1)
            if before + places.number + after <= MOST_CELLS:
                break
            self._merge(places, axis)
        if before or after:
            widths = [(0, 0), (0, 0)]
            widths[axis] = (before, after)
            self._total, self._number = np.pad(self._total, widths), np.pad(self._number, widths)
            places.low -= before * places.step
            places.number += before + after

    def _merge(self, places: _Places, axis: int) -> None:
        """Two neighbours become one."""
        odd = [(0, 0), (0, 0)]
        odd[axis] = (0, places.number % 2)

        def merged(values: np.ndarray) -> np.ndarray:
            padded = np.moveaxis(np.pad(values, odd), axis, 0)
            return np.moveaxis(padded[0::2] + padded[1::2], 0, axis)

        self._total, self._number = merged(self._total), merged(self._number)
        places.low += places.step / 2
        places.step *= 2
        places.number = (places.number + 1) // 2
