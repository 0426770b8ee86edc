"""Regions as their user gave them, and where they are on the images of the present settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.roi_geometry import ImageView, Way, way
from lima2_bliss.controller.roi_shapes import AnyRoi, ArcRoi, ProfileRoi, RectRoi, from_plain, to_plain
from lima2_bliss.controller.settings_models import ImageSettings

Roi = TypeVar("Roi", bound=AnyRoi)


@dataclass(frozen=True)
class Placed(Generic[Roi]):
    """A region in pixels of the present image; ``fault`` says why it gives no counters now."""

    roi: Roi
    fault: str = ""


@dataclass(frozen=True)
class Definition(Generic[Roi]):
    """A region as it was given, in pixels of images made as ``image`` says. It never changes with the settings."""

    roi: Roi
    image: ImageView

    def placed(self, now: ImageView) -> Placed[Roi]:
        """Where it is on images as they are ``now``."""
        if self.image.looks_like(now):
            return _checked(self.roi, now.shape)
        step = way(self.image, now)
        if step is None:
            return Placed(self.roi, "where it is now cannot be told before the size of the detector is known")
        roi = _moved(self.roi, step)
        if isinstance(self.roi, ArcRoi) and not step.keeps_circles:
            return Placed(roi, f"no ring with binning {now.binning}, as it was given with binning {self.image.binning}")
        return _checked(roi, step.now.shape if now.shape is not None or self.image.detector_shape else None)


def _checked(roi: Roi, shape: tuple[int, int] | None) -> Placed[Roi]:
    if shape is None or roi.is_on(shape):
        return Placed(roi)
    part = "" if isinstance(roi, ArcRoi) else "wholly "
    return Placed(roi, f"not {part}on the image of {shape[1]} x {shape[0]} pixels (width x height)")


def _moved(roi: Any, step: Way) -> Any:
    if isinstance(roi, ArcRoi):
        mirrored = roi.mirrored != step.mirrors
        radii = roi.r1 * step.scale, roi.r2 * step.scale
        return ArcRoi(*step.point(roi.cx, roi.cy), *radii, *step.angles(roi.a1, roi.a2), mirrored)
    rectangle = step.rectangle((roi.x, roi.y, roi.width, roi.height))
    if isinstance(roi, RectRoi):
        return RectRoi(*rectangle)
    turned = "horizontal" if roi.direction == "vertical" else "vertical"
    return ProfileRoi(*rectangle, turned if step.turns else roi.direction)  # type: ignore[arg-type]


def view_of(image: ImageSettings, detector_shape: tuple[int, int] | None) -> ImageView:
    """What image settings make of raw frames of (height, width)."""
    return ImageView(image.binning, image.roi, image.flip, image.rotation, detector_shape)


def define(roi: Roi, image: ImageView) -> Definition[Roi]:
    """A region given in pixels of this image; of the detector's size only what is needed is kept."""
    kept = image.detector_shape if image.needs_shape else None
    return Definition(roi, ImageView(image.binning, image.roi, image.flip, image.rotation, kept))


def definition_to_plain(definition: Definition[Any]) -> dict[str, Any]:
    """Plain values: the shape, and under ``image`` what differs from full raw frames."""
    image, plain_image = definition.image, ImageView()
    given: dict[str, Any] = {}
    for name in ("binning", "roi", "flip", "rotation", "detector_shape"):
        value = getattr(image, name)
        if value != getattr(plain_image, name):
            given[name] = list(value) if isinstance(value, tuple) else value
    return to_plain(definition.roi) | {"image": given}


def definition_from_plain(name: str, plain: Mapping[str, Any], image: ImageView) -> Definition[Any]:
    """The definition of `definition_to_plain`; one without ``image`` was given on images like ``image``."""
    roi = from_plain(name, plain)
    given = plain.get("image")
    if given is None:
        return define(roi, image)
    values = dict(given)
    size = values.pop("detector_shape", None)
    try:
        settings = ImageSettings.model_validate(values)
    except ValidationError:
        raise ParameterError(f"ROI {name!r}: image settings {dict(given)} are not as to_dict() gives them") from None
    return Definition(roi, view_of(settings, None if size is None else (int(size[0]), int(size[1]))))
