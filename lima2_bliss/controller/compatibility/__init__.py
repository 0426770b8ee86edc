"""All that depends on the version of BLISS: repairs, base classes and the few private places we rely on.

Run with BLISS 2.1.2 (blissdata 1.1.4, blisswriter 1.0.0), and with 2.2.1, 2.3.0 and 2.4.0 (blissdata 2.0 to 2.4) as
``doc/explanation/bliss_versions.md`` says. What of it concerns blissdata alone is in `publishing.blissdata_access`.
"""

from lima2_bliss.controller.compatibility.axis_speed import at_speed
from lima2_bliss.controller.compatibility.chain import (
    add_device_below,
    hardware_position,
    scan_greenlet,
    scan_of_apply_parameters,
)
from lima2_bliss.controller.compatibility.settings import TextSetting
from lima2_bliss.controller.compatibility.streams import (
    MoreInfo,
    StreamFollower,
    append_to_stream,
    set_images,
    stream_of,
)
from lima2_bliss.controller.compatibility.writer import NexusDetectorCounter, ScanFile, install_blisswriter_names

__all__ = [
    # the scan engine
    "add_device_below",
    "at_speed",
    "hardware_position",
    "scan_greenlet",
    "scan_of_apply_parameters",
    # streams of a scan
    "MoreInfo",
    "StreamFollower",
    "append_to_stream",
    "set_images",
    "stream_of",
    # settings
    "TextSetting",
    # the scan file
    "NexusDetectorCounter",
    "ScanFile",
    "install_blisswriter_names",
]
