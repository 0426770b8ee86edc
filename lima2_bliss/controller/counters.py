"""The counters of a detector and how they are grouped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from bliss.common.protocols import counter_namespace

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.compatibility import NexusDetectorCounter
from lima2_bliss.controller.rois import ProfileRoi, StatisticsRoi
from lima2_bliss.publishing.streams import (
    IMAGE,
    PREVIEW,
    PREVIEW_INDEX,
    STATISTICS,
    StreamDefinition,
    frame_streams,
    profile_streams,
    roi_streams,
)

#: Names that ROIs and profiles cannot take.
FIXED_NAMES = frozenset({IMAGE, PREVIEW, PREVIEW_INDEX, *(stream.name for stream in frame_streams())})


class DetectorCounter(NexusDetectorCounter):
    """One value per frame: an image, a number, or a profile. ``group`` is the counter group it belongs to."""

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
        """Shape of one point; (-1, -1) for images, whose size is known when the scan is prepared."""
        return self._point_shape


def _counter(controller: Any, group: str, stream: StreamDefinition) -> DetectorCounter:
    return DetectorCounter(stream.name, controller, group, stream.dtype, stream.shape, stream.unit or None)


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
        raise ParameterError(f"name {name!r} would give a second counter {clash[0]!r}; choose another name")


def make_counters(
    controller: Any, rois: Mapping[str, StatisticsRoi], profiles: Mapping[str, ProfileRoi]
) -> dict[str, DetectorCounter]:
    """All counters of a detector with these regions, by name; making them registers them in ``controller``."""
    counters = [DetectorCounter(IMAGE, controller, "images", None, (-1, -1))]
    counters += [_counter(controller, "rois", stream) for stream in roi_streams(list(rois))]
    lengths = [profile.length for profile in profiles.values()]
    counters += [_counter(controller, "profiles", stream) for stream in profile_streams(list(profiles), lengths)]
    counters += [_counter(controller, "status", stream) for stream in frame_streams()]
    counters.append(DetectorCounter(PREVIEW, controller, "preview", "float32", (-1, -1)))
    return {counter.name: counter for counter in counters}


def counter_groups(counters: Mapping[str, DetectorCounter], rois: Iterable[str]) -> Any:
    """Groups of counters by name: images, rois, profiles, status, preview, one per ROI, and `default`.

    `default` is what a scan takes when it is given the detector: all but status.
    """
    every = list(counters.values())
    groups = {
        group: counter_namespace([counter for counter in every if counter.group == group])
        for group in ("images", "rois", "profiles", "status", "preview")
    }
    for roi in rois:
        groups[roi] = counter_namespace([counters[name] for name in statistics_names(roi)])
    groups["default"] = counter_namespace([c for c in every if c.group != "status"])
    return counter_namespace(groups)
