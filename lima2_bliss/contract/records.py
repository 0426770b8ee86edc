"""Result records: little-endian packed rows, one layout for log, wire, Tango and readers.

The layouts of `ROI_STATISTICS`, `ROI_PROFILE`, `FRAME_IDX` are those that LImA2's ``pop...`` commands return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: One row per ROI and frame; frame_idx is the global (accumulated) frame index. All NaN/0 when the frame is invalid.
ROI_STATISTICS = np.dtype(
    [
        ("frame_idx", "<i4"),
        ("recv_idx", "<i4"),
        ("min", "<f4"),
        ("max", "<f4"),
        ("avg", "<f4"),
        ("std", "<f4"),
        ("sum", "<f8"),
    ]
)

#: One row per profile bin and frame, profile after profile.
ROI_PROFILE = ROI_STATISTICS

#: One row per frame, in order of arrival (recv_idx first: LImA2's order).
FRAME_IDX = np.dtype([("recv_idx", "<i4"), ("frame_idx", "<i4")])

#: One row per processed frame: what happened when. Times are CLOCK_REALTIME nanoseconds; flags are `FrameFlags`.
FRAME_EVENT = np.dtype(
    [
        ("frame_idx", "<i8"),
        ("recv_idx", "<i4"),
        ("flags", "<u4"),
        ("received_ns", "<i8"),
        ("processed_ns", "<i8"),
    ]
)


@dataclass(frozen=True)
class ResultStream:
    """A named stream of result rows that a pipeline fills: ``rows_per_frame`` rows of ``dtype`` for every frame.

    ``shapes`` splits the rows of one frame in parts, e.g. the lengths of the ROI profiles.
    """

    name: str
    dtype: np.dtype
    rows_per_frame: int
    shapes: tuple[int, ...] = ()


#: Names of the streams in results log and wire protocol.
ROI_STATISTICS_STREAM = "roi_statistics"
ROI_PROFILES_STREAM = "roi_profiles"
FRAME_IDX_STREAM = "frame_idx"
FRAME_EVENT_STREAM = "frame_event"
