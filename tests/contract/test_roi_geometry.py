"""Regions follow binning, cut, flip and rotation: checked against the same changes made to real pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract.roi_geometry import ImageView, Rectangle, way
from lima2_receivers.kernels.geometry import transform_reference
from lima2_receivers.kernels.regions import ArcRoi, arc_mask

SHAPE = (24, 36)  # can be divided by 1, 2, 3, 4
FLIPS = ("none", "left_right", "up_down", "both")
ROTATIONS = ("none", "90cw", "180", "90ccw")


@st.composite
def views(draw: st.DrawFn, factors: tuple[int, ...] = (1, 2, 3, 4), cut: bool = True) -> ImageView:
    binning = draw(st.sampled_from(factors)), draw(st.sampled_from(factors))
    height, width = SHAPE[0] // binning[1], SHAPE[1] // binning[0]
    roi = draw(rectangles((height, width))) if cut and draw(st.booleans()) else None
    return ImageView(binning, roi, draw(st.sampled_from(FLIPS)), draw(st.sampled_from(ROTATIONS)), SHAPE)


@st.composite
def rectangles(draw: st.DrawFn, shape: tuple[int, int]) -> Rectangle:
    x, y = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[0] - 1))
    return x, y, draw(st.integers(1, shape[1] - x)), draw(st.integers(1, shape[0] - y))


def image_of(frame: np.ndarray, view: ImageView) -> np.ndarray:
    """The image that receivers make of a raw frame."""
    return transform_reference(frame[None], view.transform(frame.shape), np.dtype(np.float64))[0]


def pixels(rectangle: Rectangle) -> tuple[slice, slice]:
    x, y, width, height = rectangle
    return slice(y, y + height), slice(x, x + width)


def is_inside(rectangle: Rectangle, shape: tuple[int, int]) -> bool:
    x, y, width, height = rectangle
    return x >= 0 and y >= 0 and x + width <= shape[1] and y + height <= shape[0]


NUMBERS = np.random.default_rng(5).integers(0, 1000, SHAPE).astype(np.float64)


@given(views(), st.data())
def test_a_rectangle_on_raw_pixels_has_the_same_sum_on_any_image(view: ImageView, data: st.DataObject) -> None:
    image = image_of(NUMBERS, view)
    rectangle = data.draw(rectangles(image.shape))
    raw = way(view, ImageView(detector_shape=SHAPE)).rectangle(rectangle)
    assert NUMBERS[pixels(raw)].sum() == image[pixels(rectangle)].sum()
    assert way(ImageView(detector_shape=SHAPE), view).rectangle(raw) == rectangle


@given(views(factors=(1,)), views(factors=(1,)), st.data())
def test_unbinned_images_show_the_same_pixels_and_back_again(
    first: ImageView, second: ImageView, data: st.DataObject
) -> None:
    rectangle = data.draw(rectangles(first.shape))
    moved = way(first, second).rectangle(rectangle)
    assert way(second, first).rectangle(moved) == rectangle
    if is_inside(moved, second.shape):
        shown, before = image_of(NUMBERS, second)[pixels(moved)], image_of(NUMBERS, first)[pixels(rectangle)]
        assert shown.sum() == before.sum()
        assert sorted(shown.flat) == sorted(before.flat)


@given(views(cut=False), views(cut=False), st.data())
def test_a_rectangle_stays_on_the_full_image_and_no_border_moves_more_than_a_pixel(
    first: ImageView, second: ImageView, data: st.DataObject
) -> None:
    rectangle = data.draw(rectangles(first.shape))
    moved = way(first, second).rectangle(rectangle)
    assert is_inside(moved, second.shape)
    plain = ImageView(detector_shape=SHAPE)
    before, after = way(first, plain).rectangle(rectangle), way(second, plain).rectangle(moved)
    for axis in (0, 1):
        start, end = before[axis], before[axis] + before[axis + 2]
        assert abs(after[axis] - start) <= second.binning[axis]
        assert abs(after[axis] + after[axis + 2] - end) <= second.binning[axis]


@given(st.integers(0, 20), st.integers(4, 8), st.integers(4, 8))
def test_neighbours_stay_neighbours(start: int, first: int, second: int) -> None:
    now = way(ImageView(detector_shape=SHAPE), ImageView(binning=(4, 1), detector_shape=SHAPE))
    x, _, width, _ = now.rectangle((start, 0, first, 1))
    assert now.rectangle((start + first, 0, second, 1))[0] == x + width


def test_a_small_rectangle_keeps_the_pixel_at_its_centre() -> None:
    now = way(ImageView(detector_shape=SHAPE), ImageView(binning=(4, 4), detector_shape=SHAPE))
    assert [now.rectangle((x, 0, 1, 1))[0] for x in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert now.rectangle((1, 1, 2, 2)) == (0, 0, 1, 1)


def test_the_whole_frame_stays_whole_where_binning_drops_pixels() -> None:
    shape = (25, 37)
    now = way(ImageView(detector_shape=shape), ImageView(binning=(2, 2), flip="both", detector_shape=shape))
    assert now.rectangle((0, 0, 37, 25)) == (0, 0, 18, 12)
    dropped = now.rectangle((36, 0, 1, 25))
    assert not is_inside(dropped, (12, 18))


@given(views(factors=(1,)), views(factors=(1,)), st.data())
def test_an_arc_has_the_same_pixels_on_every_unbinned_image(
    first: ImageView, second: ImageView, data: st.DataObject
) -> None:
    step = way(first, second)
    x, y = data.draw(st.integers(-5, 30)), data.draw(st.integers(-5, 30))
    r1, r2 = data.draw(st.sampled_from([(0, 4), (3, 8), (5, 40)]))
    a1 = data.draw(st.sampled_from([-90, 0, 17, 45, 90, 200]))
    a2 = a1 + data.draw(st.sampled_from([10, 45, 90, 180, 359, 360]))
    centre = step.point(x, y)
    b1, b2 = step.angles(a1, a2)
    assert b2 - b1 == pytest.approx(a2 - a1)
    if (a2 - a1) < 360 and step.mirrors:
        b1, b2 = b1 + 1e-9, b2 + 1e-9  # the limit that belongs to it is the other one now
    # seen on the whole detector, the same pixels; their centres may be on a limit only where angles are exact
    masks = []
    for view, arc in ((first, ArcRoi(x, y, r1, r2, a1, a2)), (second, ArcRoi(*centre, r1, r2, b1, b2))):
        plain = replace(view, roi=None)
        move = way(view, plain)
        place = move.point(arc.x, arc.y)
        seen = arc_mask(plain.shape, replace(arc, x=place[0], y=place[1]))
        back = {"none": 0, "90ccw": 3, "180": 2, "90cw": 1}[plain.rotation]
        seen = np.rot90(seen, back)
        seen = seen[::-1] if plain.flip in ("up_down", "both") else seen
        masks.append(seen[:, ::-1] if plain.flip in ("left_right", "both") else seen)
    if (r1 > 0) or (a2 - a1 == 360):  # the pixel at the centre has no direction
        np.testing.assert_array_equal(masks[0], masks[1])


@given(views(), views())
def test_circles_stay_circles_when_both_directions_are_binned_alike(first: ImageView, second: ImageView) -> None:
    step = way(first, second)
    points = [step.point(10 + 5 * np.cos(angle), 8 + 5 * np.sin(angle)) for angle in np.linspace(0, 6, 13)]
    centre = step.point(10, 8)
    radii = [np.hypot(x - centre[0], y - centre[1]) for x, y in points]
    if step.keeps_circles:
        np.testing.assert_allclose(radii, 5 * step.scale)
    else:
        assert np.ptp(radii) > 0.1


@given(views(factors=(1,), cut=False), views(factors=(1,), cut=False))
def test_directions_turn_with_the_image(first: ImageView, second: ImageView) -> None:
    step = way(first, second)
    (x0, y0), (x1, y1) = step.point(0, 0), step.point(1, 0)
    assert step.turns == (abs(y1 - y0) > 0.5)
    heading = np.degrees(np.arctan2(y1 - y0, x1 - x0)) % 360
    start, end = step.angles(0, 30)
    assert (heading == pytest.approx(end % 360)) if step.mirrors else (heading == pytest.approx(start % 360))


def test_without_the_size_of_the_detector_only_what_begins_at_its_first_pixel_can_follow() -> None:
    plain, binned = ImageView(), ImageView(binning=(2, 2))
    assert way(plain, binned).rectangle((4, 6, 8, 10)) == (2, 3, 4, 5)
    assert way(plain, ImageView(flip="both")) is None
    assert way(plain, ImageView(flip="both", roi=(2, 2, 10, 10))).rectangle((2, 2, 3, 3)) == (7, 7, 3, 3)
    known = ImageView(flip="left_right", detector_shape=SHAPE)
    assert way(plain, known).rectangle((0, 0, 2, 3)) == (34, 0, 2, 3)


def test_views_look_alike_when_nothing_that_moves_pixels_differs() -> None:
    assert ImageView().looks_like(ImageView(detector_shape=SHAPE))
    assert ImageView(detector_shape=(5, 5)).looks_like(ImageView(detector_shape=SHAPE))
    flipped = ImageView(flip="both", detector_shape=(5, 5))
    assert flipped.looks_like(replace(flipped, detector_shape=None))
    assert not flipped.looks_like(replace(flipped, detector_shape=SHAPE))
    assert not ImageView().looks_like(ImageView(binning=(2, 2)))
