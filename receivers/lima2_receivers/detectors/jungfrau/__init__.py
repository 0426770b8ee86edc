"""PSI Jungfrau: its parameters, control, source, calibration, and a simulator of its wire."""

from lima2_receivers.detectors.jungfrau.control import JungfrauControl
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters, JungfrauSettings
from lima2_receivers.detectors.jungfrau.source import JungfrauSource
from lima2_receivers.engine.plugin import DetectorPlugin

PLUGIN = DetectorPlugin(
    name="Jungfrau",
    version="core-1.2.0",
    parameters=JungfrauParameters,
    make_control=JungfrauControl,
    make_source=JungfrauSource,
)

__all__ = [
    "PLUGIN",
    "JungfrauControl",
    "JungfrauParameters",
    "JungfrauSettings",
    "JungfrauSource",
]
