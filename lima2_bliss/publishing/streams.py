"""Which blissdata streams a detector gives, and where the values of each come from in the receivers' result rows.

Pure: no Redis, no BLISS. The controller makes a channel of each definition, the publisher fills it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import LegacyParameters, Parameters
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, ROI_PROFILES_STREAM, ROI_STATISTICS_STREAM
from lima2_bliss.publishing.preview import PREVIEW_SIDE, preview_dtype, preview_shape

Kind = Literal["scalar", "vector", "preview", "preview_index", "image"]

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


class StreamDefinition(Parameters):
    """One stream ``<detector>:<name>``: points of ``dtype`` and ``shape``, one per frame (previews: now and then).

    ``source`` is a stream of result rows (or a frame source for image and preview); a scalar is ``column`` of row
    ``row`` of each frame, a vector that of ``shape[0]`` rows from ``row`` on. Values are multiplied by ``scale``.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
    kind: Kind
    dtype: str = Field(pattern=r"^(u?int(8|16|32|64)|float(32|64))$")
    shape: tuple[int, ...] = Field((), max_length=2)
    unit: str = Field("", max_length=32)
    source: str = Field("", max_length=64)
    row: int = Field(0, ge=0)
    column: str = Field("", max_length=32)
    scale: float = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of one point."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def info(self) -> dict[str, Any]:
        """dtype, shape and unit as blissdata stream info wants them."""
        return {"dtype": self.dtype, "shape": list(self.shape), "unit": self.unit or None}

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Points of this stream from result rows of shape (frames, rows per frame)."""
        last = self.row + self.shape[0] if self.kind == "vector" else self.row
        column = rows[self.column][:, self.row : last] if self.kind == "vector" else rows[self.column][:, last]
        if self.scale != 1.0:
            column = column * self.scale
        return np.ascontiguousarray(column, self.dtype)


def _unique(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(f"two streams with one name: {', '.join(twice)}; give ROIs and profiles other names")


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


def profile_lengths(processing: LegacyParameters) -> list[int]:
    """Bins of each ROI profile, in row order: rows of a vertical, columns of a horizontal one."""
    profiles = processing.profiles
    if not profiles.enabled:
        return []
    return [
        roi.dimensions.y if direction == "vertical" else roi.dimensions.x
        for roi, direction in zip(profiles.rois, profiles.directions, strict=True)
    ]


def rows_per_frame(processing: LegacyParameters) -> dict[str, int]:
    """Rows that each result stream has per frame; result streams without rows are left out."""
    statistics = processing.statistics
    rows = {
        FRAME_EVENT_STREAM: 1,
        ROI_STATISTICS_STREAM: len(statistics.rect_rois) + len(statistics.arc_rois) if statistics.enabled else 0,
        ROI_PROFILES_STREAM: sum(profile_lengths(processing)),
    }
    return {name: count for name, count in rows.items() if count}


def legacy_streams(
    processing: LegacyParameters,
    frame: FrameInfo,
    roi_names: Sequence[str] = (),
    profile_names: Sequence[str] = (),
    preview: bool = True,
    source: str = "frame",
) -> list[StreamDefinition]:
    """All streams of the legacy pipeline; ``roi_names`` and ``profile_names`` as ordered in the parameters."""
    nb_rois = rows_per_frame(processing).get(ROI_STATISTICS_STREAM, 0)
    if len(roi_names) != nb_rois:
        raise ParameterError(
            f"{len(roi_names)} ROI names but {nb_rois} ROIs; give one name per rectangle, then per arc"
        )
    definitions = [
        image_stream(frame, source),
        *frame_streams(),
        *roi_streams(roi_names),
        *profile_streams(profile_names, profile_lengths(processing)),
        *(preview_streams(frame, source) if preview else []),
    ]
    _unique([definition.name for definition in definitions])
    return definitions
