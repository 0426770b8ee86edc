"""The SMX pipeline: radial background, sparse frames, spots and hits of serial crystallography."""

from lima2_bliss.contract.parameters import SmxParameters
from lima2_receivers.engine.plugin import PipelineClass
from lima2_receivers.pipelines.smx.build import build
from lima2_receivers.pipelines.smx.check import check

PIPELINE = PipelineClass(
    name="smx",
    tango_class="LimaProcessingSmx",
    version="core-1.2.0",
    parameters=SmxParameters,
    check=check,
    build=build,
)

__all__ = ["PIPELINE"]
