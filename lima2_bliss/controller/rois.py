"""Named regions of interest of a detector: rectangles and arcs for statistics, rectangles for profiles."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Arc, Point, PointF, Rectangle
from lima2_bliss.contract.parameters.strict import fault_lines
from lima2_bliss.controller.settings import Plan, TextStore

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Direction = Literal["vertical", "horizontal"]
Numbers = Sequence[float]


@dataclass(frozen=True)
class RectRoi:
    """Rectangle in image pixels: statistics of the pixels inside."""

    x: int
    y: int
    width: int
    height: int

    kind = "rect"

    def numbers(self) -> list[float]:
        return [self.x, self.y, self.width, self.height]

    def rectangle(self) -> Rectangle:
        """The form the pipeline takes."""
        return Rectangle(topleft=Point(x=self.x, y=self.y), dimensions=Point(x=self.width, y=self.height))

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` unless the whole rectangle is on an image of (height, width)."""
        height, width = shape
        if self.x + self.width > width or self.y + self.height > height:
            raise ParameterError(
                f"ROI {name!r} (x={self.x}, y={self.y}, width={self.width}, height={self.height}) is outside the image"
                f" of {width} x {height} pixels (width x height); change or remove the ROI, or the image settings"
            )

    def __str__(self) -> str:
        return f"x={self.x} y={self.y} width={self.width} height={self.height}"


