"""Online monitor: what a scan's detectors show, in a browser, read from blissdata."""
