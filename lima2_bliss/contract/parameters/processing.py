"""Processing parameters: sections that pipelines share, and those of the legacy pipeline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract.parameters.acquisition import Rectangle
from lima2_bliss.contract.parameters.saving import Saving
from lima2_bliss.contract.parameters.strict import Parameters


class Fifo(Parameters):
    """Frames that may wait between source and pipeline; beyond, a frame is lost and counted as overrun."""

    nb_fifo_frames: int = Field(100, ge=2, le=100_000)


class Buffers(Parameters):
    """How much of the past stays readable."""

    nb_frames_buffer: int = Field(100, ge=1, le=100_000, description="processed frames kept for clients")
    nb_input_frames_buffer: int = Field(100, ge=1, le=100_000, description="raw frames kept for clients")
    nb_roi_statistics_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_roi_profiles_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_frame_idx_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")


class Threads(Parameters):
    """Worker threads of the pipeline on each receiver."""

    nb_threads: int = Field(1, ge=1, le=256)


class Accumulation(Parameters):
    """Sum of ``nb_frames`` consecutive frames into one."""

    enabled: bool = False
    nb_frames: int = Field(1, ge=1, le=1_000_000)

    @property
    def depth(self) -> int:
        return self.nb_frames if self.enabled else 1


class OptionalPath(Parameters):
    """A correction map: HDF5 (``file.h5::/path`` or its only 2D dataset), .npy, .edf, .tif; shape of the raw frame."""

    enabled: bool = False
    path: str = ""

    @model_validator(mode="after")
    def _path_given(self) -> OptionalPath:
        if self.enabled and not self.path:
            raise ValueError("enabled without a path; give the file or disable it")
        return self


class PointF(Parameters):
    """Centre in image pixels; pixel centres are at integers."""

    x: float = 0.0
    y: float = 0.0


class Arc(Parameters):
    """Ring segment: radii ``r1 <= r < r2`` [px], angles ``a1 <= a < a2`` [degrees, from +x to +y (columns to rows)]."""

    center: PointF = PointF()
    r1: float = Field(0.0, ge=0)
    r2: float = Field(1.0, gt=0)
    a1: float = 0.0
    a2: float = 360.0

    @model_validator(mode="after")
    def _ordered(self) -> Arc:
        if self.r2 <= self.r1:
            raise ValueError(f"r2 = {self.r2} must be larger than r1 = {self.r1}")
        if not 0 < self.a2 - self.a1 <= 360:
            raise ValueError(f"a2 - a1 = {self.a2 - self.a1} must be in (0, 360] degrees")
        return self


class Statistics(Parameters):
    """Statistics per frame on rectangles and arcs, in image pixels (after binning, ROI, flip, rotation)."""

    enabled: bool = True
    rect_rois: list[Rectangle] = Field(default_factory=list, max_length=4096)
    arc_rois: list[Arc] = Field(default_factory=list, max_length=4096)


class Profiles(Parameters):
    """Profiles per frame: one bin per row (`vertical`) or per column (`horizontal`) of each rectangle."""

    enabled: bool = True
    rois: list[Rectangle] = Field(default_factory=list, max_length=1024)
    directions: list[Literal["vertical", "horizontal"]] = Field(default_factory=list, max_length=1024)

    @model_validator(mode="after")
    def _parallel(self) -> Profiles:
        if len(self.rois) != len(self.directions):
            raise ValueError(f"{len(self.rois)} rois but {len(self.directions)} directions; give one direction per roi")
        return self


class CountrateProtection(Parameters):
    """Ends the acquisition when a pixel exceeds ``max_countrate`` [counts/s]."""

    enabled: bool = False
    max_countrate: float = Field(100_000, gt=0)
    pixel_capacity_override: list[dict[str, int]] = Field(default_factory=list, max_length=64)
    abort_on_protection: bool = True
    ignore_max_value: bool = False
    command: Literal[""] = Field("", description="running a command is not supported; leave it empty")
    args: list[str] = Field(default_factory=list, max_length=0)


class LegacyParameters(Parameters):
    """Parameters of the legacy pipeline (`LimaProcessingLegacy`)."""

    class_name: Literal["LimaProcessingLegacy"] = "LimaProcessingLegacy"
    frame_idx_enabled: bool = False
    fifo: Fifo = Fifo()
    buffers: Buffers = Buffers()
    thread: Threads = Threads()
    accumulation: Accumulation = Accumulation()
    mask: OptionalPath = OptionalPath()
    flatfield: OptionalPath = OptionalPath()
    background: OptionalPath = OptionalPath()
    statistics: Statistics = Statistics()
    profiles: Profiles = Profiles()
    max_countrate_protection: CountrateProtection = CountrateProtection()
    saving: Saving = Saving()
