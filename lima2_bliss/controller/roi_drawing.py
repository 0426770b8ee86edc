"""Regions as Flint draws them, and back: borders of pixels are at whole numbers there, centres of pixels at halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bliss.controllers.lima import roi as flint_rois

from lima2_bliss.controller.roi_shapes import AnyRoi, ArcRoi, ProfileRoi, RectRoi, arc_from, profile_from, rect_from

#: Pixels and degrees: less is a rounding of Flint.
_SAME = 1e-6
#: Decimals kept of pixels and degrees that were drawn.
_DIGITS = 3
#: From the centre of a pixel, as arcs count, to its border.
_HALF = 0.5


def shape_for_display(name: str, roi: AnyRoi) -> Any:
    """The region as Flint takes it."""
    if isinstance(roi, ArcRoi):
        return flint_rois.ArcRoi(roi.cx + _HALF, roi.cy + _HALF, roi.r1, roi.r2, roi.a1, roi.a2, name)
    if isinstance(roi, ProfileRoi):
        return flint_rois.RoiProfile(roi.x, roi.y, roi.width, roi.height, roi.direction, name)
    return flint_rois.Roi(roi.x, roi.y, roi.width, roi.height, name)


def drawn_region(shape: Any, image: tuple[int, int]) -> AnyRoi:
    """The region that was drawn on an image of (height, width); what a rectangle has beyond its border is cut off.

    `ParameterError` when nothing is left of it.
    """
    name = str(shape.name)
    if isinstance(shape, flint_rois.ArcRoi):
        cx, cy, r1, r2 = (round(value, _DIGITS) for value in (shape.cx - _HALF, shape.cy - _HALF, shape.r1, shape.r2))
        first, span = round(shape.a1 % 360, _DIGITS), round(min(shape.a2 - shape.a1, 360.0), _DIGITS)
        arc = arc_from(name, (cx, cy, r1, r2, first, first + span))
        arc.check_inside(name, image)
        return arc
    left, top = max(shape.x, 0), max(shape.y, 0)
    right, bottom = min(shape.x + shape.width, image[1]), min(shape.y + shape.height, image[0])
    whole = right > left and bottom > top
    numbers = (left, top, right - left, bottom - top) if whole else (shape.x, shape.y, shape.width, shape.height)
    if isinstance(shape, flint_rois.RoiProfile):
        roi: RectRoi | ProfileRoi = profile_from(name, numbers, shape.mode)
    else:
        roi = rect_from(name, numbers)
    roi.check_inside(name, image)
    return roi


def is_same(shape: Any, roi: AnyRoi) -> bool:
    """True when the user has left a region where it was."""
    drawn = shape_for_display(str(shape.name), roi)
    if type(drawn) is not type(shape):
        return False
    now, before = shape.get_params(), drawn.get_params()
    return getattr(shape, "mode", None) == getattr(drawn, "mode", None) and all(
        abs(one - other) < _SAME for one, other in zip(now, before, strict=True)
    )


def kept_regions(shapes: Sequence[Any], before: Sequence[tuple[str, AnyRoi]]) -> dict[int, int]:
    """Which of the ``shapes`` are regions (name, region) of ``before`` that were not moved: place there to place here.

    A region that was only renamed is found by where it is.
    """
    kept: dict[int, int] = {}
    free = list(range(len(before)))
    for by_name in (True, False):
        for place, shape in enumerate(shapes):
            matches = (
                index
                for index in free
                if is_same(shape, before[index][1]) and (not by_name or before[index][0] == str(shape.name))
            )
            if place not in kept and (found := next(matches, None)) is not None:
                kept[place] = found
                free.remove(found)
    return kept
