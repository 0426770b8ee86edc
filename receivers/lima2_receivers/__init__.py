"""What runs on acquisition hosts: detectors, pipelines, saving, frame access and their Tango servers."""

__version__ = "0.1.0"
