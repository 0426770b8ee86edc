"""From settings, regions and a scan's request to the parameters that control and receivers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lima2_bliss.contract import ImageTransform, ParameterError
from lima2_bliss.contract.parameters import (
    Accumulation,
    Acquisition,
    AcquisitionParameters,
    Binning,
    Buffers,
    CountrateProtection,
    Fifo,
    Image,
    LegacyParameters,
    OptionalPath,
    Point,
    Profiles,
    Rectangle,
    Saving,
    SmxParameters,
    Statistics,
    Threads,
)
from lima2_bliss.controller.accumulation import exposures
from lima2_bliss.controller.rois import ArcRoi, ProfileRoi, RectRoi, StatisticsRoi
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    RawSelection,
    SavingSettings,
)
from lima2_bliss.controller.smx_parameters import check_smx, smx_parameters
from lima2_bliss.controller.smx_settings import SmxSettings

#: Parameters of any pipeline.
PipelineParameters = LegacyParameters | SmxParameters


@dataclass(frozen=True)
class DetectorState:
    """All settings of a detector at one moment; ``detector`` is the ``det`` tree of its own parameters."""

    acquisition: AcquisitionSettings
    image: ImageSettings
    processing: ProcessingSettings
    saving: SavingSettings
    smx: SmxSettings = field(default_factory=SmxSettings)
    detector: Mapping[str, Any] = field(default_factory=dict)
    rois: Mapping[str, StatisticsRoi] = field(default_factory=dict)
    profiles: Mapping[str, ProfileRoi] = field(default_factory=dict)

    def roi_order(self) -> list[str]:
        """Names of the ROIs as the pipeline orders their rows: rectangles, then arcs."""
        return [n for n, r in self.rois.items() if isinstance(r, RectRoi)] + [
            n for n, r in self.rois.items() if isinstance(r, ArcRoi)
        ]

    def transform(self, detector_shape: tuple[int, int]) -> ImageTransform:
        """The way from the detector's pixels, (height, width), to those of the image."""
        image = self.image
        return ImageTransform(detector_shape, image.binning, image.roi, image.flip, image.rotation)


def check_image(image: ImageSettings, detector_shape: tuple[int, int]) -> None:
    """`ParameterError` when the image settings do not fit a detector of (height, width)."""
    transform = ImageTransform(detector_shape, image.binning)
    height, width = transform.binned_shape
    if height < 1 or width < 1:
        raise ParameterError(
            f"binning {image.binning} is larger than the detector of {detector_shape[1]} x {detector_shape[0]} pixels"
        )
    if image.roi is not None:
        RectRoi(*image.roi).check_inside("image.roi", (height, width))


#: An endless acquisition ends when its session has not looked at it for so long [s].
UNWATCHED_S = 60.0


def acquisition_parameters(state: DetectorState, request: ScanRequest) -> dict[str, Any]:
    """Parameters of control and receivers: an image may have several exposures that share its count time."""
    each = exposures(state, request)
    image = state.image
    roi = image.roi or (0, 0, 0, 0)
    parameters = AcquisitionParameters(
        acq=Acquisition(
            nb_frames=request.nb_images * each.number,
            expo_time=each.exposure_us,
            latency_time=each.latency_us,
            trigger_mode=request.trigger,
            nb_frames_per_trigger=request.images_per_trigger * each.number,
            # a session that dies must not leave a detector that fills the disk
            watched_within=UNWATCHED_S if request.endless else 0,
        ),
        img=Image(
            binning=Binning(x=image.binning[0], y=image.binning[1]),
            roi=Rectangle(topleft=Point(x=roi[0], y=roi[1]), dimensions=Point(x=roi[2], y=roi[3])),
            flip=image.flip,
            rotation=image.rotation,
        ),
    )
    values = parameters.model_dump(mode="json", include={"acq", "img"})
    if state.detector:
        values["det"] = dict(state.detector)
    return values


def _path(path: str | None) -> OptionalPath:
    return OptionalPath(enabled=path is not None, path=path or "")


def check_pipeline(name: str, state: DetectorState) -> None:
    """`ParameterError` when the settings of detector ``name`` are not possible with the pipeline chosen."""
    if state.processing.pipeline == "smx":
        check_smx(name, state.smx, state.image, state.processing)
    elif state.saving.raw == "hits":
        raise ParameterError(
            f"{name}: saving.raw = 'hits' needs a pipeline that finds hits; choose processing.pipeline = 'smx', or"
            " saving.raw = 'all' or 'none'"
        )


