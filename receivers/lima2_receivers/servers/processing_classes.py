"""Which Tango class the processing device of a pipeline has."""

from __future__ import annotations

from lima2_receivers.servers.processing import ProcessingDevice, RawFramesDevice
from lima2_receivers.servers.processing_smx import SmxProcessingDevice

#: Pipelines whose devices have other commands; LImA2's conductor goes by the list of commands.
_DEVICES: dict[str, type[ProcessingDevice]] = {"LimaProcessingSmx": SmxProcessingDevice}


def processing_class(tango_class: str) -> type[ProcessingDevice]:
    """The device class of a pipeline, by its name; one that is not known here keeps raw and processed frames."""
    device = _DEVICES.get(tango_class, RawFramesDevice)
    return type(tango_class, (device,), {"__doc__": device.__doc__})