@dataclass(frozen=True)
class ArcRoi:
    """Ring segment in image pixels, angles in degrees from +x to +y: statistics of the pixels inside."""

    cx: float
    cy: float
    r1: float
    r2: float
    a1: float
    a2: float

    kind = "arc"

    def numbers(self) -> list[float]:
        return [self.cx, self.cy, self.r1, self.r2, self.a1, self.a2]

    def arc(self) -> Arc:
        """The form the pipeline takes."""
        return Arc(center=PointF(x=self.cx, y=self.cy), r1=self.r1, r2=self.r2, a1=self.a1, a2=self.a2)

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` when nothing of the ring can be on an image of (height, width); a part is enough."""
        height, width = shape
        outside = (
            self.cx + self.r2 < 0
            or self.cy + self.r2 < 0
            or self.cx - self.r2 > width - 1
            or self.cy - self.r2 > height - 1
        )
        if outside:
            raise ParameterError(
                f"ROI {name!r} ({self}) is outside the image of {width} x {height} pixels (width x height);"
                " change or remove the ROI, or the image settings"
            )

    def __str__(self) -> str:
        return f"center=({self.cx:g}, {self.cy:g}) r1={self.r1:g} r2={self.r2:g} a1={self.a1:g} a2={self.a2:g}"


@dataclass(frozen=True)
class ProfileRoi:
    """Rectangle in image pixels: one sum per row (`vertical`) or per column (`horizontal`)."""

    x: int
    y: int
    width: int
    height: int
    direction: Direction = "vertical"

    kind = "profile"

    def numbers(self) -> list[float]:
        return [self.x, self.y, self.width, self.height]

    @property
    def length(self) -> int:
        """Number of bins."""
        return self.height if self.direction == "vertical" else self.width

    def rectangle(self) -> Rectangle:
        """The form the pipeline takes."""
        return RectRoi(self.x, self.y, self.width, self.height).rectangle()

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` unless the whole rectangle is on an image of (height, width)."""
        RectRoi(self.x, self.y, self.width, self.height).check_inside(name, shape)

    def __str__(self) -> str:
        return f"x={self.x} y={self.y} width={self.width} height={self.height} {self.direction}"


StatisticsRoi = RectRoi | ArcRoi


def rect_from(name: str, numbers: Numbers) -> RectRoi:
    """Rectangle from (x, y, width, height)."""
    values = list(numbers)
    if len(values) != 4 or any(isinstance(v, bool) or float(v) != int(v) for v in values):
        raise ParameterError(f"ROI {name!r} = {tuple(values)}: give four whole numbers (x, y, width, height)")
    x, y, width, height = (int(v) for v in values)
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise ParameterError(f"ROI {name!r} = {tuple(values)}: x and y must be >= 0, width and height >= 1")
    return RectRoi(x, y, width, height)


def arc_from(name: str, numbers: Numbers) -> ArcRoi:
    """Ring segment from (cx, cy, r1, r2, a1, a2)."""
    values = list(numbers)
    if len(values) != 6:
        raise ParameterError(f"ROI {name!r} = {tuple(values)}: give six numbers (cx, cy, r1, r2, a1, a2)")
    roi = ArcRoi(*(float(v) for v in values))
    try:
        roi.arc()
    except ValidationError as error:
        raise ParameterError(f"ROI {name!r}: {'; '.join(fault_lines(error))}") from None
    return roi


def profile_from(name: str, numbers: Numbers, direction: str = "vertical") -> ProfileRoi:
    """Profile from (x, y, width, height) and direction."""
    rect = rect_from(name, numbers)
    if direction == "vertical":
        return ProfileRoi(rect.x, rect.y, rect.width, rect.height, "vertical")
    if direction == "horizontal":
        return ProfileRoi(rect.x, rect.y, rect.width, rect.height, "horizontal")
    raise ParameterError(f"profile {name!r}: direction {direction!r} is unknown; give 'vertical' or 'horizontal'")


def _to_plain(roi: RectRoi | ArcRoi | ProfileRoi) -> dict[str, Any]:
    plain: dict[str, Any] = {"kind": roi.kind, "numbers": roi.numbers()}
    if isinstance(roi, ProfileRoi):
        plain["direction"] = roi.direction
    return plain


def _from_plain(name: str, plain: Mapping[str, Any]) -> RectRoi | ArcRoi | ProfileRoi:
    if plain["kind"] == "arc":
        return arc_from(name, plain["numbers"])
    if plain["kind"] == "profile":
        return profile_from(name, plain["numbers"], plain["direction"])
    return rect_from(name, plain["numbers"])


Roi = TypeVar("Roi", RectRoi | ArcRoi, ProfileRoi)


class RoiTable(Generic[Roi]):
    """Regions by name, kept over sessions. ``shape()`` is (height, width) of the image, None when unknown.

    ``claim(name)`` raises when the name cannot be used; ``on_change`` is called after each change.
    """

    _what = "ROI"

    def __init__(
        self,
        title: str,
        store: TextStore,
        shape: Callable[[], tuple[int, int] | None],
        claim: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._title = title
        self._store = store
        self._shape = shape
        self._claim = claim
        self._on_change = on_change
        self._rois: dict[str, Roi] = self._load()

    def _load(self) -> dict[str, Roi]:
        text = self._store.get()
        rois: dict[str, Roi] = {}
        try:
            for name, plain in json.loads(text or "{}").items():
                rois[name] = _from_plain(name, plain)  # type: ignore[assignment]
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("%s: the stored ROIs are unreadable and were dropped: %s", self._title, text)
        return rois

    def _put(self, name: str, roi: Roi) -> None:
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{self._what} name {name!r}: use letters, digits and _, a letter first")
        if name not in self._rois:
            self._claim(name)
        shape = self._shape()
        if shape is not None:
            roi.check_inside(name, shape)
        self._rois[name] = roi
        self._changed()

    def _changed(self) -> None:
        self._store.set(json.dumps(self.to_dict()))
        self._on_change()

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """All regions by name, as plain values."""
        return {name: _to_plain(roi) for name, roi in self._rois.items()}

    def plan(self, regions: Mapping[str, Mapping[str, Any]]) -> Plan[dict[str, Roi]]:
        """Check regions as `to_dict` gives them, instead of all present ones; not whether they are on the image."""
        try:
            rois: dict[str, Any] = {name: _from_plain(name, plain) for name, plain in regions.items()}
        except (TypeError, KeyError):
            raise ParameterError(f"{self._title}: regions {dict(regions)} are not as to_dict() gives them") from None
        return Plan(rois, lambda: self._replace(rois))

    def _replace(self, rois: dict[str, Roi]) -> None:
        self._rois = dict(rois)
        self._changed()

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
        return list(self._rois.items())

    def keys(self) -> list[str]:
        return list(self._rois)

    def __getitem__(self, name: str) -> Roi:
        try:
            return self._rois[name]
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
        for name, roi in self.items():
            lines.append(f"  {name:<{width}}  {roi.kind:<7}  {roi}")
        return "\n".join(lines)


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
