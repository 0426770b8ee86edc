"""What the legacy pipeline will do with a frame: window, geometry and pixel types that follow from the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import FrameInfo, ImageTransform
from lima2_bliss.contract.parameters import LegacyParameters, Rectangle
from lima2_receivers.engine.plugin import PipelineSetup
from lima2_receivers.kernels import Placement, corrected_dtype, placement_of, sum_dtype
from lima2_receivers.kernels.regions import RectangleRoi
from lima2_receivers.kernels.widening import sum_dummy
from lima2_receivers.pipelines.measuring import rectangle_roi


def transform_of(setup: PipelineSetup) -> ImageTransform:
    """The image geometry of an acquisition; an image ROI of 0 x 0 is the full frame."""
    image = setup.acquisition.img
    return ImageTransform(
        detector_shape=(setup.input.height, setup.input.width),
        binning=(image.binning.x, image.binning.y),
        roi=rectangle_roi(image.roi) if image.roi != Rectangle() else None,
        flip=image.flip,
        rotation=image.rotation,
    )


@dataclass(frozen=True)
class Plan:
    """Order of work: dark, flat and mask on the window of the raw frame, binning, flip and rotation, accumulation.

    ``window`` is (x, y, width, height) in raw pixels: all that ends up in the image. ``corrected``, ``image`` and
    ``output`` are the frames after correction, geometry and accumulation; ``dummies``: what marks integer pixels
    without a value before these three steps and after the last, None where there are none or they are not a number.
    """

    transform: ImageTransform
    placement: Placement
    window: RectangleRoi
    correcting: bool
    depth: int
    corrected: FrameInfo
    image: FrameInfo
    output: FrameInfo
    dummies: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)

    @property
    def needs_geometry(self) -> bool:
        """False when the corrected (or raw) frame already is the image."""
        moved = self.placement != Placement(False, False, False) or self.transform.binning != (1, 1)
        return moved or (not self.correcting and not self.transform.is_identity)


def make_plan(setup: PipelineSetup) -> Plan:
    """The plan of parameters that have no fault."""
    processing: LegacyParameters = setup.processing
    raw = setup.input
    transform = transform_of(setup)
    bin_x, bin_y = transform.binning
    x, y = (0, 0) if transform.roi is None else transform.roi[:2]
    rows, columns = transform.cropped_shape
    window = (x * bin_x, y * bin_y, columns * bin_x, rows * bin_y)

    scaling = processing.background.enabled or processing.flatfield.enabled
    correcting = scaling or processing.mask.enabled
    first_type = corrected_dtype(raw.dtype) if scaling else raw.dtype
    depth = processing.accumulation.depth
    pixels = bin_x * bin_y
    height, width = transform.shape

    def frames(shape: tuple[int, int], dtype: np.dtype) -> FrameInfo:
        return FrameInfo(raw.nb_channels, *shape, dtype)

    corrected, image, output = first_type, sum_dtype(first_type, pixels), sum_dtype(first_type, pixels * depth)
    after_correction = None if first_type.kind == "f" else setup.dummy
    after_geometry = _summed(after_correction, image) if pixels > 1 else after_correction
    after_sum = _summed(after_geometry, output) if depth > 1 else after_geometry
    return Plan(
        transform=transform,
        placement=placement_of(transform),
        window=window,
        correcting=correcting,
        depth=depth,
        corrected=frames((window[3], window[2]), corrected),
        image=frames((height, width), image),
        output=frames((height, width), output),
        dummies=(setup.dummy, after_correction, after_geometry, after_sum),
    )


def _summed(dummy: float | None, dtype: np.dtype) -> float | None:
    return None if dummy is None or dtype.kind == "f" else sum_dummy(dtype)
