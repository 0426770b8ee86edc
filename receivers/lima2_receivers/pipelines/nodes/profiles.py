"""The node that computes the ROI profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lima2_bliss.contract import ResultStream
from lima2_bliss.contract.records import ROI_PROFILE, ROI_PROFILES_STREAM
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.profiles import Profile, profile_statistics
from lima2_receivers.pipelines.nodes.result_rows import result_rows


class ProfilesNode:
    """One row per bin, profile after profile; all channels count together, masked and ``dummy`` pixels do not."""

    name = "profiles"

    def __init__(self, profiles: Sequence[Profile], dummy: float | None = None) -> None:
        self._profiles = profiles
        self._dummy = dummy
        lengths = tuple(len(profile) for profile in profiles)
        self._nb_bins = sum(lengths)
        self.stream = ResultStream(ROI_PROFILES_STREAM, ROI_PROFILE, self._nb_bins, lengths)

    def process(self, item: FrameItem) -> FrameItem:
        values = None
        if item.buffer is not None:
            pixels = item.pixels
            values = np.concatenate([profile_statistics(pixels, profile, self._dummy) for profile in self._profiles])
        item.rows[self.stream.name] = result_rows(item.meta, values, self._nb_bins)
        return item
