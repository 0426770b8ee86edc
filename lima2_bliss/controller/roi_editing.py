"""Regions drawn and edited with the mouse in Flint, on the live image of a detector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gevent
import numpy as np
from bliss.common.plot import get_flint
from bliss.common.scans import ct
from bliss.common.utils import autocomplete_property

from lima2_bliss.contract import ConnectionLostError, Lima2Error, ParameterError
from lima2_bliss.controller.counters import check_free
from lima2_bliss.controller.roi_definitions import Definition, define
from lima2_bliss.controller.roi_drawing import drawn_region, kept_regions, shape_for_display
from lima2_bliss.controller.roi_shapes import AnyRoi, ProfileRoi
from lima2_bliss.controller.rois import RoiCounters, RoiProfiles, RoiTable
from lima2_bliss.controller.sections import Sections

_log = logging.getLogger(__name__)

_KINDS = {
    RoiCounters: ("lima-rectangle", "lima-arc"),
    RoiProfiles: ("lima-vertical-profile", "lima-horizontal-profile"),
}

#: Flint that was closed is noticed within this time.
_LOOK_S = 1.0


class RoiViews:
    """`roi_counters` and `roi_profiles` of a detector object, and the ways to draw them."""

    _sections: Sections

    def _make_roi_views(self) -> None:
        for table in (self.roi_counters, self.roi_profiles):
            table.edit_with(lambda table, count_time: _edit(self, [table], count_time))

    @autocomplete_property
    def roi_counters(self) -> RoiCounters:
        """Regions whose statistics are counters."""
        return self._sections.roi_counters

    @autocomplete_property
    def roi_profiles(self) -> RoiProfiles:
        """Regions whose profiles are counters."""
        return self._sections.roi_profiles

    def edit_rois(self, count_time: float | None = None) -> None:
        """Draw, move, rename and delete ROIs and profiles in Flint; with ``count_time`` [s], on a new image.

        "Apply these ROIs" in Flint ends it; its cancel button, or Ctrl-C here, changes nothing.
        """
        _edit(self, [self.roi_counters, self.roi_profiles], count_time)

    def edit_roi_counters(self, count_time: float | None = None) -> None:
        """The same for the regions of `roi_counters` alone."""
        self.roi_counters.edit(count_time)

    def edit_roi_profiles(self, count_time: float | None = None) -> None:
        """The same for the regions of `roi_profiles` alone."""
        self.roi_profiles.edit(count_time)


def _say(text: str) -> None:
    print(text)  # noqa: T201 - it answers who is typing


def _edit(detector: Any, tables: Sequence[RoiTable[Any]], count_time: float | None) -> None:
    flint = get_flint()
    if count_time is not None:
        ct(count_time, detector.counters.image)
        flint.wait_end_of_scans()
    shape = detector.image_shape()
    if shape is None:
        raise ParameterError(
            f"{detector.name}: the size of the image is not known before a scan; take one image first, as with"
            f" {detector.name}.edit_rois(0.1)"
        )
    plot = flint.get_live_plot(image_detector=detector.name)
    _show_image(detector, flint, plot, shape)
    plot.focus()
    before: list[tuple[str, AnyRoi]] = [region for table in tables for region in table.active().items()]
    shapes = [shape_for_display(name, roi) for name, roi in before]
    kinds = [kind for table in tables for kind in _KINDS[type(table)]]
    _say(f"{detector.name}: draw in Flint, and end with 'Apply these ROIs'; Ctrl-C here changes nothing")
    while True:
        drawn = _drawn(plot, shapes, kinds)
        if drawn is None:
            _say(f"{detector.name}: cancelled, nothing is changed")
            return
        try:
            changed = _definitions(detector, tables, drawn, before, shape)
            break
        except ParameterError as error:
            _say(f"{error}; nothing is changed yet: correct it in Flint, or cancel there")
            shapes = list(drawn)
    for table, definitions in zip(tables, changed, strict=True):
        if definitions != table.definitions():
            table.replace(definitions)
        _say(table.__info__())


def _show_image(detector: Any, flint: Any, plot: Any, shape: tuple[int, int]) -> None:
    """An image of the present size is in the plot: the one there, else the newest, else an empty one."""
    if _displayed_shape(plot) == shape:
        return
    try:
        image = np.asarray(detector.last_image)
    except Lima2Error:
        image = np.empty(0)
    if image.shape != shape:
        _say(
            f"{detector.name}: there is no image with the present settings yet, an empty one is shown; for a first"
            f" image cancel, and call it with a count time, as in {detector.name}.edit_rois(0.1)"
        )
        image = np.zeros(shape, np.uint8)
    flint.set_static_image(f"{detector.name}:image", image)


def _displayed_shape(plot: Any) -> tuple[int, int] | None:
    """(height, width) of what the plot shows, None when it is empty."""
    x_range, y_range, *_ = plot.get_data_range()
    if x_range is None or y_range is None:
        return None
    return round(y_range[1] - y_range[0]), round(x_range[1] - x_range[0])


def _drawn(plot: Any, shapes: Sequence[Any], kinds: Sequence[str]) -> Sequence[Any] | None:
    """What the user makes of the shapes; None when he cancels in Flint."""

    def select() -> Any:
        try:
            return plot.select_shapes(list(shapes), kinds=list(kinds))
        except KeyboardInterrupt:
            return None  # this greenlet was ended, and has told Flint
        except RuntimeError as error:
            _log.debug("Flint: %s", error)
            return None

    task = gevent.spawn(select)
    try:
        while not task.ready():
            task.join(_LOOK_S)
            if not task.ready() and not plot.is_open():
                raise ConnectionLostError("Flint was closed; the ROIs are as they were")
        return task.get()
    finally:
        if not task.ready():
            task.kill(KeyboardInterrupt)


def _definitions(
    detector: Any,
    tables: Sequence[RoiTable[Any]],
    drawn: Sequence[Any],
    before: Sequence[tuple[str, AnyRoi]],
    image: tuple[int, int],
) -> list[dict[str, Definition[Any]]]:
    """Regions of each table after the drawing; those that were not moved stay exactly as they were given.

    One `ParameterError` names every fault.
    """
    shown = [table.definitions()[name] for table in tables for name in table.active()]
    hidden = [{name: table.definitions()[name] for name in table.left_out()} for table in tables]
    result = [dict(some) for some in hidden]  # what was not to be seen stays
    names: dict[bool, list[str]] = {False: [], True: []}
    for table in (detector.roi_counters, detector.roi_profiles):
        is_profile = isinstance(table, RoiProfiles)
        names[is_profile] += list(hidden[tables.index(table)]) if table in tables else table.keys()
    kept = kept_regions(drawn, before)
    faults = []
    for place, shape in enumerate(drawn):
        name = str(shape.name)
        try:
            if place in kept:
                definition = shown[kept[place]]
            else:
                definition = define(drawn_region(shape, image), tables[0].view())
            is_profile = isinstance(definition.roi, ProfileRoi)
            table = next(table for table in tables if isinstance(table, RoiProfiles) == is_profile)
            table.check_name(name)
            check_free(name, names[False], names[True], is_profile)
            names[is_profile].append(name)
            result[tables.index(table)][name] = definition
        except ParameterError as error:
            faults.append(str(error))
    if faults:
        raise ParameterError("; ".join(faults))
    return result
