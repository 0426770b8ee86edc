"""The embedded stack for demo, tests and laptops: Redis, beacon, Tango database, BLISS and detectors on one host."""

from lima2_bliss.stack.config_tree import DetectorServer, default_config, detector_servers
from lima2_bliss.stack.detector_yaml import write_detector
from lima2_bliss.stack.embedded import Stack
from lima2_bliss.stack.record import ProcessStatus, StackRecord

__all__ = [
    # stack
    "ProcessStatus",
    "Stack",
    "StackRecord",
    # configuration
    "DetectorServer",
    "default_config",
    "detector_servers",
    "write_detector",
]
