"""Processing parameters: sections that pipelines share, and those of the legacy pipeline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract.parameters.acquisition import Rectangle
from lima2_bliss.contract.parameters.saving import Saving
from lima2_bliss.contract.parameters.strict import Parameters
from lima2_bliss.contract.parameters.veto import Veto


class Fifo(Parameters):
    """Frames that may wait between source and pipeline; beyond, a frame is lost and counted as overrun."""

    nb_fifo_frames: int = Field(100, ge=2, le=100_000, description="frames that may wait, per receiver")


class Buffers(Parameters):
    """How much of the past stays readable."""

    nb_frames_buffer: int = Field(100, ge=1, le=100_000, description="processed frames kept for clients")
    nb_input_frames_buffer: int = Field(100, ge=1, le=100_000, description="raw frames kept for clients")
    nb_roi_statistics_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_roi_profiles_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_frame_idx_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")


class Threads(Parameters):
    """Worker threads of the pipeline on each receiver."""

    nb_threads: int = Field(1, ge=1, le=256, description="threads for the stateless nodes, per receiver")


class Accumulation(Parameters):
    """Sum of ``nb_frames`` consecutive frames into one."""

    enabled: bool = Field(False, description="sum at all")
    nb_frames: int = Field(1, ge=1, le=1_000_000, description="frames in one sum; acq.nb_frames is a multiple of it")

    @property
    def depth(self) -> int:
        return self.nb_frames if self.enabled else 1


class OptionalPath(Parameters):
    """A correction map: HDF5 (``file.h5::/path`` or its only 2D dataset), .npy, .edf, .tif; shape of the raw frame."""

    enabled: bool = Field(False, description="apply the map")
    path: str = Field("", description="file that every receiver can read")

    @model_validator(mode="after")
    def _path_given(self) -> OptionalPath:
        if self.enabled and not self.path:
            raise ValueError("enabled without a path; give the file or disable it")
        return self


class PointF(Parameters):
    """Centre in image pixels; pixel centres are at integers."""

    x: float = Field(0.0, description="column [px]")
    y: float = Field(0.0, description="row [px]")


class Arc(Parameters):
    """Ring segment: radii ``r1 <= r < r2`` [px], angles ``a1 <= a < a2`` [degrees, from +x to +y (columns to rows)]."""

    center: PointF = PointF()
    r1: float = Field(0.0, ge=0, description="inner radius [px]")
    r2: float = Field(1.0, gt=0, description="outer radius [px]")
    a1: float = Field(0.0, description="first angle [degrees]")
    a2: float = Field(360.0, description="last angle [degrees], at most 360 after the first")

    @model_validator(mode="after")
    def _ordered(self) -> Arc:
        if self.r2 <= self.r1:
            raise ValueError(f"r2 = {self.r2} must be larger than r1 = {self.r1}")
        if not 0 < self.a2 - self.a1 <= 360:
            raise ValueError(f"a2 - a1 = {self.a2 - self.a1} must be in (0, 360] degrees")
        return self


class Statistics(Parameters):
    """Statistics per frame on rectangles and arcs, in image pixels (after binning, ROI, flip, rotation)."""

    enabled: bool = Field(True, description="compute them, if there are ROIs")
    rect_rois: list[Rectangle] = Field(
        default_factory=list, max_length=4096, description="rows of the result come in this order"
    )
    arc_rois: list[Arc] = Field(default_factory=list, max_length=4096, description="their rows follow the rectangles")


class Profiles(Parameters):
    """Profiles per frame: one bin per row (`vertical`) or per column (`horizontal`) of each rectangle."""

    enabled: bool = Field(True, description="compute them, if there are ROIs")
    rois: list[Rectangle] = Field(default_factory=list, max_length=1024, description="rectangles in image pixels")
    directions: list[Literal["vertical", "horizontal"]] = Field(
        default_factory=list, max_length=1024, description="one per ROI"
    )

    @model_validator(mode="after")
    def _parallel(self) -> Profiles:
        if len(self.rois) != len(self.directions):
            raise ValueError(f"{len(self.rois)} rois but {len(self.directions)} directions; give one direction per roi")
        return self


class CountrateProtection(Parameters):
    """Ends the acquisition when a pixel exceeds ``max_countrate`` [counts/s]."""

    enabled: bool = Field(False, description="watch the raw frames")
    max_countrate: float = Field(100_000, gt=0, description="limit of a raw pixel [counts/s]")
    pixel_capacity_override: list[dict[str, int]] = Field(
        default_factory=list, max_length=64, description="not supported; leave it empty"
    )
    abort_on_protection: bool = Field(True, description="end the acquisition; else the frame is flagged FAILED")
    ignore_max_value: bool = Field(False, description="pixels at the largest value of their type do not count")
    command: Literal[""] = Field("", description="running a command is not supported; leave it empty")
    args: list[str] = Field(default_factory=list, max_length=0, description="leave it empty")


class LegacyParameters(Parameters):
    """Parameters of the legacy pipeline (`LimaProcessingLegacy`)."""

    class_name: Literal["LimaProcessingLegacy"] = Field("LimaProcessingLegacy", description="chooses the pipeline")
    frame_idx_enabled: bool = Field(False, description="kept for LImA2 clients; the frame indices are always logged")
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
    saving_raw: Saving = Saving(filename_prefix="lima2_raw")
    veto_raw: Veto = Veto()
