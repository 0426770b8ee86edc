"""The counters of a detector and how they are grouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from bliss.common.protocols import counter_namespace

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.controller.compatibility import NexusDetectorCounter
from lima2_bliss.controller.scan_links import LINK_NAMES
from lima2_bliss.publishing.smx_streams import ACC_CORRECTED, ACC_PEAKS, BACKGROUND_STD, HIT_RATE
from lima2_bliss.publishing.streams import (
    FRAME_INDEX,
    IMAGE,
    PREVIEW,
    PREVIEW_INDEX,
    STATISTICS,
    StreamDefinition,
    accumulated_streams,
    background_streams,
    frame_streams,
    hit_streams,
    profile_streams,
    roi_streams,
    sparse_streams,
    spot_streams,
)

if TYPE_CHECKING:
    from lima2_bliss.controller.parameters import DetectorState

#: Groups of counters, in the order in which they are shown; those that a pipeline does not give are left out.
GROUPS = ("images", "smx", "rois", "profiles", "background", "spots", "sparse", "accumulated", "status", "preview")

#: Counters whose streams are for readers of Redis alone: neither written into the scan file nor shown.
_UNSEEN_GROUPS = frozenset({"preview", "spots", "sparse"})
_UNSEEN = frozenset({BACKGROUND_STD, ACC_CORRECTED})


#: Stands for the frame, whose size is not known before a scan.
_ANY_FRAME = FrameInfo(1, 1, 1, np.dtype("uint16"))


class DetectorCounter(NexusDetectorCounter):
    """One value per frame: an image, a number, or a vector. ``group`` is the counter group it belongs to."""

    def __init__(
        self, name: str, controller: Any, group: str, dtype: str | None, shape: tuple[int, ...], unit: str | None = None
    ) -> None:
        self._point_shape = shape
        self.group = group
        super().__init__(name, controller, unit, None if dtype is None else np.dtype(dtype))

    def is_like(self, other: DetectorCounter) -> bool:
        """True when both give the same kind of values."""
        return (self.group, self.shape, self.dtype) == (other.group, other.shape, other.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point; -1 where it is known when the scan is prepared."""
        return self._point_shape

    @property
    def unseen(self) -> bool:
        """True when its values are for readers of Redis alone: neither in the scan file nor in displays."""
        return self.group in _UNSEEN_GROUPS or self.name in _UNSEEN


def _region_streams(state: DetectorState) -> Iterator[tuple[str, StreamDefinition]]:
    for stream in roi_streams(list(state.rois)):
        yield "rois", stream
    lengths = [profile.length for profile in state.profiles.values()]
    for stream in profile_streams(list(state.profiles), lengths):
        yield "profiles", stream


def _smx_streams(state: DetectorState) -> Iterator[tuple[str, StreamDefinition]]:
    # displays show the first number unless told otherwise
    for stream in sorted(hit_streams(), key=lambda stream: stream.name != HIT_RATE):
        yield "smx", stream
    yield from _region_streams(state)
    for stream in background_streams(1):
        yield "background", stream.model_copy(update={"shape": (-1,)})
    for group, streams in (("spots", spot_streams()), ("sparse", sparse_streams())):
        for stream in streams:
            yield group, stream.model_copy(update={"shape": (1,)})
    if state.smx.accumulated_every:
        for stream in accumulated_streams(_ANY_FRAME):
            yield "accumulated", stream.model_copy(update={"shape": (-1, -1)})


#: Names that ROIs and profiles cannot take, whatever the pipeline.
FIXED_NAMES = frozenset(
    {
        *(IMAGE, PREVIEW, PREVIEW_INDEX, ACC_PEAKS, ACC_CORRECTED),
        *(stream.name for stream in (*frame_streams(), *hit_streams(), *background_streams(1))),
        *(stream.name for stream in (*spot_streams(), *sparse_streams())),
        *LINK_NAMES,
    }
)


def statistics_names(roi: str) -> list[str]:
    """Names of the counters that a ROI gives."""
    return [f"{roi}_{statistic}" for statistic in STATISTICS]


def check_free(name: str, rois: Iterable[str], profiles: Iterable[str], is_profile: bool) -> None:
    """`ParameterError` when a new ROI or profile of that name would give a counter that already exists."""
    profile_names = set(profiles)
    taken = FIXED_NAMES | profile_names
    for roi in rois:
        taken |= set(statistics_names(roi))
    wanted = {name} if is_profile else set(statistics_names(name))
    clash = sorted(wanted & taken)
    if clash:
        raise ParameterError(f"name {name!r} would give a second {clash[0]!r} in the scan file; choose another name")


def make_counters(controller: Any, state: DetectorState) -> dict[str, DetectorCounter]:
    """All counters of a detector with these settings, by name; making them registers them in ``controller``."""
    streams = _smx_streams(state) if state.processing.pipeline == "smx" else _region_streams(state)
    counters = [DetectorCounter(IMAGE, controller, "images", None, (-1, -1))]
    for group, stream in [*streams, *(("status", stream) for stream in frame_streams())]:
        counters.append(
            DetectorCounter(stream.name, controller, group, stream.dtype, stream.shape, stream.unit or None)
        )
    counters.append(DetectorCounter(PREVIEW, controller, "preview", "float32", (-1, -1)))
    return {counter.name: counter for counter in counters}


def counter_groups(counters: Mapping[str, DetectorCounter], rois: Iterable[str]) -> Any:
    """Groups of counters by name: those of `GROUPS` that the pipeline gives, one per ROI, and `default`.

    `default` is what a scan takes when it is given the detector: all but status, of which smx has the frame index, to
    draw its numbers against.
    """
    every = list(counters.values())
    groups = {group: [counter for counter in every if counter.group == group] for group in GROUPS}
    spaces = {
        group: counter_namespace(members)
        for group, members in groups.items()
        if members or group in ("images", "rois", "profiles", "status", "preview")
    }
    for roi in rois:
        spaces[roi] = counter_namespace([counters[name] for name in statistics_names(roi)])
    wanted = {FRAME_INDEX} if "smx" in spaces else set()
    spaces["default"] = counter_namespace([c for c in every if c.group != "status" or c.name in wanted])
    return counter_namespace(spaces)
