"""The way from a detector pixel to an image pixel and back, checked against moving real pixels with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ImageTransform


@st.composite
def transforms(draw: st.DrawFn) -> ImageTransform:
    height, width = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    binning = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    binned_h, binned_w = height // binning[1], width // binning[0]
    roi = None
    if draw(st.booleans()):
        x, y = draw(st.integers(0, binned_w - 1)), draw(st.integers(0, binned_h - 1))
        roi = (x, y, draw(st.integers(1, binned_w - x)), draw(st.integers(1, binned_h - y)))
    flip = draw(st.sampled_from(["none", "left_right", "up_down", "both"]))
    rotation = draw(st.sampled_from(["none", "90cw", "180", "90ccw"]))
    return ImageTransform((height, width), binning, roi, flip, rotation)


def apply(pixels: np.ndarray, transform: ImageTransform) -> np.ndarray:
    """The transform by numpy views, on pixels that are already binned."""
    if transform.roi is not None:
        x, y, width, height = transform.roi
        pixels = pixels[y : y + height, x : x + width]
    if transform.flip in ("left_right", "both"):
        pixels = pixels[:, ::-1]
    if transform.flip in ("up_down", "both"):
        pixels = pixels[::-1]
    return np.rot90(pixels, {"none": 0, "90ccw": 1, "180": 2, "90cw": 3}[transform.rotation])


@given(transforms(), st.data())
def test_a_point_maps_where_its_pixel_goes(transform: ImageTransform, data: st.DataObject) -> None:
    height, width = transform.binned_shape
    labels = np.arange(height * width).reshape(height, width)
    image = apply(labels, transform)
    assert image.shape == transform.shape
    row, column = data.draw(st.integers(0, image.shape[0] - 1)), data.draw(st.integers(0, image.shape[1] - 1))
    y, x = divmod(int(image[row, column]), width)
    centre = (x + 0.5) * transform.binning[0] - 0.5, (y + 0.5) * transform.binning[1] - 0.5
    assert transform.to_detector(column, row) == pytest.approx(centre)
    assert transform.to_image(*centre) == pytest.approx((column, row))


@given(transforms(), st.floats(-50, 50), st.floats(-50, 50))
def test_there_and_back_is_where_it_began(transform: ImageTransform, x: float, y: float) -> None:
    assert transform.to_detector(*transform.to_image(x, y)) == pytest.approx((x, y), abs=1e-9)


def test_only_a_transform_that_moves_nothing_is_the_identity() -> None:
    assert ImageTransform((4, 6)).is_identity
    assert ImageTransform((4, 6), roi=(0, 0, 6, 4)).is_identity
    assert not ImageTransform((4, 6), roi=(1, 0, 5, 4)).is_identity
    assert not ImageTransform((4, 6), flip="both").is_identity
