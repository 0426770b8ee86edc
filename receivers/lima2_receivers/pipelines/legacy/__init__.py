"""The legacy pipeline: corrections, geometry, accumulation, ROI statistics and profiles."""

from lima2_bliss.contract.parameters import LegacyParameters
from lima2_receivers.engine.plugin import PipelineClass
from lima2_receivers.pipelines.legacy.build import build
from lima2_receivers.pipelines.legacy.check import check

PIPELINE = PipelineClass(
    name="legacy",
    tango_class="LimaProcessingLegacy",
    version="core-1.2.0",
    parameters=LegacyParameters,
    check=check,
    build=build,
)

__all__ = ["PIPELINE"]
