"""Rows of one result stream of one receiver that wait to be merged."""

from __future__ import annotations

from collections import deque

import numpy as np

from lima2_bliss.contract import ProtocolError


class WaitingRows:
    """Rows of a stream with ``per_frame`` rows in every frame. ``frames`` counts complete ones, taken ones included."""

    def __init__(self, per_frame: int) -> None:
        self._per_frame = per_frame
        self._chunks: deque[np.ndarray] = deque()
        self._received = 0
        self._dtype = np.dtype("u1")
        self.nbytes = 0

    @property
    def frames(self) -> int:
        return self._received // self._per_frame

    def add(self, rows: np.ndarray) -> None:
        """Further rows, cut anywhere."""
        self._chunks.append(rows)
        self._received += len(rows)
        self._dtype = rows.dtype
        self.nbytes += rows.nbytes

    def take(self, frames: int) -> np.ndarray:
        """The rows of the next ``frames`` frames, shape (frames, per_frame)."""
        return self._take_rows(frames * self._per_frame).reshape(frames, self._per_frame)

    def _take_rows(self, count: int) -> np.ndarray:
        pieces = []
        while count:
            chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            pieces.append(chunk)
            count -= len(chunk)
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty(0, self._dtype)])
        self.nbytes -= rows.nbytes
        return rows


class CountedRows(WaitingRows):
    """Rows of a stream of which each frame has another number, as `count` is told."""

    def __init__(self, dtype: np.dtype) -> None:
        super().__init__(1)
        self._dtype = dtype
        self._counts = np.empty(0, np.int64)  # of frames not taken yet
        self._ends = np.empty(0, np.int64)  # last row + 1 of frames whose rows are not all here
        self._end = 0
        self._complete = 0

    @property
    def frames(self) -> int:
        return self._complete

    def count(self, counts: np.ndarray) -> None:
        """How many rows each of the next frames has."""
        if len(counts) and counts.min() < 0:
            raise ProtocolError(f"a frame with {counts.min()} rows: row counts must not be negative")
        ends = self._end + np.cumsum(counts, dtype=np.int64)
        self._end = int(ends[-1]) if len(ends) else self._end
        self._counts = np.concatenate([self._counts, counts], dtype=np.int64)
        self._ends = np.concatenate([self._ends, ends])
        self._look()

    def add(self, rows: np.ndarray) -> None:
        super().add(rows)
        self._look()

    def counts(self, frames: int) -> np.ndarray:
        """Rows of each of the next ``frames`` frames."""
        return self._counts[:frames]

    def take(self, frames: int) -> np.ndarray:
        """The rows of the next ``frames`` frames, one frame after another."""
        rows = self._take_rows(int(self._counts[:frames].sum()))
        self._counts = self._counts[frames:]
        return rows

    def _look(self) -> None:
        complete = int(np.searchsorted(self._ends, self._received, side="right"))
        self._complete += complete
        self._ends = self._ends[complete:]
