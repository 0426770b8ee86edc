"""Result rows as the SMX pipeline gives them; every value tells its frame."""

from __future__ import annotations

import time

import numpy as np

from lima2_bliss.contract import FRAME_EVENT, SPOT, FrameFlags, ResultStream
from lima2_bliss.contract.records import (
    BACKGROUND_BIN,
    BACKGROUND_STREAM,
    FRAME_EVENT_STREAM,
    SMX_FRAME,
    SMX_FRAME_STREAM,
    SPARSE_PIXEL,
    SPARSE_STREAM,
    SPOTS_STREAM,
)

ROW_COUNTS = {SPOTS_STREAM: (SMX_FRAME_STREAM, "nb_peaks"), SPARSE_STREAM: (SMX_FRAME_STREAM, "nb_sparse")}
#: Spots that make a frame a hit.
MIN_SPOTS = 2


class SmxRows:
    """``spots`` and ``pixels`` of every frame, or None for a number that changes from frame to frame."""

    def __init__(
        self, nb_bins: int = 5, spots: int | None = None, pixels: int | None = None, sparse_bytes: int = 0
    ) -> None:
        self.nb_bins = nb_bins
        self._fixed = (spots, pixels)
        self.rows_per_frame = {FRAME_EVENT_STREAM: 1, SMX_FRAME_STREAM: 1, BACKGROUND_STREAM: nb_bins}
        self.streams = [
            ResultStream(FRAME_EVENT_STREAM, FRAME_EVENT, 1),
            ResultStream(SMX_FRAME_STREAM, SMX_FRAME, 1),
            ResultStream(BACKGROUND_STREAM, BACKGROUND_BIN, nb_bins),
            ResultStream(SPOTS_STREAM, SPOT, None, counted_by=ROW_COUNTS[SPOTS_STREAM]),
            ResultStream(
                SPARSE_STREAM, SPARSE_PIXEL, None, counted_by=ROW_COUNTS[SPARSE_STREAM], max_bytes=sparse_bytes
            ),
        ]

    def counts(self, index: int) -> tuple[int, int]:
        """(spots, pixels) of a good frame."""
        spots, pixels = self._fixed
        return index * 7 % 4 if spots is None else spots, index * 5 % 7 if pixels is None else pixels

    def is_hit(self, index: int) -> bool:
        """Whether a good frame is one."""
        return self.counts(index)[0] >= MIN_SPOTS

    def rows_of(self, index: int, rank: int, flags: FrameFlags = FrameFlags.GOOD) -> dict[str, np.ndarray]:
        """All rows of a frame; zeros and NaN of a hole."""
        now = time.time_ns()
        nb_spots, nb_pixels = (0, 0) if flags else self.counts(index)
        background = np.full(self.nb_bins, np.nan, BACKGROUND_BIN)
        if not flags:
            background["avg"] = index + np.arange(self.nb_bins) / 2
            background["std"] = index / 4
        return {
            FRAME_EVENT_STREAM: np.array([(index, rank, int(flags), now, now)], FRAME_EVENT),
            SMX_FRAME_STREAM: np.array([(index, rank, nb_spots, nb_spots >= MIN_SPOTS, nb_pixels, 0)], SMX_FRAME),
            BACKGROUND_STREAM: background,
            SPOTS_STREAM: spots_of(index, nb_spots),
            SPARSE_STREAM: pixels_of(index, nb_pixels),
        }


def spots_of(index: int, count: int) -> np.ndarray:
    """Spots of a frame."""
    spots = np.zeros(count, SPOT)
    places = np.arange(count)
    spots["frame_idx"], spots["y"], spots["x"] = index, index + places / 4, places
    spots["intensity"], spots["sigma"], spots["size"] = index * 10 + places, 0.5, places + 3
    return spots


def pixels_of(index: int, count: int) -> np.ndarray:
    """Pixels of a sparse frame."""
    pixels = np.zeros(count, SPARSE_PIXEL)
    pixels["index"], pixels["intensity"] = index % 3 + 2 * np.arange(count), index * 2 + np.arange(count)
    return pixels
