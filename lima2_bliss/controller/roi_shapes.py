"""The shapes of regions of interest: rectangles and ring segments for statistics, rectangles for profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Arc, Point, PointF, Rectangle
from lima2_bliss.contract.parameters.strict import fault_lines

Direction = Literal["vertical", "horizontal"]
Numbers = Sequence[float]

#: Degrees, less than any angle between two pixel centres, and more than the rounding of angles.
_LIMIT_SHIFT = 1e-9


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

    def is_on(self, shape: tuple[int, int]) -> bool:
        """True when the whole rectangle is on an image of (height, width)."""
        height, width = shape
        return self.x >= 0 and self.y >= 0 and self.x + self.width <= width and self.y + self.height <= height

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` unless the whole rectangle is on an image of (height, width)."""
        if not self.is_on(shape):
            raise ParameterError(
                f"ROI {name!r} (x={self.x}, y={self.y}, width={self.width}, height={self.height}) is outside the image"
                f" of {shape[1]} x {shape[0]} pixels (width x height); change or remove the ROI, or the image settings"
            )

    def __str__(self) -> str:
        return f"x={self.x} y={self.y} width={self.width} height={self.height}"


@dataclass(frozen=True)
class ArcRoi:
    """Ring segment in image pixels, angles in degrees from +x to +y: statistics of the pixels inside.

    Pixels whose centre is just at ``a1`` belong to it, those at ``a2`` do not; ``mirrored``: the other way round, as
    after a flip.
    """

    cx: float
    cy: float
    r1: float
    r2: float
    a1: float
    a2: float
    mirrored: bool = False

    kind = "arc"

    def numbers(self) -> list[float]:
        return [self.cx, self.cy, self.r1, self.r2, self.a1, self.a2]

    def arc(self) -> Arc:
        """The form the pipeline takes."""
        shift = _LIMIT_SHIFT if self.mirrored and self.a2 - self.a1 < 360 else 0.0
        centre = PointF(x=self.cx, y=self.cy)
        return Arc(center=centre, r1=self.r1, r2=self.r2, a1=self.a1 + shift, a2=self.a2 + shift)

    def is_on(self, shape: tuple[int, int]) -> bool:
        """True when a part of its ring can be on an image of (height, width)."""
        height, width = shape
        return (
            self.cx + self.r2 >= 0
            and self.cy + self.r2 >= 0
            and self.cx - self.r2 <= width - 1
            and self.cy - self.r2 <= height - 1
        )

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` when nothing of the ring can be on an image of (height, width); a part is enough."""
        if not self.is_on(shape):
            raise ParameterError(
                f"ROI {name!r} ({self}) is outside the image of {shape[1]} x {shape[0]} pixels (width x height);"
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

    def is_on(self, shape: tuple[int, int]) -> bool:
        """True when the whole rectangle is on an image of (height, width)."""
        return RectRoi(self.x, self.y, self.width, self.height).is_on(shape)

    def check_inside(self, name: str, shape: tuple[int, int]) -> None:
        """`ParameterError` unless the whole rectangle is on an image of (height, width)."""
        RectRoi(self.x, self.y, self.width, self.height).check_inside(name, shape)

    def __str__(self) -> str:
        return f"x={self.x} y={self.y} width={self.width} height={self.height} {self.direction}"


StatisticsRoi = RectRoi | ArcRoi
AnyRoi = RectRoi | ArcRoi | ProfileRoi


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
    cx, cy, r1, r2, a1, a2 = (float(v) for v in values)
    roi = ArcRoi(cx, cy, r1, r2, a1, a2)
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


def to_plain(roi: AnyRoi) -> dict[str, Any]:
    """The shape as plain values."""
    plain: dict[str, Any] = {"kind": roi.kind, "numbers": roi.numbers()}
    if isinstance(roi, ProfileRoi):
        plain["direction"] = roi.direction
    return plain


def from_plain(name: str, plain: Mapping[str, Any]) -> AnyRoi:
    """The shape of `to_plain`."""
    if plain["kind"] == "arc":
        return arc_from(name, plain["numbers"])
    if plain["kind"] == "profile":
        return profile_from(name, plain["numbers"], plain["direction"])
    return rect_from(name, plain["numbers"])
