"""A motor at constant speed while a detector takes images: what is asked for, checked, and the scan of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from bliss import is_bliss_shell
from bliss.scanning.chain import AcquisitionChain
from bliss.scanning.scan import Scan
from bliss.scanning.scan_info import ScanInfo
from bliss.scanning.toolbox import ChainBuilder

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.accumulation import exposures
from lima2_bliss.controller.channels import PublishedChannel
from lima2_bliss.controller.line import Line, check_line
from lima2_bliss.controller.lines_master import LinesMaster, Sweep
from lima2_bliss.controller.progress import ImagesProgress
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.publishing.streams import FRAME_FLAGS, FRAME_INDEX, TIMESTAMP

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector

SweepTrigger = Literal["internal", "position"]

#: Time that software needs for each image that it triggers, beside exposure and dead time [s].
SOFTWARE_TRIGGER_S = 0.02


@dataclass(frozen=True)
class LineRequest:
    """Images of a line as the user asks for them; speed [motor unit/s] and latency_time [s] None: as fits."""

    start: float
    stop: float
    nb_images: int
    expo_time: float
    speed: float | None = None
    latency_time: float | None = None
    trigger: SweepTrigger = "internal"

    def __post_init__(self) -> None:
        if isinstance(self.nb_images, bool) or int(self.nb_images) != self.nb_images or self.nb_images < 1:
            raise ParameterError(f"{self.nb_images!r} images on a line are not possible; allowed: 1, 2, ...")
        if not self.expo_time > 0:
            raise ParameterError(f"expo_time = {self.expo_time!r} s must be above 0")
        if self.start == self.stop:
            raise ParameterError(f"start and stop are both {self.start:g}; a line needs a length")
        if self.speed is not None and not self.speed > 0:
            raise ParameterError(f"speed = {self.speed!r} must be above 0; the direction follows from start and stop")
        if self.latency_time is not None and self.latency_time < 0:
            raise ParameterError(f"latency_time = {self.latency_time!r} s must not be below 0")
        if self.trigger not in get_args(SweepTrigger):
            raise ParameterError(
                f"trigger {self.trigger!r} is not possible; allowed: {', '.join(get_args(SweepTrigger))}"
            )


@dataclass(frozen=True)
class LinePlan:
    """How a line is taken: the movement, and the dead time that makes the detector's rate fit it [s]."""

    line: Line
    latency_time: float


def plan_line(detector: Lima2Detector, request: LineRequest) -> LinePlan:
    """The movement and timing of a line; `ParameterError` when exposures, dead times and speed do not go together."""
    state = detector.settings_now()
    latency_s = state.acquisition.latency_time if request.latency_time is None else request.latency_time
    each = exposures(state, _scan_request(request, latency_s))
    step = abs(request.stop - request.start) / request.nb_images
    software_s = SOFTWARE_TRIGGER_S if request.trigger == "position" else 0.0
    period_s = each.real_s + software_s if request.speed is None else step / request.speed
    if period_s < each.real_s - 1e-6:
        raise ParameterError(
            f"{detector.name}: at a speed of {request.speed:g} the motor is at the next image after {period_s:g} s, but"
            f" an image takes {each.real_s:g} s ({each.number} x {each.exposure_us * 1e-6:g} s of exposure and"
            f" {each.latency_us * 1e-6:g} s of dead time); lower the speed to {step / each.real_s:g}, or count shorter"
        )
    if request.trigger == "internal" and period_s > each.real_s:
        if each.counts_dead_time:
            raise ParameterError(
                f"{detector.name}: with processing.accumulation_time = 'real' an image takes its count time,"
                f" {request.expo_time:g} s, but the motor is at the next one after {period_s:g} s; set the speed to"
                f" {step / request.expo_time:g}, or accumulation_time = 'live'"
            )
        # the detector waits longer after each exposure, so that its rate fits the speed
        latency_s = period_s / each.number - each.exposure_us * 1e-6
        each = exposures(state, _scan_request(request, latency_s))
        period_s = each.real_s
    line = Line(request.start, request.stop, int(request.nb_images), period_s, each.span_s)
    return LinePlan(line, latency_s)


def _scan_request(request: LineRequest, latency_s: float) -> ScanRequest:
    return ScanRequest(request.nb_images, request.expo_time, "software", request.nb_images, latency_s)


def sweep_scan(
    detector: Lima2Detector,
    motor: Any,
    request: LineRequest,
    counters: Sequence[Any] = (),
    save: bool = True,
    run: bool = True,
) -> Scan:
    """The scan of `sweep`; everything that can be wrong is found before it starts."""
    plan = plan_line(detector, request)
    check_line(f"{detector.name}.sweep", motor, plan.line)
    words = [motor.name, f"{request.start:g}", f"{request.stop:g}", str(request.nb_images), f"{request.expo_time:g}"]
    if request.trigger != "internal":
        words.append(f"trigger={request.trigger!r}")
    info = ScanInfo()
    info.update({"type": "sweep", "title": f"{detector.name}.sweep({', '.join(words)})"})
    info.update({"start": [request.start], "stop": [request.stop]})
    at_each = request.trigger == "position"
    master = LinesMaster(motor, None, [Sweep(plan.line)], at_each)
    info.set_channel_meta(
        f"axis:{motor.name}",
        start=request.start,
        stop=request.stop,
        points=request.nb_images,
        group=None if at_each else detector.name,
    )
    scan = lines_scan(detector, master, request, plan, counters, info, save)
    add_curve(scan, motor.name)
    if run:
        scan.run()
    return scan


def add_curve(scan: Scan, motor: str) -> None:
    """Have Flint draw the first number of the detector that is no status, over the position of the motor."""
    numbers = [
        channel.fullname
        for node in scan.acq_chain.nodes_list
        for channel in node.channels
        if isinstance(channel, PublishedChannel) and channel.echoed and not channel.shape
        if channel.counter_name not in (FRAME_INDEX, FRAME_FLAGS, TIMESTAMP)
    ]
    scan.scan_info.add_curve_plot(x=f"axis:{motor}", yleft=numbers[:1] or None)


def lines_scan(
    detector: Lima2Detector,
    master: LinesMaster,
    request: LineRequest,
    plan: LinePlan,
    counters: Sequence[Any],
    info: ScanInfo,
    save: bool,
) -> Scan:
    """The scan of lines: the detector below the master that moves the motors."""
    chain = AcquisitionChain(parallel_prepare=True)
    for node in ChainBuilder(counters or (detector,)).get_top_level_nodes():
        if node.controller is not detector:
            raise ParameterError(
                f"{info['type']} takes images of {detector.name} alone, not counters of {node.controller.name}, which"
                " have no time of their own for each image"
            )
        node.set_parameters(
            acq_params={
                "acq_nb_frames": master.npoints,
                "acq_expo_time": request.expo_time,
                "acq_trigger_mode": "software",
                "acq_frames_per_point": 1 if request.trigger == "position" else plan.line.nb_images,
                "latency_time": plan.latency_time,
            }
        )
        chain.add(master, node)
    values: Mapping[str, Any] = {"save": save, "npoints": master.npoints, "count_time": request.expo_time}
    info.update(values)
    progress = ImagesProgress() if is_bliss_shell() else None
    return Scan(chain, name=info["type"], scan_info=info, save=save, scan_progress=progress)
