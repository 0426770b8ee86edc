"""The node that sums consecutive frames into one."""

from __future__ import annotations

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameFlags, FrameMeta
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.accumulation import add_frame, copy_sum, finish_sum, partial_sum_dtype, set_sum
from lima2_receivers.pipelines.nodes.new_pixels import replace_pixels


class AccumulationNode:
    """Sums ``depth`` frames, and counts the sums anew (``meta.index`` and ``meta.local``).

    Frames without pixels are left out: the sum of the others is then flagged `INCOMPLETE`, beside the flags of all its
    frames; without any pixels the sum is a hole. A pixel that is ``dummy`` (floats: NaN) in one of the frames has no
    value in the sum. Frames come in local order; an unfinished sum at the end is dropped.
    """

    name = "accumulation"

    def __init__(self, pool: BufferPool, depth: int, dummy: float | None = None) -> None:
        self._pool = pool
        self._dummy = dummy
        self._depth = depth
        # the last frame is added on the way to the output buffer, so none is held while frames come in
        self._total = np.empty(pool.info.shape, partial_sum_dtype(pool.info.dtype))
        self._expected = 0
        self._summed = 0
        self._flags = FrameFlags.GOOD

    def process(self, item: FrameItem) -> FrameItem | None:
        meta = item.meta
        if meta.local != self._expected:
            raise AcquisitionError(
                f"accumulation got local frame {meta.local} where {self._expected} was due: frames must come in order"
            )
        self._expected += 1
        self._flags |= meta.flags
        block, place = divmod(meta.local, self._depth)
        last = place == self._depth - 1
        if not last:
            if item.buffer is not None:
                (add_frame if self._summed else set_sum)(self._total, item.pixels, self._dummy)
                self._summed += 1
            return None
        missing = self._depth - self._summed - (item.buffer is not None)
        following = self._finish(item)
        if missing:
            self._flags |= FrameFlags.INCOMPLETE if following.buffer is not None else FrameFlags.LOST
        following.meta = FrameMeta(meta.index // self._depth, block, meta.timestamp_ns, self._flags)
        self._summed, self._flags = 0, FrameFlags.GOOD
        return following

    def _finish(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return replace_pixels(item, self._pool, lambda out: copy_sum(self._total, out)) if self._summed else item
        frame = item.pixels
        if not self._summed:
            set_sum(self._total, frame, self._dummy)
            return replace_pixels(item, self._pool, lambda out: copy_sum(self._total, out))
        return replace_pixels(item, self._pool, lambda out: finish_sum(self._total, frame, out, self._dummy))
