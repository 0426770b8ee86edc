"""Parameters of the simulated detector, and the checks that need more than one of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from lima2_bliss.contract import ParameterError, PixelType, dtype_of
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters

#: Precomputed frames may take this much memory on a receiver.
MAX_PREFETCH_BYTES = 2 << 30
#: Longest exposure, and longest dead time [us].
MAX_EXPO_US = 1_000_000_000
#: Edge of a pixel [m].
PIXEL_SIZE_M = 75e-6
#: Reciprocal lattice points along one axis that the diffraction generator tries.
MAX_LATTICE_INDEX = 100


class Size(Parameters):
    """Columns x and rows y, pixels."""

    x: int = Field(1024, ge=8, le=16384, description="columns [px]")
    y: int = Field(1024, ge=8, le=16384, description="rows [px]")


class Peak(Parameters):
    """A Gaussian peak: centre [px], full width at half maximum [px], height [counts]."""

    x0: float = Field(512.0, description="column of the centre [px]")
    y0: float = Field(512.0, description="row of the centre [px]")
    fwhm: float = Field(128.0, gt=0, description="full width at half maximum [px]")
    max: float = Field(100.0, ge=0, description="height [counts]")


class Gauss(Parameters):
    """Sum of Gaussian peaks; channel ``c`` is (c + 1) times the first one."""

    peaks: list[Peak] = Field(
        default_factory=list,
        max_length=1000,
        description="empty: one peak in the middle, as wide as an eighth of the shorter side, 100 counts high",
    )
    grow_factor: float = Field(
        0.0, ge=0, le=1000, description="prefetched frame n is (1 + n * grow_factor) times frame 0"
    )


class Diffraction(Parameters):
    """Still images of a crystal with a cubic lattice, in another random orientation in each prefetched frame."""

    x0: float = Field(-1.0, description="column where the beam hits [px]; negative: the middle")
    y0: float = Field(-1.0, description="row where the beam hits [px]; negative: the middle")
    source_pos_x: float = Field(0.0, description="offset of the beam along x [px]")
    source_pos_y: float = Field(0.0, description="offset of the beam along y [px]")
    source_speed_x: float = Field(0.0, description="movement of the beam along x [px per prefetched frame]")
    source_speed_y: float = Field(0.0, description="movement of the beam along y [px per prefetched frame]")
    background_level: float = Field(20.0, ge=0, le=1e6, description="mean background at the beam [counts]")
    background_width: float = Field(300.0, gt=0, description="standard deviation of the radial background [px]")
    background_floor: float = Field(1.0, ge=0, le=1e6, description="mean background far from the beam [counts]")
    hit_rate: float = Field(0.5, ge=0, le=1, description="fraction of the prefetched frames that have spots")
    spot_intensity: float = Field(1000.0, ge=0, le=1e8, description="mean counts of a spot in full reflection")
    spot_sigma: float = Field(1.0, ge=0.2, le=50, description="standard deviation of a spot [px]")
    cell_nm: float = Field(8.0, gt=0, le=100, description="edge of the cubic unit cell [nm]")
    wavelength_nm: float = Field(0.1, gt=0, le=10, description="of the beam [nm]")
    distance_m: float = Field(0.1, gt=0, le=100, description="sample to detector [m]")
    excitation_width: float = Field(
        0.002, gt=0, le=0.1, description="distance from the Ewald sphere at which a spot has faded [1/nm]"
    )
    noise: bool = Field(True, description="Poisson noise")


class File(Parameters):
    """Replay of a stack of frames from HDF5: (n, y, x), (n, channels, y, x) or one frame (y, x).

    Size, channels and pixel type are those of the dataset.
    """

    path: str = Field("", description="HDF5 file that every receiver can read")
    dataset: str = Field("/entry_0000/measurement/data", description="HDF5 path of the stack")
    first_frame: int = Field(0, ge=0, description="first frame of the stack to replay")


class Generator(Parameters):
    """What the frames show. ``nb_prefetch_frames`` different frames are computed, and replayed in turn."""

    type: Literal["gauss", "diffraction", "file"] = Field("gauss", description="which generator")
    pixel_type: PixelType = Field("gray16", description="bits of a pixel; s: signed, f: float")
    nb_channels: int = Field(1, ge=1, le=8, description="images in one frame")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="the same seed gives the same frames")
    gauss: Gauss = Gauss()
    diffraction: Diffraction = Diffraction()
    file: File = File()


class SlowReceiver(Parameters):
    """Makes one receiver late by ``delay_ms`` in every frame; rank -1 is off."""

    rank: int = Field(-1, ge=-1, le=255, description="which receiver; -1: none")
    delay_ms: float = Field(0.0, ge=0, le=10_000, description="delay of each frame [ms]")


class Faults(Parameters):
    """Faults to inject beside ``dropped_frame_idx`` and ``failed_frame_idx``."""

    dropped_indices: list[int] = Field(
        default_factory=list, max_length=100_000, description="global indices, from 0, of frames that never arrive"
    )
    slow_receiver: SlowReceiver = SlowReceiver()


class Simulator(Parameters):
    """Parameters of the simulated detector."""

    generator: Generator = Generator()
    size: Size = Size()
    dispatch_mode: Literal["round_robin"] = Field("round_robin", description="which receiver gets which frame")
    nb_prefetch_frames: int = Field(16, ge=1, le=4096, description="different frames that are replayed in turn")
    dropped_frame_idx: int = Field(0, ge=0, description="number, from 1, of a frame that never arrives; 0: none")
    failed_frame_idx: int = Field(0, ge=0, description="number, from 1, of the frame where the receiver fails; 0: none")
    faults: Faults = Faults()
    on_overrun: Literal["lose", "wait"] = Field(
        "lose", description="buffers full: lose the frame as a detector does, or wait (benchmarks)"
    )
    stamp_frame_number: bool = Field(False, description="write the frame index into the first pixels of channel 0")

    @property
    def dropped(self) -> frozenset[int]:
        """Global indices of all frames that never arrive."""
        numbered = {self.dropped_frame_idx - 1} if self.dropped_frame_idx else set()
        return frozenset(numbered | set(self.faults.dropped_indices))


class SimulatorParameters(AcquisitionParameters):
    """Acquisition parameters of the simulated detector, the same for its control and its receivers."""

    det: Simulator = Simulator()

    @model_validator(mode="after")
    def _fit_together(self) -> SimulatorParameters:
        found = faults(self)
        if found:
            raise ValueError("; ".join(found))
        return self


def faults(parameters: SimulatorParameters) -> list[str]:
    """What is wrong with parameters that are fine one by one; no file is looked at."""
    acq, det, generator = parameters.acq, parameters.det, parameters.det.generator
    found = []
    for name, value in (("acq.expo_time", acq.expo_time), ("acq.latency_time", acq.latency_time)):
        if value > MAX_EXPO_US:
            found.append(f"{name} = {value} us is too long; at most {MAX_EXPO_US} us (1000 s)")
    if acq.trigger_mode == "gate" and acq.nb_frames_per_trigger != 1:
        found.append(f"acq.nb_frames_per_trigger = {acq.nb_frames_per_trigger}: a gate gives 1 frame; set it to 1")
    if det.on_overrun == "wait" and acq.nb_frames == 0:
        found.append("det.on_overrun = 'wait' needs a number of frames; set acq.nb_frames or use 'lose'")
    frame = generator.nb_channels * det.size.x * det.size.y * dtype_of(generator.pixel_type).itemsize
    if generator.type != "file" and frame * det.nb_prefetch_frames > MAX_PREFETCH_BYTES:
        most = max(MAX_PREFETCH_BYTES // frame, 1)
        advice = f"at most {most} frames of this size" if frame <= MAX_PREFETCH_BYTES else "make det.size smaller"
        found.append(
            f"det.nb_prefetch_frames = {det.nb_prefetch_frames} frames of {frame / 2**20:.0f} MiB exceed "
            f"{MAX_PREFETCH_BYTES / 2**20:.0f} MiB; {advice}"
        )
    if generator.type == "file" and not generator.file.path:
        found.append("det.generator.file.path is empty; give the HDF5 file to replay")
    if generator.type == "diffraction":
        index = lattice_index(parameters)
        if index > MAX_LATTICE_INDEX:
            found.append(
                f"det.generator.diffraction: lattice points up to index {index} reach the image; at most "
                f"{MAX_LATTICE_INDEX}; make cell_nm or det.size smaller, or distance_m or wavelength_nm larger"
            )
    if any(index < 0 for index in det.faults.dropped_indices):
        found.append("det.faults.dropped_indices: indices start at 0")
    return found


def lattice_index(parameters: SimulatorParameters) -> int:
    """Largest lattice index whose spot can be in the image (Bragg: q = 2 sin(theta) / wavelength)."""
    crystal, size = parameters.det.generator.diffraction, parameters.det.size
    reach_m = PIXEL_SIZE_M * float(np.hypot(size.x, size.y))
    theta = 0.5 * np.arctan2(reach_m, crystal.distance_m)
    return int(np.ceil(2 * np.sin(theta) / crystal.wavelength_nm * crystal.cell_nm))


def check(parameters: AcquisitionParameters) -> SimulatorParameters:
    """The parameters as this detector's, all checked; `ParameterError` names every fault."""
    if not isinstance(parameters, SimulatorParameters):
        raise ParameterError(f"{type(parameters).__name__} given; the simulator needs SimulatorParameters")
    found = faults(parameters)
    if found:
        raise ParameterError("acquisition parameters refused: " + "; ".join(found))
    return parameters
