"""The rows that the engine itself writes for every processed frame: what happened to it, and when."""

from __future__ import annotations

import time

import numpy as np

from lima2_bliss.contract import FRAME_EVENT, FRAME_IDX, FrameFlags, ResultStream
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, FRAME_IDX_STREAM
from lima2_receivers.engine.plugin import FrameItem

ENGINE_STREAMS = (ResultStream(FRAME_EVENT_STREAM, FRAME_EVENT, 1), ResultStream(FRAME_IDX_STREAM, FRAME_IDX, 1))


def add_event_rows(item: FrameItem) -> None:
    """Add the engine's rows to those of the nodes; a frame that lost its pixels on the way is flagged FAILED."""
    meta = item.meta
    if item.buffer is None and not meta.flags:
        meta.flags = FrameFlags.FAILED
    event = (meta.index, meta.local, int(meta.flags), meta.timestamp_ns, time.time_ns())
    item.rows[FRAME_EVENT_STREAM] = np.array([event], FRAME_EVENT)
    item.rows[FRAME_IDX_STREAM] = np.array([(meta.local, meta.index)], FRAME_IDX)
