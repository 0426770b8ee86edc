"""Acquisition, processing and saving parameters: pydantic models that refuse unknown keys."""

from lima2_bliss.contract.parameters.acquisition import (
    Acquisition,
    AcquisitionParameters,
    Binning,
    Image,
    Point,
    Rectangle,
    TriggerMode,
)
from lima2_bliss.contract.parameters.processing import (
    Accumulation,
    Arc,
    Buffers,
    CountrateProtection,
    Fifo,
    LegacyParameters,
    OptionalPath,
    PointF,
    Profiles,
    Statistics,
    Threads,
)
from lima2_bliss.contract.parameters.saving import Compression, FileExistsPolicy, Saving
from lima2_bliss.contract.parameters.smx import (
    Compute,
    Fai,
    Peaks,
    SmxBuffers,
    SmxParameters,
)
from lima2_bliss.contract.parameters.strict import Parameters, parse
from lima2_bliss.contract.parameters.veto import Veto

__all__ = [
    # acquisition
    "Acquisition",
    "AcquisitionParameters",
    "Binning",
    "Image",
    "Point",
    "Rectangle",
    "TriggerMode",
    # processing
    "Accumulation",
    "Arc",
    "Buffers",
    "CountrateProtection",
    "Fifo",
    "LegacyParameters",
    "OptionalPath",
    "PointF",
    "Profiles",
    "Statistics",
    "Threads",
    # SMX
    "Compute",
    "Fai",
    "Peaks",
    "SmxBuffers",
    "SmxParameters",
    "Veto",
    # saving
    "Compression",
    "FileExistsPolicy",
    "Saving",
    # models
    "Parameters",
    "parse",
]
