"""Streams that only the SMX pipeline gives: peak counts and hits, radial background, spots, sparse frames."""

from __future__ import annotations

from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.records import BACKGROUND_STREAM, SMX_FRAME_STREAM, SPARSE_STREAM, SPOTS_STREAM
from lima2_bliss.publishing.preview import PREVIEW_SIDE, preview_shape
from lima2_bliss.publishing.stream_definition import StreamDefinition

NB_PEAKS = "nb_peaks"
IS_HIT = "is_hit"
NB_SPARSE = "nb_sparse"
HIT_RATE = "hit_rate"
BACKGROUND_AVG = "background_avg"
BACKGROUND_STD = "background_std"
SPOTS_FRAME = "spots_frame"
SPARSE_INDEX = "sparse_index"
SPARSE_INTENSITY = "sparse_intensity"
ACC_PEAKS = "acc_peaks"
ACC_CORRECTED = "acc_corrected"

#: Columns of the spots that are published as ``spots_<column>``, and their dtypes.
SPOT_COLUMNS = {"y": "float32", "x": "float32", "intensity": "float32", "sigma": "float32", "size": "int32"}


def hit_streams() -> list[StreamDefinition]:
    """Per frame: number of spots, hit or not, pixels of the sparse frame; and the share of hits lately."""
    dtypes = {NB_PEAKS: "int32", IS_HIT: "uint8", NB_SPARSE: "int32"}
    return [
        *(
            StreamDefinition(name=name, kind="scalar", dtype=dtype, source=SMX_FRAME_STREAM, column=name)
            for name, dtype in dtypes.items()
        ),
        StreamDefinition(name=HIT_RATE, kind="hit_rate", dtype="float32", source=SMX_FRAME_STREAM, column=IS_HIT),
    ]


def background_streams(nb_bins: int) -> list[StreamDefinition]:
    """Mean and deviation of the radial background, a vector each per frame."""
    columns = {BACKGROUND_AVG: "avg", BACKGROUND_STD: "std"}
    return [
        StreamDefinition(
            name=name, kind="vector", dtype="float32", shape=(nb_bins,), source=BACKGROUND_STREAM, column=column
        )
        for name, column in columns.items()
    ]


def spot_streams() -> list[StreamDefinition]:
    """The table of spots, a flat stream per column; `NB_PEAKS` says how many rows each frame has."""
    units = {"y": "px", "x": "px", "size": "px"}
    return [
        StreamDefinition(name=SPOTS_FRAME, kind="flat_frame", dtype="int64", source=SPOTS_STREAM),
        *(
            StreamDefinition(
                name=f"spots_{column}",
                kind="flat",
                dtype=dtype,
                unit=units.get(column, ""),
                source=SPOTS_STREAM,
                column=column,
            )
            for column, dtype in SPOT_COLUMNS.items()
        ),
    ]


def sparse_streams() -> list[StreamDefinition]:
    """Pixels of the sparse frames: flat place (y * width + x) and value; `NB_SPARSE` says how many of each frame."""
    dtypes = {SPARSE_INDEX: ("int32", "index"), SPARSE_INTENSITY: ("float32", "intensity")}
    return [
        StreamDefinition(name=name, kind="flat", dtype=dtype, source=SPARSE_STREAM, column=column)
        for name, (dtype, column) in dtypes.items()
    ]


def accumulated_streams(frame: FrameInfo, longest_side: int = PREVIEW_SIDE) -> list[StreamDefinition]:
    """Binned images of all spots so far (counts per preview pixel) and of the mean corrected frame."""
    shape = preview_shape(frame.height, frame.width, longest_side)
    return [
        StreamDefinition(
            name=ACC_PEAKS, kind="accumulated", dtype="float32", shape=shape, source=ACC_PEAKS, merge="sum"
        ),
        StreamDefinition(
            name=ACC_CORRECTED, kind="accumulated", dtype="float32", shape=shape, source=ACC_CORRECTED, merge="mean"
        ),
    ]
