"""Which blissdata streams a detector gives, by the pipeline that processes its frames.

Pure: no Redis, no BLISS. The controller makes a channel of each definition, the publisher fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import LegacyParameters, SmxParameters
from lima2_bliss.contract.records import (
    BACKGROUND_STREAM,
    FRAME_EVENT_STREAM,
    ROI_PROFILES_STREAM,
    ROI_STATISTICS_STREAM,
    ROW_COUNTS,
    SMX_FRAME_STREAM,
)
from lima2_bliss.publishing.common_streams import (
    FRAME_FLAGS,
    FRAME_INDEX,
    IMAGE,
    PREVIEW,
    PREVIEW_INDEX,
    STATISTICS,
    TIMESTAMP,
    frame_streams,
    image_stream,
    preview_streams,
    profile_streams,
    roi_streams,
)
from lima2_bliss.publishing.smx_streams import (
    accumulated_streams,
    background_streams,
    hit_streams,
    sparse_streams,
    spot_streams,
)
from lima2_bliss.publishing.stream_definition import Kind, StreamDefinition

__all__ = [
    # names
    "FRAME_FLAGS",
    "FRAME_INDEX",
    "IMAGE",
    "PREVIEW",
    "PREVIEW_INDEX",
    "STATISTICS",
    "TIMESTAMP",
    # one stream, and groups of them
    "Kind",
    "StreamDefinition",
    "accumulated_streams",
    "background_streams",
    "frame_streams",
    "hit_streams",
    "image_stream",
    "preview_streams",
    "profile_streams",
    "roi_streams",
    "sparse_streams",
    "spot_streams",
    # by pipeline
    "PipelineParameters",
    "legacy_streams",
    "number_of_bins",
    "pipeline_streams",
    "profile_lengths",
    "row_counts",
    "rows_per_frame",
    "smx_streams",
]

PipelineParameters = LegacyParameters | SmxParameters


def profile_lengths(processing: PipelineParameters) -> list[int]:
    """Bins of each ROI profile, in row order: rows of a vertical, columns of a horizontal one."""
    profiles = processing.profiles
    if not profiles.enabled:
        return []
    return [
        roi.dimensions.y if direction == "vertical" else roi.dimensions.x
        for roi, direction in zip(profiles.rois, profiles.directions, strict=True)
    ]


def number_of_bins(processing: SmxParameters, nb_bins: int = 0) -> int:
    """Radial bins: ``nb_bins`` if given, else those of the parameters; `ParameterError` when only a file tells."""
    if nb_bins:
        return nb_bins
    if not processing.fai.poni_path:
        raise ParameterError(
            "nb_bins is missing: without poni_path the file of radius1d_path has it; take it from the receivers' "
            "frame_info of source sparse_frame"
        )
    return processing.fai.nb_bins


def rows_per_frame(processing: PipelineParameters, nb_bins: int = 0) -> dict[str, int]:
    """Rows of each result stream with the same number of rows in all frames; those without rows are left out."""
    statistics = processing.statistics
    rows = {
        FRAME_EVENT_STREAM: 1,
        ROI_STATISTICS_STREAM: len(statistics.rect_rois) + len(statistics.arc_rois) if statistics.enabled else 0,
        ROI_PROFILES_STREAM: sum(profile_lengths(processing)),
    }
    if isinstance(processing, SmxParameters):
        rows |= {SMX_FRAME_STREAM: 1, BACKGROUND_STREAM: number_of_bins(processing, nb_bins)}
    return {name: count for name, count in rows.items() if count}


def row_counts(processing: PipelineParameters) -> dict[str, tuple[str, str]]:
    """For each result stream with another number of rows in each frame: the (stream, column) that counts them."""
    return dict(ROW_COUNTS) if isinstance(processing, SmxParameters) else {}


def legacy_streams(
    processing: LegacyParameters,
    frame: FrameInfo,
    roi_names: Sequence[str] = (),
    profile_names: Sequence[str] = (),
    preview: bool = True,
    source: str = "frame",
) -> list[StreamDefinition]:
    """All streams of the legacy pipeline; ``roi_names`` and ``profile_names`` as ordered in the parameters."""
    return _checked(
        [
            image_stream(frame, source),
            *frame_streams(),
            *_region_streams(processing, roi_names, profile_names),
            *(preview_streams(frame, source) if preview else []),
        ]
    )


def smx_streams(
    processing: SmxParameters,
    frame: FrameInfo,
    nb_bins: int = 0,
    roi_names: Sequence[str] = (),
    profile_names: Sequence[str] = (),
    preview: bool = True,
) -> list[StreamDefinition]:
    """All streams of the SMX pipeline. ``frame`` is the raw frame; ``nb_bins`` may be 0 when a PONI file is given."""
    live = preview_streams(frame) if preview else []
    if preview and processing.fai.acc_nb_frames_xfer:
        live += accumulated_streams(frame)
    return _checked(
        [
            image_stream(frame),
            *frame_streams(),
            *hit_streams(),
            *_region_streams(processing, roi_names, profile_names),
            *background_streams(number_of_bins(processing, nb_bins)),
            *spot_streams(),
            *sparse_streams(),
            *live,
        ]
    )


def pipeline_streams(
    processing: Any,
    frame: FrameInfo,
    roi_names: Sequence[str] = (),
    profile_names: Sequence[str] = (),
    preview: bool = True,
    nb_bins: int = 0,
) -> list[StreamDefinition]:
    """All streams of the pipeline that ``processing.class_name`` chooses; ``nb_bins`` is for SMX."""
    if isinstance(processing, LegacyParameters):
        return legacy_streams(processing, frame, roi_names, profile_names, preview)
    if isinstance(processing, SmxParameters):
        return smx_streams(processing, frame, nb_bins, roi_names, profile_names, preview)
    name = getattr(processing, "class_name", type(processing).__name__)
    raise ParameterError(
        f"no streams are defined for pipeline {name!r}; there are those of LimaProcessingLegacy and LimaProcessingSmx"
    )


def _region_streams(
    processing: PipelineParameters, roi_names: Sequence[str], profile_names: Sequence[str]
) -> list[StreamDefinition]:
    statistics = processing.statistics
    nb_rois = len(statistics.rect_rois) + len(statistics.arc_rois) if statistics.enabled else 0
    if len(roi_names) != nb_rois:
        raise ParameterError(
            f"{len(roi_names)} ROI names but {nb_rois} ROIs; give one name per rectangle, then per arc"
        )
    return [*roi_streams(roi_names), *profile_streams(profile_names, profile_lengths(processing))]


def _checked(definitions: list[StreamDefinition]) -> list[StreamDefinition]:
    names = [definition.name for definition in definitions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(f"two streams with one name: {', '.join(twice)}; give ROIs and profiles other names")
    return definitions
