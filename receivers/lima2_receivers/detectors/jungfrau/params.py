"""Parameters of the Jungfrau, and the checks that need more than one of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract import ParameterError, RoundRobin
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters
from lima2_receivers.detectors.jungfrau.geometry import Geometry
from lima2_receivers.detectors.jungfrau.packets import packets_per_port
from lima2_receivers.detectors.jungfrau.wire.faults import Faults
from lima2_receivers.detectors.jungfrau.wire.layout import MAX_RECEIVERS, Order

#: Shortest period between frames [us]: of one interface, of two at full speed.
MIN_PERIOD_US = 425
#: Longest exposure, and longest dead time [us].
MAX_EXPO_US = 100_000_000
MIN_EXPO_US = 1
#: Edge of a pixel [m].
PIXEL_SIZE_M = 75e-6
#: What files tell of every Jungfrau, by the names of NXdetector.
NEXUS = {
    "manufacturer": "PSI",
    "sensor_material": "Si",
    "sensor_thickness": 320e-6,
    "sensor_thickness@units": "m",
    "bit_depth_readout": 16,
}

GainMode = Literal["dynamic", "forceswitchg1", "forceswitchg2", "fixg1", "fixg2"]
OutputName = Literal["raw", "float32", "int32", "int16", "uint16"]


class Receiving(Parameters):
    """How the receivers take packets in."""

    incomplete: Literal["drop", "skip", "pass"] = Field(
        "skip",
        description="frames that lack packets; drop: lost; skip: kept as raw frames only; pass: also processed, "
        "with what is missing marked",
    )
    timeout_s: float = Field(0.5, ge=0, le=60, description="how long packets of a frame may come after the first [s]")
    silence_s: float = Field(
        3.0, gt=0, le=3600, description="exposed frames without any packet for so long are an error [s]"
    )
    window: int = Field(16, ge=2, le=1024, description="frames that are filled at the same time")
    socket_buffer_mb: int = Field(256, ge=1, le=1024, description="asked of the system for each UDP port [MiB]")
    batch: int = Field(64, ge=1, le=1024, description="packets taken in one system call")
    busy_poll_us: int = Field(0, ge=0, le=1000, description="polling of the network card [us]; 0: interrupts")
    cpus: list[int] = Field(default_factory=list, max_length=1024, description="one core for each port; empty: any")
    priority: int = Field(0, ge=0, le=99, description="real-time priority of the listeners; 0: normal")


class Correction(Parameters):
    """From raw pixels to the image that pipelines get."""

    output: OutputName = Field(
        "raw", description="raw: pixels as read, in place, without a calibration; else what the values are stored as"
    )
    unit: Literal["photons", "keV"] = Field("photons", description="of the values; keV: deposited energy")
    photon_kev: float = Field(12.4, gt=0.1, le=200, description="energy of a photon [keV]; with unit photons")
    calibration: str = Field("", description="calibration file that every receiver can read; empty: only output raw")
    max_age_h: float = Field(0.0, ge=0, le=1e6, description="refuse pedestals older than this [h]; 0: any age")
    backend: Literal["auto", "cpu", "opencl"] = Field("auto", description="auto: opencl on a GPU, else cpu")
    device: str = Field("", max_length=64, description="OpenCL 'platform:device', e.g. 0:1; empty: the first GPU")
    threads_per_frame: int = Field(1, ge=1, le=256, description="threads that share one frame (cpu)")


class RunningPedestal(Parameters):
    """Pedestals of G0 that follow slow drifts, from frames without photons: dark ones, or those that are no hits."""

    enabled: bool = Field(False, description="follow")
    window: int = Field(128, ge=1, le=4096, description="frames of the running mean")
    every: int = Field(1, ge=1, le=100_000, description="look at every n-th frame of a receiver")
    reach: float = Field(
        4.0, gt=0, le=100, description="a pixel counts when it is so many times its noise off, or less"
    )
    save_path: str = Field(
        "", description="prefix of calibration files written at the end, one per receiver; empty: none"
    )


class Pedestals(Parameters):
    """Taking pedestals: the receivers add up dark frames, and write the sums at the end of the acquisition."""

    enabled: bool = Field(False, description="add up")
    path: str = Field("", description="prefix of the files of sums, PREFIX_RECEIVER.h5")
    skip_frames: int = Field(0, ge=0, le=100_000, description="first frames of each receiver that do not count")

    @model_validator(mode="after")
    def _path_given(self) -> Pedestals:
        if self.enabled and not self.path:
            raise ValueError("enabled without a path; give the prefix of the files of sums")
        return self


class SimulatedBeam(Parameters):
    """What the simulated detector sees, and how its wire is. Without effect on a real detector."""

    pattern: Literal["bragg", "flat", "dark", "documented"] = Field(
        "bragg",
        description="bragg: still images of a crystal; flat: the same mean everywhere; dark: no light; documented: the "
        "pattern of PSI's virtual detector",
    )
    images: int = Field(8, ge=1, le=1000, description="different frames that are sent in turn")
    hit_rate: float = Field(0.3, ge=0, le=1, description="bragg: fraction of the images that have spots")
    background: float = Field(2.0, ge=0, le=1e5, description="bragg: mean background at the beam; flat: mean [photons]")
    spot_intensity: float = Field(400.0, ge=0, le=1e7, description="bragg: mean of a full reflection [photons]")
    cell_nm: float = Field(8.0, gt=0, le=100, description="bragg: edge of the cubic unit cell [nm]")
    distance_m: float = Field(0.1, gt=0, le=100, description="bragg: sample to detector [m]")
    photon_kev: float = Field(12.4, gt=0.1, le=200, description="energy of the photons [keV]")
    noise: bool = Field(True, description="read-out noise, and Poisson noise of the photons")
    drift_adu: float = Field(0.0, ge=-2000, le=2000, description="added to the pedestals of G0 [ADU]")
    stamp: bool = Field(False, description="the first four pixels of each packet hold the frame number")
    seed: int = Field(1, ge=0, le=2**31, description="of images, noise and of the modules' pedestals and gains")
    order: Order = Field("centre_out", description="order of the packets of a frame on the wire")
    faults: Faults = Field(default_factory=Faults, description="what goes wrong on the wire")


class JungfrauSettings(Parameters):
    """The detector, its receivers, and what becomes of its pixels."""

    geometry: Geometry = Geometry()
    interfaces: Literal[1, 2] = Field(1, description="network interfaces of each module")
    module_ids: list[int] = Field(
        default_factory=list, max_length=256, description="ids that the modules must have, in order; empty: any"
    )
    gain_mode: GainMode = Field("dynamic", description="dynamic switches by the charge; the others are for pedestals")
    high_gain: bool = Field(False, description="HG0 in place of G0")
    storage_cell: int = Field(15, ge=0, le=15, description="storage cell that is used")
    speed: Literal["full_speed", "half_speed", "quarter_speed"] = Field("half_speed", description="of the read-out")
    wire: Literal["detector", "external"] = Field(
        "detector", description="external: another program sends the packets; frame numbers are learned from them"
    )
    receiving: Receiving = Receiving()
    correction: Correction = Correction()
    pedestals: Pedestals = Pedestals()
    running_pedestal: RunningPedestal = RunningPedestal()
    beam: SimulatedBeam = SimulatedBeam()

    @property
    def packets(self) -> int:
        """Packets of a frame on each port."""
        return packets_per_port(self.interfaces)

    @property
    def nb_modules(self) -> int:
        """Modules of the detector."""
        return self.geometry.layout.nb_modules


class JungfrauParameters(AcquisitionParameters):
    """Acquisition parameters of the Jungfrau."""

    det: JungfrauSettings = Field(default_factory=JungfrauSettings)

    @model_validator(mode="after")
    def _together(self) -> JungfrauParameters:
        found = faults(self)
        if found:
            raise ValueError("; ".join(found))
        return self


def faults(parameters: JungfrauParameters) -> list[str]:
    """What is wrong with parameters that are fine one by one; no file is looked at."""
    acq, det = parameters.acq, parameters.det
    modules, ports = det.nb_modules, det.nb_modules * det.interfaces
    correction, ids = det.correction, det.module_ids
    checks = [
        (acq.trigger_mode != "gate", "acq.trigger_mode = 'gate': a Jungfrau has no gate; use external, with expo_time"),
        (acq.expo_time <= MAX_EXPO_US, f"acq.expo_time = {acq.expo_time} us is too long; at most {MAX_EXPO_US} us"),
        (
            acq.latency_time <= MAX_EXPO_US,
            f"acq.latency_time = {acq.latency_time} us is too long; at most {MAX_EXPO_US} us",
        ),
        (modules <= 32, f"det.geometry has {modules} modules; at most 32"),
        (len(ids) in (0, modules), f"det.module_ids has {len(ids)} ids for {modules} modules; give one each, or none"),
        (
            len(det.receiving.cpus) in (0, 1, ports),
            f"det.receiving.cpus has {len(det.receiving.cpus)} cores for {ports} ports; give one each, one, or none",
        ),
        (
            correction.output == "raw" or bool(correction.calibration),
            f"det.correction.output = {correction.output!r} needs det.correction.calibration; give it, or take raw",
        ),
        (
            not det.running_pedestal.enabled or correction.output != "raw",
            "det.running_pedestal needs corrected images; set det.correction.output and det.correction.calibration",
        ),
        (
            not (det.pedestals.enabled and det.running_pedestal.enabled),
            "det.pedestals and det.running_pedestal cannot both be enabled",
        ),
    ]
    return [text for good, text in checks if not good]


def check(parameters: AcquisitionParameters) -> JungfrauParameters:
    """The parameters as this detector's, all checked; `ParameterError` names every fault."""
    if not isinstance(parameters, JungfrauParameters):
        raise ParameterError(f"{type(parameters).__name__} given; a Jungfrau needs JungfrauParameters")
    found = faults(parameters)
    if found:
        raise ParameterError("acquisition parameters refused: " + "; ".join(found))
    return parameters


def check_block(parameters: JungfrauParameters, dispatch: RoundRobin) -> None:
    """`ParameterError` when the control, which only has the parameters, sends frames in another way than dispatched."""
    given = parameters.xfer.block
    if dispatch.receivers > 1 and parameters.det.wire == "detector" and given != dispatch.block:
        raise ParameterError(
            f"xfer.block = {given}: the detector would send {given} frames in a row to each receiver, the accumulation "
            f"needs {dispatch.block}; leave xfer.block to the client, or set it to {dispatch.block} for all devices"
        )


def check_receivers(receivers: int, block: int) -> None:
    """`ParameterError` when the detector's table of destinations is too small; ``block``: frames in a row to each."""
    if receivers > 1 and receivers * block > MAX_RECEIVERS:
        raise ParameterError(
            f"{receivers} receivers that get {block} frames in a row each need {receivers * block} destinations; a "
            f"Jungfrau has {MAX_RECEIVERS}: lower accumulation.nb_frames to {MAX_RECEIVERS // receivers}, or have one "
            "receiver"
        )
