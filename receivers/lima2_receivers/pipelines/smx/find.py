"""The node that finds background, intense pixels and spots of each frame, and says whether it is a hit."""

from __future__ import annotations

import numpy as np

from lima2_bliss.contract import SPOT, ResultStream, SparseFrame
from lima2_bliss.contract.records import (
    BACKGROUND_BIN,
    BACKGROUND_STREAM,
    SMX_FRAME,
    SMX_FRAME_STREAM,
    SPARSE_PIXEL,
    SPARSE_STREAM,
    SPOTS_STREAM,
)
from lima2_receivers.engine.plugin import FrameItem, SparseHolder
from lima2_receivers.kernels.smx_types import Finder, FinderResult

SPARSE_FRAME = "sparse_frame"

#: The log keeps no more than this of each stream; who does not read in time has the files.
LOG_BYTES = {BACKGROUND_STREAM: 64 << 20, SPOTS_STREAM: 128 << 20, SPARSE_STREAM: 64 << 20}


def smx_streams(nb_bins: int) -> list[ResultStream]:
    """The result streams of the SMX pipeline beside those of regions."""
    counts = {SPOTS_STREAM: (SPOT, "nb_peaks"), SPARSE_STREAM: (SPARSE_PIXEL, "nb_sparse")}
    return [
        ResultStream(SMX_FRAME_STREAM, SMX_FRAME, 1),
        ResultStream(BACKGROUND_STREAM, BACKGROUND_BIN, nb_bins, max_bytes=LOG_BYTES[BACKGROUND_STREAM]),
        *(
            ResultStream(name, dtype, None, counted_by=(SMX_FRAME_STREAM, column), max_bytes=LOG_BYTES[name])
            for name, (dtype, column) in counts.items()
        ),
    ]


def filled(values: np.ndarray) -> np.ndarray:
    """Values of radial bins with those of empty bins (NaN) interpolated from their neighbours.

    Whoever makes a sparse frame dense interpolates between bins: an empty one would spoil the pixels around it.
    """
    empty = np.isnan(values)
    if not empty.any() or empty.all():
        return values
    places = np.arange(len(values))
    return np.interp(places, places[~empty], values[~empty]).astype(values.dtype)


class FindNode:
    """Rows of all SMX streams, the sparse frame, and ``meta.hit``. A hole has no spots and is no hit."""

    name = "find"

    def __init__(self, finder: Finder, nb_bins: int, min_spots: int) -> None:
        self._finder = finder
        self._nb_bins = nb_bins
        self._min_spots = min_spots

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            item.meta.hit = False
            item.rows |= self._empty(item)
            item.more[SPARSE_FRAME] = (None, item.meta)
            return item
        found = self._finder(item.pixels[0])
        spots = found.spots
        spots["frame_idx"] = item.meta.index
        hit = item.meta.hit = len(spots) >= self._min_spots
        item.rows |= self._rows(item, found, hit)
        average, deviation = filled(found.background_avg), filled(found.background_std)
        sparse = SparseFrame(found.index, found.intensity, average, deviation, found.spots, is_hit=hit)
        item.more[SPARSE_FRAME] = (SparseHolder(sparse), item.meta)
        return item

    def _rows(self, item: FrameItem, found: FinderResult, hit: bool) -> dict[str, np.ndarray]:
        meta = item.meta
        background = np.empty(self._nb_bins, BACKGROUND_BIN)
        background["avg"], background["std"] = found.background_avg, found.background_std
        pixels = np.empty(len(found.index), SPARSE_PIXEL)
        pixels["index"], pixels["intensity"] = found.index, found.intensity
        row = (meta.index, meta.local, len(found.spots), hit, len(pixels), found.nb_dropped)
        return {
            SMX_FRAME_STREAM: np.array([row], SMX_FRAME),
            BACKGROUND_STREAM: background,
            SPOTS_STREAM: found.spots,
            SPARSE_STREAM: pixels,
        }

    def _empty(self, item: FrameItem) -> dict[str, np.ndarray]:
        return {
            SMX_FRAME_STREAM: np.array([(item.meta.index, item.meta.local, 0, 0, 0, 0)], SMX_FRAME),
            BACKGROUND_STREAM: np.full(self._nb_bins, np.nan, "<f4").repeat(2).view(BACKGROUND_BIN),
            SPOTS_STREAM: np.zeros(0, SPOT),
            SPARSE_STREAM: np.zeros(0, SPARSE_PIXEL),
        }
