"""Named regions of interest of a detector, kept over sessions; they follow the image settings."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.roi_geometry import ImageView
from lima2_bliss.controller.counters import statistics_names
from lima2_bliss.controller.roi_definitions import (
    Definition,
    Placed,
    define,
    definition_from_plain,
    definition_to_plain,
)
from lima2_bliss.controller.roi_shapes import (
    ArcRoi,
    Direction,
    Numbers,
    ProfileRoi,
    RectRoi,
    StatisticsRoi,
    arc_from,
    profile_from,
    rect_from,
)
from lima2_bliss.controller.settings import Plan, TextStore

__all__ = [
    # shapes
    "ArcRoi",
    "Direction",
    "ProfileRoi",
    "RectRoi",
    "StatisticsRoi",
    # tables
    "RoiCounters",
    "RoiProfiles",
    "RoiTable",
]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Roi = TypeVar("Roi", RectRoi | ArcRoi, ProfileRoi)


class RoiTable(Generic[Roi]):
    """Regions by name, kept over sessions. ``view()`` tells how images are made with the present settings.

    Each region keeps the numbers that it was given with, and the image settings of that moment. What is read here are
    its coordinates on images of the present settings; a region that is not on them is left out of scans until it is.
    ``claim(name)`` raises when the name cannot be used; ``on_change`` is called after each change.
    """

    _what = "ROI"

    def __init__(
        self,
        title: str,
        store: TextStore,
        view: Callable[[], ImageView],
        claim: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._title = title
        self._store = store
        self._view = view
        self._claim = claim
        self._on_change = on_change
        self._editor: Callable[[RoiTable[Any], float | None], None] | None = None
        self._followed: dict[str, Placed[Roi]] = {}
        self._rois: dict[str, Definition[Roi]] = self._load()

    def _load(self) -> dict[str, Definition[Roi]]:
        text = self._store.get()
        rois: dict[str, Definition[Roi]] = {}
        try:
            stored = json.loads(text or "{}")
            for name, plain in stored.items():
                rois[name] = definition_from_plain(name, plain, ImageView() if "image" in plain else self._view())
            if any("image" not in plain for plain in stored.values()):
                self._store.set(json.dumps(_plain(rois)))  # of an older version: given on images as they are now
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("%s: the stored ROIs are unreadable and were dropped: %s", self._title, text)
        return rois

    def check_name(self, name: str) -> None:
        """`ParameterError` unless the name has the right letters."""
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{self._what} name {name!r}: use letters, digits and _, a letter first")

    def _put(self, name: str, roi: Roi) -> None:
        self.check_name(name)
        if name not in self._rois:
            self._claim(name)
        view = self._view()
        if view.shape is not None:
            roi.check_inside(name, view.shape)
        self._rois[name] = define(roi, view)
        self._changed()

    def _changed(self) -> None:
        self._store.set(json.dumps(self.to_dict()))
        self._on_change()

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """All regions by name, as plain values: the numbers as they were given, and the image settings of then."""
        return _plain(self._rois)

    def view(self) -> ImageView:
        """How images are made with the present settings."""
        return self._view()

    def definitions(self) -> dict[str, Definition[Roi]]:
        """All regions by name, as they were given."""
        return dict(self._rois)

    def placed(self) -> dict[str, Placed[Roi]]:
        """All regions by name, in pixels of the present image."""
        if not self._rois:
            return {}
        view = self._view()
        return {name: definition.placed(view) for name, definition in self._rois.items()}

    def active(self) -> dict[str, Roi]:
        """The regions that give counters now, in pixels of the present image."""
        return {name: placed.roi for name, placed in self.placed().items() if not placed.fault}

    def left_out(self) -> dict[str, str]:
        """The regions that give no counters now, and why."""
        return {name: placed.fault for name, placed in self.placed().items() if placed.fault}

    def follow(self) -> bool:
        """Note where the regions are now: True when that is new. Warns of those that are left out from now on."""
        placed = self.placed()
        for name, one in placed.items():
            before = self._followed.get(name)
            if one.fault and (before is None or before.fault != one.fault):
                _log.warning(
                    "%s: %r (%s) is left out of scans: %s; it comes back with other image settings",
                    *(self._title, name, one.roi, one.fault),
                )
        new, self._followed = placed != self._followed, placed
        return new

    def counter_names(self, name: str) -> list[str]:
        """Counters that a region gives."""
        return statistics_names(name)

    def plan(self, regions: Mapping[str, Mapping[str, Any]], view: ImageView) -> Plan[dict[str, Roi]]:
        """Check regions as `to_dict` gives them, instead of all present ones, for images as in ``view``.

        The values are the regions that give counters then. Those of an older version were given on such images.
        """
        try:
            rois: dict[str, Definition[Roi]] = {
                name: definition_from_plain(name, plain, view) for name, plain in regions.items()
            }
        except (TypeError, KeyError, AttributeError):
            raise ParameterError(f"{self._title}: regions {dict(regions)} are not as to_dict() gives them") from None
        for name, plain in regions.items():
            if "image" not in plain and view.shape is not None:
                rois[name].roi.check_inside(name, view.shape)
        placed = {name: definition.placed(view) for name, definition in rois.items()}
        active = {name: one.roi for name, one in placed.items() if not one.fault}
        return Plan(active, lambda: self.replace(rois))

    def replace(self, definitions: Mapping[str, Definition[Roi]]) -> None:
        """These regions instead of all present ones."""
        self._rois = dict(definitions)
        self._changed()

    def edit_with(self, editor: Callable[[RoiTable[Any], float | None], None]) -> None:
        """What `edit` calls, with this table and the count time."""
        self._editor = editor

    def edit(self, count_time: float | None = None) -> None:
        """Draw, move, rename and delete these regions in Flint; with ``count_time`` [s], on a new image.

        "Apply these ROIs" in Flint ends it; its cancel button, or Ctrl-C here, changes nothing.
        """
        if self._editor is None:
            raise ParameterError(f"{self._title} belongs to no detector of a session; nothing can be drawn")
        self._editor(self, count_time)

    def remove(self, *names: str) -> None:
        """Remove regions by name."""
        unknown = [name for name in names if name not in self._rois]
        if unknown:
            raise ParameterError(
                f"{self._title} has no {', '.join(map(repr, unknown))}; defined: {', '.join(self._rois) or 'none'}"
            )
        for name in names:
            del self._rois[name]
        self._changed()

    def clear(self) -> None:
        """Remove all regions."""
        self._rois.clear()
        self._changed()

    def items(self) -> list[tuple[str, Roi]]:
        """Names and coordinates on the present image, also of regions that are left out."""
        return [(name, placed.roi) for name, placed in self.placed().items()]

    def keys(self) -> list[str]:
        return list(self._rois)

    def __getitem__(self, name: str) -> Roi:
        try:
            return self._rois[name].placed(self._view()).roi
        except KeyError:
            raise ParameterError(f"{self._title} has no {name!r}; defined: {', '.join(self._rois) or 'none'}") from None

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def __contains__(self, name: object) -> bool:
        return name in self._rois

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._rois))

    def __len__(self) -> int:
        return len(self._rois)

    def __info__(self) -> str:
        if not self._rois:
            return f"{self._title}: none"
        width = max(len(name) for name in self._rois)
        lines: list[str] = [f"{self._title}:"]
        for name, placed in self.placed().items():
            note = f"  (left out: {placed.fault})" if placed.fault else ""
            lines.append(f"  {name:<{width}}  {placed.roi.kind:<7}  {placed.roi}{note}")
        return "\n".join(lines)


def _plain(rois: Mapping[str, Definition[Any]]) -> dict[str, dict[str, Any]]:
    return {name: definition_to_plain(definition) for name, definition in rois.items()}


# so that the shell completes the names after `[`
Mapping.register(RoiTable)


class RoiCounters(RoiTable[StatisticsRoi]):
    """Regions for statistics: each gives the counters NAME_sum, _avg, _std, _min, _max."""

    def set(self, name: str, rect: Numbers) -> None:
        """Define a rectangle (x, y, width, height) in image pixels."""
        self._put(name, rect_from(name, rect))

    def set_arc(self, name: str, arc: Numbers) -> None:
        """Define a ring segment (cx, cy, r1, r2, a1, a2): centre and radii in image pixels, angles in degrees."""
        self._put(name, arc_from(name, arc))

    def __setitem__(self, name: str, numbers: Numbers) -> None:
        (self.set_arc if len(numbers) == 6 else self.set)(name, numbers)


class RoiProfiles(RoiTable[ProfileRoi]):
    """Regions for profiles: each gives the counter NAME, a vector of sums."""

    _what = "profile"

    def set(self, name: str, rect: Numbers, direction: str = "vertical") -> None:
        """Define a profile on (x, y, width, height): a sum per row (`vertical`) or per column (`horizontal`)."""
        self._put(name, profile_from(name, rect, direction))

    def __setitem__(self, name: str, numbers: Numbers) -> None:
        self.set(name, numbers)

    def counter_names(self, name: str) -> list[str]:
        """Counters that a profile gives."""
        return [name]
