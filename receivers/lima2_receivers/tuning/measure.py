"""Runs one setting over the frames, on all cores, and keeps the numbers of each frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract.parameters import SmxParameters
from lima2_bliss.contract.records import BACKGROUND_BIN
from lima2_receivers.kernels.smx_types import Finder
from lima2_receivers.pipelines.smx.build import make_smx_finder
from lima2_receivers.pipelines.smx.tables import load_tables
from lima2_receivers.tuning.frame_stack import FrameStack

#: Frames that are read ahead of the computation when not all of them are kept.
BATCH_BYTES = 256 << 20


@dataclass(frozen=True)
class Measured:
    """What a setting gave: int64 (n) of each frame, and what it cost.

    ``nb_dropped``: spots beyond max_spots. ``sparse_bytes``: pixels and background before compression. ``seconds``: of
    the computation of all frames together, reading left out.
    """

    nb_spots: np.ndarray
    nb_dropped: np.ndarray
    nb_pixels: np.ndarray
    sparse_bytes: np.ndarray
    seconds: float
    backend: str


class FrameFeed:
    """The chosen frames in batches, each (height, width); kept in memory when they fit into ``cache_bytes``."""

    def __init__(self, stack: FrameStack, indices: Sequence[int], cache_bytes: int, cores: int) -> None:
        self._stack, self._indices = stack, indices
        nbytes = stack.info.nbytes
        self._batch = max(BATCH_BYTES // nbytes, 2 * cores)
        self._keeps = len(indices) * nbytes <= cache_bytes
        self._kept: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._indices)

    def first(self) -> np.ndarray:
        """The first frame, for a run that nobody times."""
        return self._kept[0] if self._kept else self._stack.read(self._indices[0])

    def batches(self) -> Iterator[list[np.ndarray]]:
        """All frames in order."""
        if self._keeps:
            if not self._kept:
                self._kept = [self._stack.read(index) for index in self._indices]
            yield self._kept
            return
        for begin in range(0, len(self), self._batch):
            yield [self._stack.read(index) for index in self._indices[begin : begin + self._batch]]


def measure(processing: SmxParameters, feed: FrameFeed, stack: FrameStack, cores: int) -> Measured:
    """Find spots in all frames of ``feed`` with these parameters.

    Each thread computes a frame of its own, which is quicker for many frames than to share one, unless the parameters
    ask for ``compute.threads_per_frame``.
    """
    each = min(processing.compute.threads_per_frame or 1, cores)
    compute = processing.compute.model_copy(update={"threads_per_frame": each})
    tables = load_tables(processing.fai, stack.info)
    finder = make_smx_finder(processing.model_copy(update={"compute": compute}), tables, stack.info.dtype)
    try:
        return _run(finder, feed, tables.bins.nb_bins, max(cores // each, 1))
    finally:
        finder.close()


def _run(finder: Finder, feed: FrameFeed, nb_bins: int, workers: int) -> Measured:
    def counted(image: np.ndarray) -> tuple[int, int, int]:
        found = finder(image)
        return len(found.spots), found.nb_dropped, len(found.index)

    counts: list[tuple[int, int, int]] = []
    seconds = 0.0
    counted(feed.first())  # compiles or loads the kernels
    with ThreadPoolExecutor(workers, "tune") as pool:
        for batch in feed.batches():
            started = time.perf_counter()
            counts += pool.map(counted, batch)
            seconds += time.perf_counter() - started
    spots, dropped, pixels = np.array(counts, np.int64).reshape(-1, 3).T
    of_a_pixel = 4 + finder.intensity_dtype.itemsize  # its place is a 32-bit integer
    return Measured(
        spots, dropped, pixels, pixels * of_a_pixel + nb_bins * BACKGROUND_BIN.itemsize, seconds, finder.backend
    )
