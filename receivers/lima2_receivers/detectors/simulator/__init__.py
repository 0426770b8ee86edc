"""Simulated detector: parameters, control, source, and what its frames hold."""

from lima2_receivers.detectors.simulator.control import SimulatorControl
from lima2_receivers.detectors.simulator.generators import Truth, expected_frame, truth
from lima2_receivers.detectors.simulator.params import SimulatorParameters
from lima2_receivers.detectors.simulator.source import SimulatorSource
from lima2_receivers.detectors.simulator.stamp import read_stamp, stamp
from lima2_receivers.engine.plugin import DetectorPlugin

PLUGIN = DetectorPlugin(
    name="Simulator",
    version="core-1.2.0",
    parameters=SimulatorParameters,
    make_control=SimulatorControl,
    make_source=SimulatorSource,
)

__all__ = [
    # plugin
    "PLUGIN",
    "SimulatorControl",
    "SimulatorParameters",
    "SimulatorSource",
    # what frames hold
    "Truth",
    "expected_frame",
    "read_stamp",
    "stamp",
    "truth",
]
