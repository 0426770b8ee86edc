"""Statistics and profiles of regions, which every pipeline offers: their nodes, and the checks of their parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from lima2_bliss.contract import ResultStream
from lima2_bliss.contract.parameters import Profiles, Rectangle, Statistics
from lima2_receivers.engine.plugin import Node
from lima2_receivers.kernels import ArcRoi, find_regions, make_profile
from lima2_receivers.kernels.regions import RectangleRoi
from lima2_receivers.pipelines.nodes.profiles import ProfilesNode
from lima2_receivers.pipelines.nodes.statistics import StatisticsNode


class Measured(Protocol):
    """Processing parameters with regions to measure."""

    @property
    def statistics(self) -> Statistics: ...

    @property
    def profiles(self) -> Profiles: ...


def rectangle_roi(rectangle: Rectangle) -> RectangleRoi:
    """(x, y, width, height) of a rectangle parameter."""
    return rectangle.topleft.x, rectangle.topleft.y, rectangle.dimensions.x, rectangle.dimensions.y


def arc_rois(processing: Measured) -> list[ArcRoi]:
    """The arcs of the statistics."""
    return [ArcRoi(a.center.x, a.center.y, a.r1, a.r2, a.a1, a.a2) for a in processing.statistics.arc_rois]


def measuring_nodes(
    processing: Measured, shape: tuple[int, int, int], valid: np.ndarray | None, dummy: float | None = None
) -> tuple[list[Node], list[ResultStream]]:
    """Statistics and profiles of an image (channels, height, width), if any are asked for.

    ``valid`` pixels count, unless they are NaN, or integers of the value ``dummy``.
    """
    nodes: list[Node] = []
    streams: list[ResultStream] = []
    statistics, profiles = processing.statistics, processing.profiles
    if statistics.enabled and (statistics.rect_rois or statistics.arc_rois):
        rectangles = [rectangle_roi(rectangle) for rectangle in statistics.rect_rois]
        measure = StatisticsNode(find_regions(shape, rectangles, arc_rois(processing), valid), dummy)
        nodes.append(measure)
        streams.append(measure.stream)
    if profiles.enabled and profiles.rois:
        parts = zip(profiles.rois, profiles.directions, strict=True)
        bins = ProfilesNode([make_profile(shape, rectangle_roi(roi), way, valid) for roi, way in parts], dummy)
        nodes.append(bins)
        streams.append(bins.stream)
    return nodes, streams


def roi_faults(processing: Measured, shape: tuple[int, int]) -> Iterator[str]:
    """One text for each region that has no pixels in an image of ``shape`` (height, width), or is not inside it."""
    if processing.statistics.enabled:
        for index, rectangle in enumerate(processing.statistics.rect_rois):
            fault = outside(rectangle, shape, f"statistics.rect_rois[{index}]", "image")
            if fault:
                yield fault
        arcs = arc_rois(processing)
        for index, size in enumerate(find_regions((1, *shape), arcs=arcs).sizes):
            if not size:
                given = f"statistics.arc_rois[{index}] = {_arc_text(arcs[index])}"
                yield f"{given}: no pixel centre of the image of {size_text(shape)} lies in it"
    if processing.profiles.enabled:
        for index, rectangle in enumerate(processing.profiles.rois):
            fault = outside(rectangle, shape, f"profiles.rois[{index}]", "image")
            if fault:
                yield fault


def outside(rectangle: Rectangle, shape: tuple[int, int], where: str, what: str) -> str | None:
    """Fault of a rectangle that has no pixels or does not lie in ``what`` of ``shape``."""
    x, y, width, height = rectangle_roi(rectangle)
    given = f"{where} = x {x}, y {y}, {width} x {height}"
    if not width or not height:
        return f"{given}: has no pixels; give dimensions of at least 1 x 1"
    if x + width > shape[1] or y + height > shape[0]:
        where_in = f"(x from 0 to {shape[1] - 1}, y from 0 to {shape[0] - 1})"
        return f"{given}: not inside the {what} of {size_text(shape)} {where_in}"
    return None


def size_text(shape: tuple[int, int]) -> str:
    """Width x height of an image of ``shape`` (height, width)."""
    return f"{shape[1]} x {shape[0]}"


def _arc_text(arc: ArcRoi) -> str:
    return f"centre x {arc.x:g}, y {arc.y:g}, r {arc.r1:g} to {arc.r2:g}, angle {arc.a1:g} to {arc.a2:g}"
