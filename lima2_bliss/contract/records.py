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


#: One row per frame of the SMX pipeline. ``nb_peaks`` rows of `SPOT` and ``nb_sparse`` rows of `SPARSE_PIXEL` belong to
#: it; ``nb_dropped`` weaker spots were beyond ``max_spots``.
SMX_FRAME = np.dtype(
    [
        ("frame_idx", "<i4"),
        ("recv_idx", "<i4"),
        ("nb_peaks", "<i4"),
        ("is_hit", "<i4"),
        ("nb_sparse", "<i4"),
        ("nb_dropped", "<i4"),
    ]
)

#: What LImA2's ``popPeakCounters`` returns: the first columns of `SMX_FRAME`.
PEAK_COUNTER = np.dtype([("frame_idx", "<i4"), ("recv_idx", "<i4"), ("nb_peaks", "<i4")])

#: One row per radial bin and frame: mean and deviation of the normalised background; NaN for a hole or an empty bin.
BACKGROUND_BIN = np.dtype([("avg", "<f4"), ("std", "<f4")])

#: One row per spot: centre [px, pixel centres at integers], intensity above background and its deviation [normalised
#: counts], size [px above the threshold in the patch].
SPOT = np.dtype(
    [
        ("frame_idx", "<i4"),
        ("y", "<f4"),
        ("x", "<f4"),
        ("intensity", "<f4"),
        ("sigma", "<f4"),
        ("size", "<i4"),
    ]
)

#: One row per pixel of a sparse frame: flat place (y * width + x) and value.
SPARSE_PIXEL = np.dtype([("index", "<i4"), ("intensity", "<f4")])


@dataclass(frozen=True)
class ResultStream:
    """A named stream of result rows that a pipeline fills: ``rows_per_frame`` rows of ``dtype`` for every frame.

    ``shapes`` splits the rows of one frame in parts, e.g. the lengths of the ROI profiles. ``rows_per_frame`` is None
    for a stream with another number of rows in each frame; then ``counted_by`` names (stream, column) of the one
    integer per frame that says how many. ``max_bytes``: the log keeps no more than this of the stream (0: its usual
    limit), for streams that a reader may do without.
    """

    name: str
    dtype: np.dtype
    rows_per_frame: int | None
    shapes: tuple[int, ...] = ()
    counted_by: tuple[str, str] | None = None
    max_bytes: int = 0


#: Names of the streams in results log and wire protocol.
SMX_FRAME_STREAM = "smx_frame"
BACKGROUND_STREAM = "background"
SPOTS_STREAM = "spots"
SPARSE_STREAM = "sparse"
ROI_STATISTICS_STREAM = "roi_statistics"
ROI_PROFILES_STREAM = "roi_profiles"
FRAME_IDX_STREAM = "frame_idx"
FRAME_EVENT_STREAM = "frame_event"

#: Which (stream, column) says how many rows each frame has in these streams.
ROW_COUNTS = {
    SPOTS_STREAM: (SMX_FRAME_STREAM, "nb_peaks"),
    SPARSE_STREAM: (SMX_FRAME_STREAM, "nb_sparse"),
}
