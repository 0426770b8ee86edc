"""The node that computes the statistics of the ROIs."""

from __future__ import annotations

from lima2_bliss.contract import ResultStream
from lima2_bliss.contract.records import ROI_STATISTICS, ROI_STATISTICS_STREAM
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.regions import Regions
from lima2_receivers.kernels.statistics import region_statistics
from lima2_receivers.pipelines.nodes.result_rows import result_rows


class StatisticsNode:
    """One row per ROI and frame; the pixels of all channels count together, masked and ``dummy`` ones do not."""

    name = "statistics"

    def __init__(self, regions: Regions, dummy: float | None = None) -> None:
        self._regions = regions
        self._dummy = dummy
        self.stream = ResultStream(ROI_STATISTICS_STREAM, ROI_STATISTICS, len(regions))

    def process(self, item: FrameItem) -> FrameItem:
        values = None if item.buffer is None else region_statistics(item.pixels, self._regions, self._dummy)
        item.rows[self.stream.name] = result_rows(item.meta, values, len(self._regions))
        return item
