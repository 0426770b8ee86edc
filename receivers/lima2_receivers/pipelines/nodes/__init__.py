"""Steps that pipelines are made of; each is a `lima2_receivers.engine.plugin.Node`."""

from lima2_receivers.pipelines.nodes.accumulation import AccumulationNode
from lima2_receivers.pipelines.nodes.correction import CorrectionNode, MaskNode
from lima2_receivers.pipelines.nodes.countrate import CountrateNode
from lima2_receivers.pipelines.nodes.geometry import GeometryNode
from lima2_receivers.pipelines.nodes.profiles import ProfilesNode
from lima2_receivers.pipelines.nodes.statistics import StatisticsNode

__all__ = [
    # before accumulation
    "CountrateNode",
    "CorrectionNode",
    "MaskNode",
    "GeometryNode",
    # ordered
    "AccumulationNode",
    # results
    "ProfilesNode",
    "StatisticsNode",
]
