"""Streams that every pipeline can give: image, frame index, flags and time, ROI statistics, profiles, previews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, ROI_PROFILES_STREAM, ROI_STATISTICS_STREAM
from lima2_bliss.publishing.preview import PREVIEW_SIDE, preview_dtype, preview_shape
from lima2_bliss.publishing.stream_definition import StreamDefinition

IMAGE = "image"
PREVIEW = "preview"
PREVIEW_INDEX = "preview_index"
FRAME_INDEX = "frame_index"
FRAME_FLAGS = "frame_flags"
TIMESTAMP = "timestamp"

#: Statistics of a ROI in the order in which their streams are listed, and the dtype they are published in.
STATISTICS: Mapping[str, str] = {
    "sum": "float64",
    "avg": "float32",
    "std": "float32",
    "min": "float32",
    "max": "float32",
}


def frame_streams() -> list[StreamDefinition]:
    """What every pipeline gives per frame: index within the acquisition, `FrameFlags`, time of the last byte [s]."""
    return [
        StreamDefinition(name=FRAME_INDEX, kind="scalar", dtype="int64", source=FRAME_EVENT_STREAM, column="frame_idx"),
        StreamDefinition(name=FRAME_FLAGS, kind="scalar", dtype="uint32", source=FRAME_EVENT_STREAM, column="flags"),
        StreamDefinition(
            name=TIMESTAMP,
            kind="scalar",
            dtype="float64",
            unit="s",
            source=FRAME_EVENT_STREAM,
            column="received_ns",
            scale=1e-9,
        ),
    ]


def roi_streams(names: Sequence[str], statistics: Sequence[str] = tuple(STATISTICS)) -> list[StreamDefinition]:
    """Streams ``<roi>_sum``, ``<roi>_avg``, ... ; ``names`` in row order: rectangles, then arcs."""
    return [
        StreamDefinition(
            name=f"{name}_{statistic}",
            kind="scalar",
            dtype=STATISTICS[statistic],
            source=ROI_STATISTICS_STREAM,
            row=row,
            column=statistic,
        )
        for row, name in enumerate(names)
        for statistic in statistics
    ]


def profile_streams(names: Sequence[str], lengths: Sequence[int]) -> list[StreamDefinition]:
    """One stream of vectors (sum per bin) for each ROI profile, in row order."""
    if len(names) != len(lengths):
        raise ParameterError(f"{len(names)} profile names but {len(lengths)} profiles; give one name per profile")
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [
        StreamDefinition(
            name=name,
            kind="vector",
            dtype="float64",
            shape=(length,),
            source=ROI_PROFILES_STREAM,
            row=start,
            column="sum",
        )
        for name, length, start in zip(names, lengths, starts[:-1], strict=True)
    ]


def image_stream(frame: FrameInfo, source: str = "frame", name: str = IMAGE) -> StreamDefinition:
    """The reference stream (`lima_v1`) of a frame source: one channel's (height, width)."""
    return StreamDefinition(
        name=name, kind="image", dtype=frame.dtype.name, shape=(frame.height, frame.width), source=source
    )


def preview_streams(
    frame: FrameInfo, source: str = "frame", longest_side: int = PREVIEW_SIDE
) -> list[StreamDefinition]:
    """The binned live image and, beside it, the frame index of each preview."""
    shape = preview_shape(frame.height, frame.width, longest_side)
    dtype = preview_dtype((frame.height, frame.width), shape, frame.dtype)
    return [
        StreamDefinition(name=PREVIEW, kind="preview", dtype=dtype.name, shape=shape, source=source),
        # one element instead of a number: displays of BLISS wait for every number of a scan at every point
        StreamDefinition(name=PREVIEW_INDEX, kind="preview_index", dtype="int64", shape=(1,), source=source),
    ]
