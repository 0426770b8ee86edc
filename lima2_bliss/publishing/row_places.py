"""Where the rows of each frame lie in flat streams, from the stream that counts them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lima2_bliss.contract import NoLongerAvailableError

_GROWTH = 1 << 12


class RowPlaces:
    """Keeps the counts read so far: 8 bytes a frame."""

    def __init__(self, counts: Any) -> None:
        self._stream = counts
        self._ends = np.zeros(_GROWTH, np.int64)  # rows up to and including each frame
        self._frames = 0

    def look(self) -> int:
        """Frames that have been counted by now; `NoLongerAvailableError` when earlier counts have left Redis."""
        there = len(self._stream)
        if there > self._frames:
            try:
                counts = np.asarray(self._stream[self._frames : there]).reshape(-1)
            except IndexError as error:
                raise NoLongerAvailableError(
                    f"earlier points of {self._stream.name} have left Redis: rows can no longer be told apart by "
                    "frame; read the file of the sparse frames"
                ) from error
            self._grow(self._frames + len(counts))
            before = self._end(self._frames)
            self._ends[self._frames : self._frames + len(counts)] = before + np.cumsum(counts, dtype=np.int64)
            self._frames += len(counts)
        return self._frames

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """(first row, last row + 1) of the frames from ``start`` to before ``stop``; `look` found them before."""
        return self._end(start), self._end(stop)

    def counts(self, start: int, stop: int) -> np.ndarray:
        """Rows of each of these frames, int64."""
        return np.diff(self._ends[start:stop], prepend=self._end(start))

    def frames_within(self, rows: int) -> int:
        """Frames that have all their rows among the first ``rows``."""
        return int(np.searchsorted(self._ends[: self._frames], rows, side="right"))

    def _end(self, frames: int) -> int:
        return int(self._ends[frames - 1]) if frames else 0

    def _grow(self, frames: int) -> None:
        if frames > len(self._ends):
            larger = np.zeros(max(frames, 2 * len(self._ends)), np.int64)
            larger[: self._frames] = self._ends[: self._frames]
            self._ends = larger
