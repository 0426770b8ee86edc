"""The node that turns a raw frame into an image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lima2_bliss.contract import FrameFlags
from lima2_receivers.detectors.jungfrau.frame_headers import modes_of
from lima2_receivers.detectors.jungfrau.packets import DAQ_HIGH_GAIN
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import FrameItem

logger = logging.getLogger(__name__)


class ImageNode:
    """Replaces raw pixels by an image: ``convert(stack, out, high_gain)``. Any number of threads may call it.

    Incomplete frames become holes, unless they are to be passed on (``incomplete``). Whether a frame was taken in
    high-gain mode is in its headers; ``high_gain`` counts where they are unknown. A frame whose modules disagree on it
    cannot be converted: it becomes a hole with the flag `FAILED`, and the first one is logged.
    """

    name = "conditioning"

    def __init__(
        self,
        pool: BufferPool,
        stack_shape: tuple[int, int, int],
        convert: Callable[[np.ndarray, np.ndarray, bool], None],
        incomplete: bool,
        high_gain: bool,
    ) -> None:
        self._pool = pool
        self._shape = stack_shape
        self._convert = convert
        self._incomplete = incomplete
        self._high_gain = high_gain
        self._logged = False

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return item
        if item.meta.flags & FrameFlags.INCOMPLETE and not self._incomplete:
            return self._hole(item)
        modes = {bool(mode & DAQ_HIGH_GAIN) for mode in modes_of(item.meta)} or {self._high_gain}
        if len(modes) > 1:
            if not self._logged:
                self._logged = True
                logger.error(
                    "frame %d: some modules are in high-gain mode, others not; this and such frames are flagged FAILED",
                    item.meta.index,
                )
            item.meta = replace(item.meta, flags=item.meta.flags | FrameFlags.FAILED)
            return self._hole(item)
        buffer = self._pool.take()
        try:
            self._convert(item.pixels.reshape(self._shape), buffer.data[0], modes.pop())
        except BaseException:
            buffer.release()
            raise
        item.replace(buffer)
        return item

    @staticmethod
    def _hole(item: FrameItem) -> FrameItem:
        if item.buffer is not None:
            item.buffer.release()
        item.buffer = None
        return item
