"""What blisswriter 2.0.0 adds to the metadata of a scan."""

from bliss.controllers.mosca import counters

# BLISS has renamed two classes that blisswriter 2.0.0 imports
for _before, _now in (("SpectrumCounter", "SpecCounter"), ("ROICounter", "RoiCounter")):
    if not hasattr(counters, _before):
        setattr(counters, _before, getattr(counters, _now))

from blisswriter.nexus.publish import register_metadata_generators  # noqa: E402

__all__ = ["register_metadata_generators"]
