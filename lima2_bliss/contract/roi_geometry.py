"""Where a region given on one image lies on another image of the same detector: other binning, cut, flip, rotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lima2_bliss.contract.geometry import Flip, ImageTransform, Rotation

#: (x, y, width, height) in whole pixels.
Rectangle = tuple[int, int, int, int]

#: From a point (x, y) to another.
Move = Callable[[float, float], tuple[float, float]]

#: Stands for the size of a detector that is not known, where it makes no difference.
_ANY_SIZE = (1 << 30, 1 << 30)

_TURNED: dict[Rotation, float] = {"none": 0.0, "90cw": 90.0, "180": 180.0, "90ccw": 270.0}


@dataclass(frozen=True)
class ImageView:
    """How images are made from raw frames: as `ImageTransform`, of a detector whose (height, width) may not be known.

    ``roi`` is (x, y, width, height) in binned pixels; None is the full frame.
    """

    binning: tuple[int, int] = (1, 1)  # (x, y)
    roi: Rectangle | None = None
    flip: Flip = "none"
    rotation: Rotation = "none"
    detector_shape: tuple[int, int] | None = None

    @property
    def needs_shape(self) -> bool:
        """True when only the detector's size tells where its first pixel comes to lie."""
        return self.roi is None and (self.flip != "none" or self.rotation != "none")

    @property
    def shape(self) -> tuple[int, int] | None:
        """(height, width) of the image, None when it is not known."""
        if self.detector_shape is None and self.roi is None:
            return None
        return self.transform(self.detector_shape or _ANY_SIZE).shape

    def transform(self, detector_shape: tuple[int, int]) -> ImageTransform:
        """The same for a detector of that (height, width)."""
        return ImageTransform(detector_shape, self.binning, self.roi, self.flip, self.rotation)

    def looks_like(self, other: ImageView) -> bool:
        """True when both images have the same pixels, as far as the sizes of both detectors are known."""
        sizes = {view.detector_shape for view in (self, other)} - {None}
        alike = replace(self, detector_shape=None) == replace(other, detector_shape=None)
        return alike and (len(sizes) < 2 or not self.needs_shape)


@dataclass(frozen=True)
class Way:
    """The way from pixels of one image to those of another."""

    given: ImageTransform
    now: ImageTransform

    @property
    def turns(self) -> bool:
        """True when rows become columns."""
        return _swaps(self.given.rotation) != _swaps(self.now.rotation)

    @property
    def mirrors(self) -> bool:
        """True when left and right are exchanged, as seen in a mirror."""
        return _mirrors(self.given.flip) != _mirrors(self.now.flip)

    @property
    def keeps_circles(self) -> bool:
        """True unless binning stretches one direction of the detector more than the other."""
        return self.given.binning[0] * self.now.binning[1] == self.given.binning[1] * self.now.binning[0]

    @property
    def scale(self) -> float:
        """New pixels per old one, the geometric mean of both directions."""
        ratios = [self.given.binning[axis] / self.now.binning[axis] for axis in (0, 1)]
        return ratios[0] if self.keeps_circles else float((ratios[0] * ratios[1]) ** 0.5)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point; pixel centres are at integers."""
        return self.now.to_image(*self.given.to_detector(x, y))

    def angles(self, a1: float, a2: float) -> tuple[float, float]:
        """A range of angles, in degrees from +x to +y; the first of the result is in [0, 360) unless nothing turned.

        ``a2 - a1`` stays the same. `mirrors` tells whether the limits changed sides.
        """
        if self.given.flip == self.now.flip and self.given.rotation == self.now.rotation:
            return a1, a2
        span = a2 - a1
        if span >= 360:
            return 0.0, 360.0
        first, last = _unrotated(a1, a2, self.given.rotation)
        first, last = _flipped(first, last, self.given.flip)
        first, last = _flipped(first, last, self.now.flip)
        first = (first + _TURNED[self.now.rotation]) % 360.0
        return first, first + span

    def rectangle(self, rectangle: Rectangle) -> Rectangle:
        """A rectangle; it may lie beyond the new image.

        Its borders move to the nearest borders of the new pixels, halves towards higher detector pixels, and it keeps
        at least one pixel: that at its centre. Binning drops incomplete pixels at the end of a row or column; there
        it ends with the image. Rectangles with a common border keep it, and do not overlap.
        """
        x, y, width, height = _to_raw(rectangle, self.given)
        bin_x, bin_y = self.now.binning
        left, right = _borders(x, x + width, bin_x, self.now.detector_shape[1])
        top, bottom = _borders(y, y + height, bin_y, self.now.detector_shape[0])
        return _to_image((left, top, right - left, bottom - top), self.now)


def way(given: ImageView, now: ImageView) -> Way | None:
    """From pixels of images as ``given`` to pixels of images as they are ``now``; None when a size must be known."""
    shapes = [given.detector_shape or now.detector_shape, now.detector_shape or given.detector_shape]
    for view, shape in zip((given, now), shapes, strict=True):
        if shape is None and view.needs_shape:
            return None
    return Way(given.transform(shapes[0] or _ANY_SIZE), now.transform(shapes[1] or _ANY_SIZE))


def _swaps(rotation: Rotation) -> bool:
    return rotation in ("90cw", "90ccw")


def _mirrors(flip: Flip) -> bool:
    return flip in ("left_right", "up_down")


def _unrotated(a1: float, a2: float, rotation: Rotation) -> tuple[float, float]:
    return a1 - _TURNED[rotation], a2 - _TURNED[rotation]


def _flipped(a1: float, a2: float, flip: Flip) -> tuple[float, float]:
    """A flip is its own inverse."""
    if flip == "left_right":
        return 180.0 - a2, 180.0 - a1
    if flip == "up_down":
        return -a2, -a1
    return (a1 + 180.0, a2 + 180.0) if flip == "both" else (a1, a2)


def _borders(first: int, last: int, factor: int, size: int) -> tuple[int, int]:
    """Raw borders ``first`` and ``last`` (excluded) as borders of binned pixels, on a detector of ``size``."""
    low, high = ((2 * border + factor) // (2 * factor) for border in (first, last))
    whole = size // factor
    if last <= size and high > whole > low:
        high = whole  # the rest was dropped
    if high <= low:
        low = (first + last) // (2 * factor)
        high = low + 1
    return low, high


def _to_raw(rectangle: Rectangle, image: ImageTransform) -> Rectangle:
    """Raw pixels of a rectangle on the image."""
    left, top, right, bottom = _corners(rectangle, image.to_detector, image.binning)
    return round(left), round(top), round(right - left), round(bottom - top)


def _to_image(binned: Rectangle, image: ImageTransform) -> Rectangle:
    """Image pixels of a rectangle of binned pixels."""
    unbinned = replace(image, detector_shape=image.binned_shape, binning=(1, 1))
    left, top, right, bottom = _corners(binned, unbinned.to_image, (1, 1))
    return round(left), round(top), round(right - left), round(bottom - top)


def _corners(rectangle: Rectangle, move: Move, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Borders of the moved rectangle, from the centres of its first and last pixel, each ``size`` when moved."""
    x, y, width, height = rectangle
    (x1, y1), (x2, y2) = move(x, y), move(x + width - 1, y + height - 1)
    half_x, half_y = size[0] / 2, size[1] / 2
    left, right = min(x1, x2) + 0.5 - half_x, max(x1, x2) + 0.5 + half_x
    top, bottom = min(y1, y2) + 0.5 - half_y, max(y1, y2) + 0.5 + half_y
    return left, top, right, bottom
