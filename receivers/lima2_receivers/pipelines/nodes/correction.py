"""Nodes that correct raw frames by dark, flat field and mask."""

from __future__ import annotations

import numpy as np

from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.correction import correct, mask_to_zero
from lima2_receivers.pipelines.nodes.new_pixels import replace_pixels


class CorrectionNode:
    """``(raw - dark) * gain`` for the window of the raw frame that is needed; masked pixels (gain 0) become 0,
    ``dummy`` ones not a number."""

    name = "correction"

    def __init__(
        self,
        pool: BufferPool,
        origin: tuple[int, int],
        dark: np.ndarray | None,
        gain: np.ndarray | None,
        dummy: float | None = None,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._dark = dark
        self._gain = gain
        self._dummy = dummy

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return item
        raw, maps = item.pixels, (self._dark, self._gain)
        return replace_pixels(item, self._pool, lambda out: correct(raw, self._origin, *maps, out, self._dummy))


class MaskNode:
    """Sets masked pixels to 0 in the window of the raw frame that is needed; the pixel type stays."""

    name = "mask"

    def __init__(self, pool: BufferPool, origin: tuple[int, int], keep: np.ndarray) -> None:
        self._pool = pool
        self._origin = origin
        self._keep = keep

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return item
        raw = item.pixels
        return replace_pixels(item, self._pool, lambda out: mask_to_zero(raw, self._origin, self._keep, out))
