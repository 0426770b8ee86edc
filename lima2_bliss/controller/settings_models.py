"""What a user can set on a detector, in the user's units; each model is one section of the settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lima2_bliss.contract.geometry import Flip, Rotation
from lima2_bliss.contract.parameters import Compression, FileExistsPolicy, Parameters

Pipeline = Literal["legacy", "smx"]
RawSelection = Literal["none", "all", "hits"]

_ROTATIONS: dict[int, Rotation] = {0: "none", 90: "90cw", 180: "180", 270: "90ccw", -90: "90ccw"}


class AcquisitionSettings(Parameters):
    """How frames are taken."""

    latency_time: float = Field(1e-5, ge=0, le=3600, description="dead time between two frames [s]")
    step_trigger: Literal["software", "external", "gate"] = Field(
        "software", description="what starts the frames of a point in step scans"
    )
    frames_per_point: int = Field(1, ge=1, le=1_000_000, description="images per point in step scans")
    overlap: int = Field(
        0,
        ge=0,
        le=3,
        description="earlier scans that may still be being saved; 0: each scan ends when its files are complete",
    )


class ImageSettings(Parameters):
    """Geometry of the image: binning, then roi, then flip, then rotation."""

    binning: tuple[int, int] = Field((1, 1), description="pixels summed into one, (x, y)")
    roi: tuple[int, int, int, int] | None = Field(
        None, description="(x, y, width, height) in binned pixels; None is the full frame"
    )
    flip: Flip = Field("none", description="none, left_right, up_down, both")
    rotation: Rotation = Field("none", description="none, 90cw, 180, 90ccw; also 0, 90, 180, 270 (clockwise)")

    @field_validator("binning", mode="before")
    @classmethod
    def _square(cls, given: Any) -> Any:
        return (given, given) if isinstance(given, int) else given

    @field_validator("binning")
    @classmethod
    def _binning_range(cls, binning: tuple[int, int]) -> tuple[int, int]:
        if not all(1 <= factor <= 64 for factor in binning):
            raise ValueError("both factors must be from 1 to 64")
        return binning

    @field_validator("roi", mode="before")
    @classmethod
    def _no_roi(cls, given: Any) -> Any:
        return None if given in ((), [], [0, 0, 0, 0], (0, 0, 0, 0)) else given

    @field_validator("roi")
    @classmethod
    def _roi_range(cls, roi: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if roi is not None and (min(roi) < 0 or min(roi[2:]) < 1):
            raise ValueError("x and y must be >= 0, width and height >= 1")
        return roi

    @field_validator("rotation", mode="before")
    @classmethod
    def _degrees(cls, given: Any) -> Any:
        return _ROTATIONS.get(given, given) if isinstance(given, int) and not isinstance(given, bool) else given


class ProcessingSettings(Parameters):
    """What the receivers do with each frame."""

    pipeline: Pipeline = Field("legacy", description="legacy: images and ROIs; smx: also spots and hits, see .smx")
    accumulation: int = Field(
        1, ge=1, le=1_000_000, description="exposures summed into one image; the count time is shared between them"
    )
    max_exposure: float | None = Field(
        None, ge=1e-6, le=86_400, description="longest exposure [s]: longer images are summed of several; or None"
    )
    accumulation_time: Literal["live", "real"] = Field(
        "live", description="of summed images: count time is that of all exposures, or (real) with their dead times"
    )
    mask: str | None = Field(None, description="file of the pixel mask (not 0: masked), or None")
    background: str | None = Field(None, description="file of the dark image that is subtracted, or None")
    flatfield: str | None = Field(None, description="file of the flat field that images are divided by, or None")
    max_countrate: float | None = Field(None, gt=0, description="ends the scan above this pixel rate [1/s], or None")
    nb_threads: int = Field(1, ge=1, le=256, description="worker threads on each receiver")
    nb_fifo_frames: int = Field(100, ge=2, le=100_000, description="frames that may wait before one is lost")
    nb_frames_buffer: int = Field(100, ge=1, le=100_000, description="processed images kept readable, per receiver")
    nb_input_frames_buffer: int = Field(20, ge=1, le=100_000, description="raw images kept readable, per receiver")

    @model_validator(mode="after")
    def _one_way_to_accumulate(self) -> ProcessingSettings:
        if self.accumulation > 1 and self.max_exposure is not None:
            raise ValueError(
                f"accumulation = {self.accumulation} and max_exposure = {self.max_exposure:g} both say how many"
                " exposures an image has; set accumulation = 1 or max_exposure = None"
            )
        return self


class SavingSettings(Parameters):
    """How images are saved; where is decided by SCAN_SAVING."""

    enabled: bool = Field(True, description="save images when the scan is saved")
    compression: Compression = Field("bshuf_lz4", description="none, bshuf_lz4, gzip, zstd")
    raw: RawSelection = Field(
        "none",
        description="which frames are also saved as they came, where that is no image yet (Jungfrau): none, all, or "
        "hits (pipeline smx)",
    )
    frames_per_file: int = Field(50, ge=1, le=1_000_000, description="images in one file of one receiver")
    file_exists_policy: FileExistsPolicy = Field(
        "append", description="append: take a free file name; abort; overwrite"
    )


def settings_defaults(model: type[Parameters], configured: dict[str, Any] | None) -> dict[str, Any]:
    """The values that a section starts from: those of the model, then those of the configuration file."""
    return model.model_validate(configured or {}).model_dump(mode="json")
