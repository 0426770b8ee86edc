"""What a user can set for the SMX pipeline: geometry, thresholds, and which frames are saved."""

from __future__ import annotations

from copy import copy
from typing import Any, Literal

from pydantic import Field, field_validator

from lima2_bliss.contract.parameters import Compute, Fai, Parameters, Peaks, SmxBuffers
from lima2_bliss.contract.parameters.smx import Backend, ErrorModelName, RadialUnit

Selection = Literal["all", "hits", "none", "every_nth"]

#: Arrays that can be given by file instead of being computed from the PONI file, or beside it.
ArrayName = Literal[
    "csr",
    "radius1d",
    "radius2d",
    "solid_angle",
    "polarization",
    "absorption",
    "dark_variance",
    "variance",
]
#: Those that are a geometry, all three together.
GEOMETRY_ARRAYS: tuple[ArrayName, ...] = ("csr", "radius1d", "radius2d")


def _as(model: type[Parameters], name: str) -> Any:
    """The same default, limits and meaning as a parameter of the pipeline."""
    return copy(model.model_fields[name])


class SmxSettings(Parameters):
    """Background, spots and hits of serial crystallography; used with ``processing.pipeline = "smx"``."""

    poni: str | None = Field(None, min_length=1, description="PONI file of pyFAI, the geometry; or None with arrays")
    bins: int = Field(800, ge=2, le=100_000, description="radial bins of the background; from the PONI file")
    unit: RadialUnit = Field("r_m", description="radial unit: r_m, r_mm, q_nm^-1, q_A^-1, 2th_deg, 2th_rad")
    radius_range: tuple[float, float] | None = Field(
        None, description="(from, to) radius of the pixels and spots used [unit]; None: all; to 0: no upper limit"
    )
    arrays: dict[ArrayName, str] = Field(
        default_factory=dict,
        description="files of ready arrays by name: csr, radius1d, radius2d (instead of poni), solid_angle,"
        " polarization, absorption, dark_variance, variance",
    )

    mask: str | None = Field(None, min_length=1, description="file of the pixel mask (not 0: masked), or None")
    dark: str | None = Field(None, min_length=1, description="file of the dark image that is subtracted, or None")
    flat: str | None = Field(None, min_length=1, description="file of the flat field that is divided by, or None")
    solid_angle: bool = Field(False, description="correct for the solid angle of the pixels; needs poni")
    polarization: float | None = Field(
        None, ge=-1, le=1, description="polarization factor of the beam to correct for, 1 is horizontal; needs poni"
    )
    dummy: float | None = Field(None, description="value of pixels that measured nothing, or None")
    delta_dummy: float = _as(Fai, "delta_dummy")

    error_model: ErrorModelName = Field(
        "hybrid", description="deviation of a bin: no_var, variance, poisson, azimuthal, hybrid"
    )
    cutoff_clip: float = _as(Fai, "cutoff_clip")
    cycle: int = _as(Fai, "cycle")
    cutoff_pick: float = _as(Fai, "cutoff_pick")
    noise: float = _as(Fai, "noise")

    cutoff_peak: float = _as(Peaks, "cutoff_peak")
    patch_size: Literal[3, 5, 7] = _as(Peaks, "patch_size")
    connected: int = _as(Peaks, "connected")
    min_spots: int = _as(Peaks, "min_spots")
    max_spots: int = _as(Peaks, "max_spots")

    backend: Backend = _as(Compute, "backend")
    device: str = _as(Compute, "device")
    threads_per_frame: int = Field(
        0, ge=0, le=256, description="threads that share one frame (cpu); 0: the cores / processing.nb_threads"
    )
    accumulated_every: int = Field(
        100, ge=0, description="mean and peak image come every so many frames of the scan, and at the end; 0: never"
    )
    accumulated_reset: int = Field(0, ge=0, description="and start anew after so many frames; 0: never")
    nb_sparse_buffer: int = _as(SmxBuffers, "nb_sparse_frames_buffer")

    save_dense: Selection = Field("all", description="which full frames are saved: all, hits, none, every_nth")
    dense_every: int = Field(0, ge=0, description="n of save_dense every_nth; with hits also every n-th frame; 0: none")
    save_sparse: Selection = Field("all", description="which sparse frames are saved: all, hits, none, every_nth")
    sparse_every: int = Field(
        0, ge=0, description="n of save_sparse every_nth; with hits also every n-th frame; 0: none"
    )
    keep_before: int = Field(0, ge=0, le=1000, description="with hits: also so many of a receiver's frames before each")
    keep_after: int = Field(
        0, ge=0, le=100_000, description="with hits: also so many of a receiver's frames after each"
    )
    save_accumulated: bool = Field(True, description="save mean and peak images")

    @field_validator("radius_range")
    @classmethod
    def _ordered(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        if given is not None and given[1] and given[1] <= given[0]:
            raise ValueError("the second radius must be larger than the first, or 0 for no limit")
        return given

    @field_validator("arrays")
    @classmethod
    def _named(cls, given: dict[ArrayName, str]) -> dict[ArrayName, str]:
        empty = [name for name, path in given.items() if not path]
        if empty:
            raise ValueError(f"{', '.join(empty)}: no file given; leave out what there is no file of")
        return given