def processing_parameters(state: DetectorState, saving: Saving | None) -> PipelineParameters:
    """Parameters of the pipeline chosen; ``saving`` None saves nothing."""
    if state.processing.pipeline == "smx":
        raw = state.saving.raw
        return smx_parameters(state.smx, state.processing, _statistics(state), _profiles(state), saving, raw)
    return _legacy_parameters(state, saving)


def trial_parameters(state: DetectorState) -> PipelineParameters:
    """Parameters for the devices to check before it is known where files go; nothing is written with them."""
    made = processing_parameters(state, None)
    if state.saving.enabled and state.saving.raw != "none":
        made.saving_raw.enabled = True  # not every detector has raw frames
    return made


def pipeline_parameters(values: Mapping[str, Any]) -> PipelineParameters:
    """The model of parameters that an acquisition was prepared with."""
    smx = values.get("class_name") == SmxParameters.model_fields["class_name"].default
    return SmxParameters.model_validate(values) if smx else LegacyParameters.model_validate(values)


def image_section(processing: PipelineParameters) -> Saving:
    """Where the full frames are saved."""
    return processing.saving_dense if isinstance(processing, SmxParameters) else processing.saving


def raw_saving(saving: Saving | None, raw: RawSelection) -> dict[str, Saving]:
    """The section ``saving_raw`` if raw frames are saved: beside the images, with ``raw_frame`` after their prefix."""
    if saving is None or raw == "none":
        return {}
    return {"saving_raw": saving.model_copy(update={"filename_prefix": f"{saving.filename_prefix}_raw_frame"})}


def _statistics(state: DetectorState) -> Statistics:
    order = state.roi_order()
    rects = [roi.rectangle() for name in order if isinstance(roi := state.rois[name], RectRoi)]
    arcs = [roi.arc() for name in order if isinstance(roi := state.rois[name], ArcRoi)]
    return Statistics(enabled=bool(order), rect_rois=rects, arc_rois=arcs)


def _profiles(state: DetectorState) -> Profiles:
    profiles: Sequence[ProfileRoi] = list(state.profiles.values())
    return Profiles(
        enabled=bool(profiles),
        rois=[profile.rectangle() for profile in profiles],
        directions=[profile.direction for profile in profiles],
    )


def _legacy_parameters(state: DetectorState, saving: Saving | None) -> LegacyParameters:
    settings = state.processing
    return LegacyParameters(
        fifo=Fifo(nb_fifo_frames=settings.nb_fifo_frames),
        buffers=Buffers(
            nb_frames_buffer=settings.nb_frames_buffer, nb_input_frames_buffer=settings.nb_input_frames_buffer
        ),
        thread=Threads(nb_threads=settings.nb_threads),
        accumulation=Accumulation(enabled=settings.accumulation > 1, nb_frames=settings.accumulation),
        mask=_path(settings.mask),
        background=_path(settings.background),
        flatfield=_path(settings.flatfield),
        statistics=_statistics(state),
        profiles=_profiles(state),
        max_countrate_protection=CountrateProtection(
            enabled=settings.max_countrate is not None, max_countrate=settings.max_countrate or 100_000
        ),
        saving=saving or Saving(),
        **raw_saving(saving, state.saving.raw),
    )


def check_capabilities(
    name: str, request: ScanRequest, parameters: Mapping[str, Any], limits: Mapping[str, Any]
) -> None:
    """One `ParameterError` naming all that the detector cannot do; ``limits`` is its ``det_capabilities``."""
    faults = []
    acq = parameters["acq"]
    for key, what in (("expo_time", "exposure"), ("latency_time", "latency time")):
        bounds = limits.get(f"{key}_range")
        if bounds and not bounds[0] <= acq[key] * 1000 < bounds[1]:
            faults.append(
                f"{what} {acq[key] * 1e-6:g} s is out of range ({bounds[0] * 1e-9:g} to {bounds[1] * 1e-9:g} s)"
            )
    modes = limits.get("trigger_modes")
    if modes and request.trigger not in modes:
        faults.append(f"trigger mode {request.trigger!r} is not supported (supported: {', '.join(modes)})")
    bounds = limits.get("nb_frames_per_trigger_range")
    per_trigger = acq["nb_frames_per_trigger"]
    if bounds and not bounds[0] <= per_trigger <= bounds[1]:
        faults.append(f"{per_trigger} frames per trigger are out of range ({bounds[0]} to {bounds[1]})")
    if faults:
        raise ParameterError(f"{name}: " + "; ".join(faults))
