"""Parameters of the SMX pipeline: radial background, sparse frames, spots, hits, and what of it is saved."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract.parameters.processing import Fifo, Profiles, Statistics, Threads
from lima2_bliss.contract.parameters.saving import Saving
from lima2_bliss.contract.parameters.strict import Parameters
from lima2_bliss.contract.parameters.veto import Veto

ErrorModelName = Literal["no_var", "variance", "poisson", "azimuthal", "hybrid"]
RadialUnit = Literal["r_m", "r_mm", "q_nm^-1", "q_A^-1", "2th_deg", "2th_rad"]
Backend = Literal["auto", "cpu", "opencl", "reference"]


class SmxBuffers(Parameters):
    """How much of the past stays readable."""

    nb_frames_buffer: int = Field(100, ge=1, le=100_000, description="dense frames kept for clients")
    nb_input_frames_buffer: int = Field(1, ge=1, le=100_000, description="raw frames kept for clients, if it has them")
    nb_sparse_frames_buffer: int = Field(100, ge=1, le=100_000, description="sparse frames kept for clients")
    nb_accumulated_buffer: int = Field(3, ge=1, le=1000, description="mean and peak images kept for clients")
    nb_peak_counters_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_roi_statistics_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_roi_profiles_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")
    nb_frame_idx_buffer: int = Field(100, ge=1, description="kept for LImA2 clients; the log keeps all rows")


class Fai(Parameters):
    """Azimuthal integration with sigma clipping, and picking of pixels; the names are LImA2's and pyFAI's.

    The geometry is either a PONI file (``poni_path``) or ready arrays (``csr_path``, ``radius1d_path``,
    ``radius2d_path``). Corrections are maps of the raw frame; the corrected value of a pixel is
    ``(raw - dark) / (normalization_factor * flat * solid angle * polarization * absorption)``.
    """

    poni_path: str = Field("", description="PONI file of pyFAI: geometry of the experiment")
    nb_bins: int = Field(800, ge=2, le=100_000, description="radial bins; with poni_path")
    unit: RadialUnit = Field("r_m", description="radial unit; with poni_path")
    csr_path: str = Field("", description="HDF5 file with the matrix pixels -> bins: data, indices, indptr")
    radius1d_path: str = Field("", description="radial position of the bin centres (nb_bins)")
    radius2d_path: str = Field("", description="radial position of the pixel centres (y, x); NaN is masked")
    mask_path: str = Field("", description="mask (y, x); pixels other than 0 are left out")
    dark_path: str = Field("", description="dark (y, x), subtracted")
    dark_variance_path: str = Field("", description="variance of the dark (y, x), added to that of the frame")
    variance_path: str = Field("", description="variance (y, x) of the raw frame; error_model = variance needs it")
    flat_path: str = Field("", description="flat field (y, x), divided by")
    solid_angle_path: str = Field("", description="solid angle correction (y, x), divided by")
    polarization_path: str = Field("", description="polarization correction (y, x), divided by")
    absorption_path: str = Field("", description="absorption correction (y, x), divided by")
    correct_solid_angle: bool = Field(False, description="compute the solid angle correction from the PONI file")
    correct_polarization: bool = Field(False, description="compute the polarization correction from the PONI file")
    polarization_factor: float = Field(0.99, ge=-1, le=1, description="of the beam; 1 is horizontal")
    normalization_factor: float = Field(1.0, gt=0, description="corrected values are divided by it")
    do_dummy: bool = Field(False, description="leave out pixels with the value dummy")
    dummy: float = Field(0.0, description="value of a pixel that measured nothing")
    delta_dummy: float = Field(0.0, ge=0, description="values this close to dummy count as dummy")
    error_model: ErrorModelName = Field(
        "hybrid", description="where the deviation of a bin comes from; hybrid stands overloaded pixels"
    )
    cutoff_clip: float = Field(
        0.0, ge=0, le=1000, description="clip at so many deviations; 0: Chauvenet's criterion, the lower limit anyhow"
    )
    cycle: int = Field(3, ge=0, le=100, description="largest number of clipping cycles")
    cutoff_pick: float = Field(4.0, gt=0, le=1e6, description="keep pixels so many deviations above background")
    noise: float = Field(0.6, ge=0, le=1e9, description="smallest meaningful signal, added in quadrature [counts]")
    radius_min: float = Field(0.0, description="no pixels or spots below this radius [unit]")
    radius_max: float = Field(0.0, description="no pixels or spots at or above this radius [unit]; 0: no limit")
    acc_nb_frames_reset: int = Field(0, ge=0, description="start mean and peak image anew after so many frames; 0: no")
    acc_nb_frames_xfer: int = Field(
        100, ge=0, description="hand out mean and peak image every so many frames, and at the end; 0: never"
    )
    cl_source_path: str = Field("", description="kept for LImA2 clients; the kernels come with the package")

    @model_validator(mode="after")
    def _geometry_is_one(self) -> Fai:
        ready = [name for name in ("csr_path", "radius1d_path", "radius2d_path") if getattr(self, name)]
        if self.poni_path and ready:
            raise ValueError(f"poni_path and {', '.join(ready)} both give the geometry; leave one of them empty")
        if not self.poni_path and (self.correct_solid_angle or self.correct_polarization):
            raise ValueError("correct_solid_angle and correct_polarization need poni_path; or give the maps by path")
        if self.radius_max and self.radius_max <= self.radius_min:
            raise ValueError(f"radius_max = {self.radius_max} must be larger than radius_min = {self.radius_min}")
        return self


class Peaks(Parameters):
    """Spots are local maxima above the background; a frame with enough of them is a hit."""

    cutoff_peak: float = Field(5.0, gt=0, le=1e6, description="a spot's top is so many deviations above background")
    patch_size: Literal[3, 5, 7] = Field(5, description="side of the square that is searched around a top [px]")
    connected: int = Field(3, ge=1, le=49, description="a spot has so many pixels above cutoff_peak in its patch")
    max_spots: int = Field(2048, ge=1, le=100_000, description="strongest spots kept of one frame")
    min_spots: int = Field(10, ge=1, le=100_000, description="a frame with at least so many spots is a hit")


class Compute(Parameters):
    """Where and how the frames are computed."""

    backend: Backend = Field(
        "auto", description="cpu: compiled for it; opencl: GPU or PoCL; auto: opencl on a GPU, else cpu"
    )
    device: str = Field("", max_length=64, description="OpenCL 'platform:device', e.g. 0:1; empty: the first GPU")
    threads_per_frame: int = Field(
        0, ge=0, le=256, description="threads that share one frame (cpu); 0: the receiver's cores / thread.nb_threads"
    )


class SmxParameters(Parameters):
    """Parameters of the SMX pipeline (`LimaProcessingSmx`)."""

    class_name: Literal["LimaProcessingSmx"] = Field("LimaProcessingSmx", description="chooses the pipeline")
    frame_idx_enabled: bool = Field(False, description="kept for LImA2 clients; the frame indices are always logged")
    fifo: Fifo = Fifo()
    buffers: SmxBuffers = SmxBuffers()
    thread: Threads = Threads()
    compute: Compute = Compute()
    fai: Fai = Fai()
    peaks: Peaks = Peaks()
    statistics: Statistics = Statistics()
    profiles: Profiles = Profiles()
    veto_raw: Veto = Veto()
    veto_dense: Veto = Veto()
    veto_sparse: Veto = Veto()
    saving_raw: Saving = Saving(filename_prefix="lima2_raw_frame")
    saving_dense: Saving = Saving(filename_prefix="lima2_frame")
    saving_sparse: Saving = Saving(filename_prefix="lima2_sparse_frame")
    saving_accumulation_corrected: Saving = Saving(filename_prefix="lima2_acc_corrected")
    saving_accumulation_peak: Saving = Saving(filename_prefix="lima2_acc_peaks")
