"""Hits over the positions of two motors: the map of a raster scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lima2_bliss.monitor.model import HitMap

#: Longest side of a map [cells].
MOST_CELLS = 512


class HitMaps:
    """Collects hits and positions, row by row; ``axes`` are the names of the streams of positions (fast, slow).

    Row i of the positions belongs to frames ``i * n`` to ``(i + 1) * n``, n whole: several frames at a point count
    together. Without two axes there is no map.
    """

    def __init__(self, axes: Sequence[str]) -> None:
        self.axes = tuple(axes) if len(axes) == 2 else ()
        self._positions: dict[str, list[np.ndarray]] = {name: [] for name in self.axes}
        self._hits: list[np.ndarray] = []

    def positions(self, name: str, values: np.ndarray) -> None:
        """The next positions of an axis."""
        self._positions[name].append(np.asarray(values, float).reshape(-1))

    def hits(self, flags: np.ndarray | None) -> None:
        """The next rows of is_hit."""
        if self.axes and flags is not None:
            self._hits.append(np.asarray(flags).reshape(-1) > 0)

    def map(self, frames_per_point: int = 1) -> HitMap | None:
        """The map so far: share of hits in each cell of the grid of positions; None while there is nothing."""
        if not self.axes or not self._hits:
            return None
        fast, slow = (np.concatenate(self._positions[name] or [np.empty(0)]) for name in self.axes)
        hits = np.concatenate(self._hits)
        points = min(len(fast), len(slow), len(hits) // frames_per_point)
        if not points:
            return None
        shares = hits[: points * frames_per_point].reshape(points, frames_per_point).mean(axis=1)
        x, columns = _grid(fast[:points])
        y, rows = _grid(slow[:points])
        total, number = np.zeros((len(y), len(x))), np.zeros((len(y), len(x)))
        np.add.at(total, (rows, columns), shares)
        np.add.at(number, (rows, columns), 1)
        cells = np.full(total.shape, np.nan)
        np.divide(total, number, out=cells, where=number > 0)
        names = [name.rpartition(":")[2] for name in self.axes]
        return HitMap(names[0], names[1], x, y, cells)


def _grid(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places of the grid, cell of each position); positions of the same step share a cell."""
    low, high = float(positions.min()), float(positions.max())
    if high <= low:
        return np.array([low]), np.zeros(len(positions), int)
    order = np.unique(np.round(positions, 9))
    gaps = np.diff(order)
    # steps of the scan are the large gaps; what readings of one position differ by is small beside them
    step = float(gaps[gaps > gaps.max() * 0.3].min()) if len(gaps) else high - low
    cells = int(min(MOST_CELLS, round((high - low) / step) + 1))
    places = np.linspace(low, high, max(cells, 2))
    cell = np.rint((positions - low) / (high - low) * (len(places) - 1)).astype(int)
    return places, cell
