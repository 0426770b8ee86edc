"""From raw frames of a Jungfrau to the images that pipelines get: assembled, or corrected to photons or energy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameInfo, ParameterError
from lima2_receivers.detectors.jungfrau.calibrations import (
    ReadyCalibration,
    forget_tracked,
    masked_image,
    ready_calibration,
    tracked_pedestals,
)
from lima2_receivers.detectors.jungfrau.image_node import ImageNode
from lima2_receivers.detectors.jungfrau.packets import MISSING_PIXEL
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.pedestal_nodes import pedestal_work, running_pedestal_work
from lima2_receivers.detectors.jungfrau.pixel_totals import PixelTotals
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import Conditioning, ConditioningNodes, ReceiverSetup
from lima2_receivers.kernels.jungfrau import Assembler, Corrector, warm_up_jungfrau
from lima2_receivers.kernels.jungfrau_layout import Layout
from lima2_receivers.kernels.jungfrau_opencl import OpenclCorrector
from lima2_receivers.kernels.jungfrau_types import Output, StageMaps, output
from lima2_receivers.kernels.opencl_devices import device_faults, gpu_available

logger = logging.getLogger(__name__)


def make_conditioning(parameters: JungfrauParameters) -> Conditioning:
    """How frames of these parameters become images; quick, but for the first time with a calibration.

    `ParameterError` when the calibration does not fit, or the OpenCL device that is asked for cannot be used.
    """
    return _assembly(parameters) if parameters.det.correction.output == "raw" else _correction(parameters)


# --- raw pixels as an image -----------------------------------------------------------------------------------------

_gaps = lru_cache(maxsize=4)(masked_image)


def _assembly(parameters: JungfrauParameters) -> Conditioning:
    det = parameters.det
    layout = det.geometry.layout

    def build(pool: BufferPool, setup: ReceiverSetup) -> ConditioningNodes:
        forget_tracked(setup.rank)
        warm_up_jungfrau(())
        ordered, last = pedestal_work(parameters, setup)
        assembler = Assembler(layout, MISSING_PIXEL, det.correction.threads_per_frame)

        def assemble(stack: np.ndarray, out: np.ndarray, high_gain: bool) -> None:
            assembler(stack, out)

        return ConditioningNodes(_image_node(parameters, pool, assemble), ordered, last, assembler.close)

    marks = {"missing": MISSING_PIXEL, "gap": MISSING_PIXEL}
    return Conditioning(
        image=_info(layout, np.dtype("<u2")),
        build=build,
        masked=_gaps(layout),
        dummy=float(MISSING_PIXEL),
        ahead=det.receiving.window,
        metadata=_metadata(parameters, marks, {"unit": "raw"}),
    )


# --- photons or energy ----------------------------------------------------------------------------------------------


def _correction(parameters: JungfrauParameters) -> Conditioning:
    det, correction = parameters.det, parameters.det.correction
    layout, ready = det.geometry.layout, ready_calibration(parameters)
    if correction.backend == "opencl":
        faults = device_faults(correction.device, "det.correction.device")
        if faults:
            raise ParameterError(f"det.correction.backend = 'opencl': {'; '.join(faults)}")
    assert correction.output != "raw"
    kind = output(correction.output)

    def build(pool: BufferPool, setup: ReceiverSetup) -> ConditioningNodes:
        warm_up_jungfrau((correction.output,))  # type: ignore[arg-type]
        tracked = tracked_pedestals(ready, parameters, setup.rank)
        normal, high = ready.maps, ready.high_gain
        if tracked is not None and det.high_gain:
            high = tracked.maps
        elif tracked is not None:
            normal = tracked.maps
        ordered, last = pedestal_work(parameters, setup)
        corrector = _corrector(parameters, layout, normal, high, kind)
        if tracked is not None:
            renew = partial(corrector.renew, 0) if isinstance(corrector, OpenclCorrector) else None
            ordered, last = running_pedestal_work(parameters, setup, ready, tracked, renew)

        totals = PixelTotals()

        def correct(stack: np.ndarray, out: np.ndarray, high_gain: bool) -> None:
            if high_gain and high is None:
                raise AcquisitionError(
                    f"frames are in high-gain mode, and {correction.calibration} has no maps HG0: take pedestals in "
                    "high-gain mode, or set the detector to det.high_gain = false"
                )
            totals.add(corrector(stack, out, high_gain)[1])

        return ConditioningNodes(_image_node(parameters, pool, correct), ordered, last, corrector.close, totals.read)

    return Conditioning(
        image=_info(layout, kind.dtype),
        build=build,
        masked=ready.masked(layout),
        dummy=None if kind.dtype.kind == "f" else kind.masked,
        ahead=det.receiving.window,
        metadata=_metadata(parameters, _marks(kind), _described(ready, parameters)),
    )


def _corrector(
    parameters: JungfrauParameters, layout: Layout, normal: StageMaps, high: StageMaps | None, kind: Output
) -> Corrector | OpenclCorrector:
    correction = parameters.det.correction
    if correction.backend == "opencl" or (correction.backend == "auto" and gpu_available()):
        try:
            return OpenclCorrector(layout, normal, kind, high, correction.device)
        except ParameterError as error:
            if correction.backend == "opencl":
                raise
            logger.warning("the GPU is not used, frames are corrected on the CPU: %s", error)
    return Corrector(layout, normal, kind, high, correction.threads_per_frame)


# --- both -----------------------------------------------------------------------------------------------------------


def _image_node(
    parameters: JungfrauParameters, pool: BufferPool, convert: Callable[[np.ndarray, np.ndarray, bool], None]
) -> ImageNode:
    det = parameters.det
    shape = det.geometry.layout.stack_shape
    return ImageNode(pool, shape, convert, det.receiving.incomplete == "pass", det.high_gain)


def _info(layout: Layout, dtype: np.dtype) -> FrameInfo:
    return FrameInfo(1, *layout.image_shape, dtype)


def _marks(kind: Output) -> dict[str, float | str]:
    """What stands for pixels without a value, as JSON can hold it: nan and inf as words."""
    named = {name: getattr(kind, name) for name in ("masked", "missing", "saturated", "error", "gap")}
    return {name: int(value) if np.isfinite(value) else str(value) for name, value in named.items()}


def _described(ready: ReadyCalibration, parameters: JungfrauParameters) -> dict[str, Any]:
    correction = parameters.det.correction
    energy = {"photon_kev": correction.photon_kev} if correction.unit == "photons" else {}
    running = {"running_pedestal": parameters.det.running_pedestal.model_dump(mode="json")}
    return {
        "unit": correction.unit,
        **energy,
        "calibration": {
            "path": ready.version[0],
            "taken_at": ready.taken_at.isoformat(),
            "serial": ready.serial,
            "module_ids": list(ready.module_ids),
        },
        **(running if parameters.det.running_pedestal.enabled else {}),
    }


def _metadata(parameters: JungfrauParameters, marks: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    det = parameters.det
    return {
        "detector": "Jungfrau",
        "output": det.correction.output,
        "geometry": det.geometry.model_dump(mode="json"),
        "marks": dict(marks),
        **more,
    }
