"""Spots of some frames of a scan: one table, and the part of each frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import NotAvailableError

#: A row of the table: index of the frame in the scan, centre [px, pixel centres at integers], intensity above the
#: background and its deviation [normalised counts], pixels above the threshold.
SPOT_POINT = np.dtype(
    [("frame", "<i8"), ("y", "<f4"), ("x", "<f4"), ("intensity", "<f4"), ("sigma", "<f4"), ("size", "<i4")]
)


@dataclass(frozen=True, eq=False)
class Spots:
    """Spots of ``frames``: int64 indices in the scan, ascending. ``counts``: how many each has, int64. ``is_hit``:
    bool. ``table``: `SPOT_POINT` rows, frame after frame."""

    frames: np.ndarray
    counts: np.ndarray
    is_hit: np.ndarray
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame: int) -> np.ndarray:
        """Rows of the frame with that index in the scan; `NotAvailableError` when it is not among ``frames``."""
        place = int(np.searchsorted(self.frames, frame))
        if place == len(self.frames) or self.frames[place] != frame:
            there = f"{self.frames[0]} to {self.frames[-1]}" if len(self.frames) else "none"
            raise NotAvailableError(
                f"frame {frame} is not among these frames ({there}); read it from the detector's data"
            )
        first = int(self.counts[:place].sum())
        return self.table[first : first + int(self.counts[place])]

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """(frame, rows) of each frame."""
        ends = np.cumsum(self.counts).tolist()
        start = 0
        for frame, end in zip(self.frames.tolist(), ends, strict=True):
            yield frame, self.table[start:end]
            start = end

    def of_hits(self) -> Spots:
        """Those of the hits alone."""
        rows = np.repeat(self.is_hit, self.counts)
        return Spots(self.frames[self.is_hit], self.counts[self.is_hit], self.is_hit[self.is_hit], self.table[rows])

    def __add__(self, later: Spots) -> Spots:
        """These frames and ``later`` ones."""
        return Spots(
            np.concatenate([self.frames, later.frames]),
            np.concatenate([self.counts, later.counts]),
            np.concatenate([self.is_hit, later.is_hit]),
            np.concatenate([self.table, later.table]),
        )
