"""The node that keeps the running mean of corrected frames and the accumulated peak image of one receiver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import FrameMeta
from lima2_bliss.contract.records import SPOTS_STREAM
from lima2_receivers.engine.buffers import BufferPool, FrameBuffer
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.running_mean import RunningMean

ACC_CORRECTED = "acc_corrected"
ACC_PEAKS = "acc_peaks"


class AccumulateNode:
    """Hands out both images every ``transfer`` frames of this receiver, and starts them anew every ``reset`` frames.

    Holes count as frames but add nothing. Frames come in order. A hand-out is numbered by itself (``meta.local``);
    its ``meta.index`` is the global index of the last frame in it.
    """

    name = "accumulate"

    def __init__(self, corrected: BufferPool, peaks: BufferPool, mean: RunningMean, transfer: int, reset: int) -> None:
        self._pools: dict[str, tuple[BufferPool, Callable[[np.ndarray], None]]] = {
            ACC_CORRECTED: (corrected, lambda out: mean.corrected(out[0])),
            ACC_PEAKS: (peaks, self._copy_peaks),
        }
        self._mean = mean
        self._peaks = np.zeros(peaks.info.shape[1:], np.uint32)
        self._transfer = transfer
        self._reset = reset
        self._frames = 0  # since the last reset
        self._fresh = 0  # since the last hand-out
        self._handed_out = 0
        self._last = FrameMeta(-1, -1)

    def process(self, item: FrameItem) -> FrameItem:
        if self._reset and self._frames == self._reset:
            self._mean.reset()
            self._peaks[...] = 0
            self._frames = 0
        self._frames += 1
        self._fresh += 1
        self._last = item.meta
        if item.buffer is not None:
            self._mean.add(item.pixels[0])
            self._add_spots(item.rows[SPOTS_STREAM])
        if self._fresh == self._transfer:
            self._hand_out(item)
        return item

    def last(self) -> FrameItem | None:
        """After the last frame: what was added since the last hand-out."""
        if not self._fresh:
            return None
        item = FrameItem(self._last, None)
        self._hand_out(item)
        return item

    def _add_spots(self, spots: np.ndarray) -> None:
        height, width = self._peaks.shape
        rows = np.clip(np.rint(spots["y"]).astype(np.intp), 0, height - 1)
        columns = np.clip(np.rint(spots["x"]).astype(np.intp), 0, width - 1)
        np.add.at(self._peaks, (rows, columns), 1)

    def _copy_peaks(self, out: np.ndarray) -> None:
        out[0] = self._peaks

    def _hand_out(self, item: FrameItem) -> None:
        for source, (pool, fill) in self._pools.items():
            buffer: FrameBuffer = pool.take()
            fill(buffer.data)
            item.more[source] = (buffer, FrameMeta(self._last.index, self._handed_out, self._last.timestamp_ns))
        self._handed_out += 1
        self._fresh = 0
