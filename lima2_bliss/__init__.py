"""lima2-bliss: distributed 2D-detector acquisition for beamlines that run BLISS (session and consumer side)."""

__version__ = "0.1.0"
