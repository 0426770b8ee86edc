"""Checks of the legacy pipeline's parameters against each other and against the detector: one error, all faults."""

from __future__ import annotations

from collections.abc import Iterator

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_receivers.engine.plugin import PipelineSetup
from lima2_receivers.pipelines.legacy.corrections import load_corrections
from lima2_receivers.pipelines.legacy.plan import make_plan, transform_of
from lima2_receivers.pipelines.maps import load_map
from lima2_receivers.pipelines.measuring import outside, roi_faults, size_text


def check(setup: PipelineSetup) -> None:
    """Raise one `ParameterError` that names every fault."""
    faults = list(_image_faults(setup))
    if not faults:  # without an image nothing can be said of the ROIs in it
        faults += roi_faults(setup.processing, transform_of(setup).shape)
    faults += [*_frame_number_faults(setup), *_countrate_faults(setup), *_map_faults(setup)]
    if faults:
        raise ParameterError(f"parameters refused by the legacy pipeline ({len(faults)}): " + "; ".join(faults))
    load_corrections(setup, make_plan(setup))  # keeps the maps ready, so that prepare is quick


def _image_faults(setup: PipelineSetup) -> Iterator[str]:
    transform = transform_of(setup)
    raw = transform.detector_shape
    for axis, factor, size in (("x", transform.binning[0], raw[1]), ("y", transform.binning[1], raw[0])):
        if factor > size:
            what = f"the raw frame of {size_text(raw)} has only {size} pixels along {axis}"
            yield f"img.binning.{axis} = {factor}: {what}"
            return
    if transform.roi is not None:
        what = "frame" if transform.binning == (1, 1) else "binned frame"
        fault = outside(setup.acquisition.img.roi, transform.binned_shape, "img.roi", what)
        if fault:
            yield fault


def _frame_number_faults(setup: PipelineSetup) -> Iterator[str]:
    depth = setup.processing.accumulation.depth
    nb_frames = setup.acquisition.acq.nb_frames
    if nb_frames % depth:
        fewer = nb_frames - nb_frames % depth
        take = f"{fewer} or {fewer + depth}" if fewer else f"{depth}"
        yield (
            f"accumulation.nb_frames = {depth}: acq.nb_frames = {nb_frames} is not a multiple of it; take {take} frames"
        )
    if depth > 1 and setup.dispatch.receivers > 1 and setup.dispatch.block != depth:
        yield (
            f"accumulation.nb_frames = {depth}: frames are dispatched in blocks of {setup.dispatch.block}, "
            "but all frames of one sum must go to the same receiver"
        )


def _countrate_faults(setup: PipelineSetup) -> Iterator[str]:
    protection = setup.processing.max_countrate_protection
    if not protection.enabled:
        return
    if setup.acquisition.acq.trigger_mode == "gate":
        yield (
            "max_countrate_protection: the exposure time is not known when the gate sets it (acq.trigger_mode = gate); "
            "disable it or use another trigger mode"
        )
    if protection.pixel_capacity_override:
        yield "max_countrate_protection.pixel_capacity_override: not supported; leave it empty"


def _map_faults(setup: PipelineSetup) -> Iterator[str]:
    processing: LegacyParameters = setup.processing
    for name in ("mask", "background", "flatfield"):
        source = getattr(processing, name)
        if source.enabled:
            try:
                load_map(source.path, setup.input, f"{name}.path")
            except ParameterError as error:
                yield error.what
