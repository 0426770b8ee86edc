"""Acquisition parameters that every detector shares; ``det`` is added by the detector plugin."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lima2_bliss.contract.geometry import Flip, Rotation
from lima2_bliss.contract.parameters.strict import Parameters

TriggerMode = Literal["internal", "software", "external", "gate"]


class Point(Parameters):
    """Column x and row y, pixels."""

    x: int = Field(0, ge=0, description="columns [px]")
    y: int = Field(0, ge=0, description="rows [px]")


class Rectangle(Parameters):
    """Rectangle of ``dimensions`` from its ``topleft`` pixel; 0 x 0 is the full frame where that makes sense."""

    topleft: Point = Point()
    dimensions: Point = Point()


class Binning(Parameters):
    """Pixels summed into one, along x and y."""

    x: int = Field(1, ge=1, le=64, description="columns summed into one")
    y: int = Field(1, ge=1, le=64, description="rows summed into one")


class Acquisition(Parameters):
    """Number and timing of the frames."""

    nb_frames: int = Field(1, ge=0, le=2**31 - 1, description="frames in total over all receivers; 0 is endless")
    expo_time: int = Field(100_000, ge=1, description="exposure time [us]")
    latency_time: int = Field(10, ge=0, description="dead time between two frames [us]")
    trigger_mode: TriggerMode = Field("internal", description="what starts an exposure")
    nb_frames_per_trigger: int = Field(1, ge=1, description="frames taken at each trigger")
    acq_mode: Literal["normal"] = Field("normal", description="kept for LImA2 clients")
    watched_within: float = Field(
        0, ge=0, le=86_400, description="stop when no client has looked at control for so long [s]; 0 never"
    )


class Image(Parameters):
    """Geometry applied by the pipeline: binning, then ROI (in binned pixels), then flip, then rotation."""

    binning: Binning = Binning()
    roi: Rectangle = Rectangle()
    flip: Flip = Field("none", description="mirror the columns (left_right), the rows (up_down), or both")
    rotation: Rotation = Field("none", description="clockwise (cw) or counter-clockwise (ccw) [degrees]")


class Shutter(Parameters):
    """Kept for LImA2 clients."""

    mode: Literal["manual"] = Field("manual", description="kept for LImA2 clients; no effect")


class HardwareAccumulation(Parameters):
    """Kept for LImA2 clients; accumulation is done by the pipeline (``accumulation`` of the processing parameters)."""

    nb_frames: int = Field(1, ge=1, description="kept for LImA2 clients; no effect")
    expo_time: int = Field(1000, ge=1, description="kept for LImA2 clients; no effect")
    saturated_threshold: int = Field(0, ge=0, description="kept for LImA2 clients; no effect")


class Video(Parameters):
    """Kept for LImA2 clients."""

    auto_exposure_mode: Literal["off"] = Field("off", description="kept for LImA2 clients; no effect")


class Alignment(Parameters):
    """Kept for LImA2 clients."""

    col_alignment: int = Field(1, ge=1, description="kept for LImA2 clients; no effect")
    row_alignment: int = Field(8, ge=1, description="kept for LImA2 clients; no effect")
    header: int = Field(0, ge=0, description="kept for LImA2 clients; no effect")
    footer: int = Field(0, ge=0, description="kept for LImA2 clients; no effect")


class Slice(Parameters):
    """Kept for LImA2 clients."""

    start: int = Field(0, ge=0, description="kept for LImA2 clients; no effect")
    stride: int = Field(1, ge=1, description="kept for LImA2 clients; no effect")


class Transfer(Parameters):
    """How frames go to the receivers; most of it is kept for LImA2 clients."""

    alignment: Alignment = Alignment()
    slice: Slice = Slice()
    block: int = Field(
        1,
        ge=1,
        le=1_000_000,
        description="frames in a row to the same receiver: those of one accumulation; set by the client",
    )


class AcquisitionParameters(Parameters):
    """All acquisition parameters but the detector's own; a plugin derives from it and adds ``det``."""

    acq: Acquisition = Acquisition()
    img: Image = Image()
    shut: Shutter = Shutter()
    accu: HardwareAccumulation = HardwareAccumulation()
    vid: Video = Video()
    xfer: Transfer = Transfer()
