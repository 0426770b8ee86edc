"""A node that computes new pixels: take a buffer, fill it, go on with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import FrameItem


def replace_pixels(item: FrameItem, pool: BufferPool, fill: Callable[[np.ndarray], None]) -> FrameItem:
    """``item`` with a buffer of ``pool`` that ``fill`` has written; when it fails the buffer goes back."""
    buffer = pool.take()
    try:
        fill(buffer.data)
    except BaseException:
        buffer.release()
        raise
    item.replace(buffer)
    return item
