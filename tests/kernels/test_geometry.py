"""Binning, ROI, flip and rotation in one pass: compiled against NumPy, and against the contract's coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ImageTransform
from lima2_receivers.kernels import placement_of, sum_dtype, transform_frame
from lima2_receivers.kernels.geometry import transform_reference

FLIPS = ("none", "left_right", "up_down", "both")
ROTATIONS = ("none", "90cw", "180", "90ccw")
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


def image_of(frame: np.ndarray, transform: ImageTransform) -> np.ndarray:
    bin_x, bin_y = transform.binning
    x, y = (0, 0) if transform.roi is None else transform.roi[:2]
    out = np.empty((len(frame), *transform.shape), sum_dtype(frame.dtype, bin_x * bin_y))
    transform_frame(frame, (x * bin_x, y * bin_y), transform.binning, placement_of(transform), out)
    return out


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("binning", [(1, 1), (2, 2), (3, 5), (8, 1)])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_all_combinations_give_what_numpy_gives(flip, rotation, binning, dtype):
    frame = np.random.default_rng(4).integers(0, 60000, (2, 150, 203)).astype(dtype)
    for roi in (None, (3, 2, 20, 25)):
        transform = ImageTransform((150, 203), binning, roi, flip, rotation)
        image = image_of(frame, transform)
        np.testing.assert_array_equal(image, transform_reference(frame, transform, image.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pixel_type_keeps_its_extremes(dtype):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    frame = np.array([[[limits.min, limits.max], [limits.max, 0]]], dtype)
    transform = ImageTransform((2, 2), rotation="90cw")
    np.testing.assert_array_equal(image_of(frame, transform)[0], np.rot90(frame[0], -1))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("edge", ["min", "max"])
def test_binned_saturated_pixels_do_not_wrap(dtype, edge):
    value = getattr(np.iinfo(dtype), edge)
    image = image_of(np.full((1, 64, 64), value, dtype), ImageTransform((64, 64), (64, 64)))
    assert image.tolist() == [[[value * 64 * 64]]]


def test_pixels_beyond_the_last_whole_bin_are_dropped():
    frame = np.arange(7, dtype="u1").reshape(1, 1, 7)
    assert image_of(frame, ImageTransform((1, 7), (3, 1))).tolist() == [[[3, 12]]]


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(FLIPS),
    st.sampled_from(ROTATIONS),
    st.data(),
)
def test_a_pixel_lands_where_the_contract_says(height, width, flip, rotation, data):
    bin_x, bin_y = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    columns, rows = width // bin_x, height // bin_y
    x, y = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    roi = x, y, data.draw(st.integers(1, columns - x)), data.draw(st.integers(1, rows - y))
    transform = ImageTransform((height, width), (bin_x, bin_y), roi, flip, rotation)
    px = (x + data.draw(st.integers(0, roi[2] - 1))) * bin_x
    py = (y + data.draw(st.integers(0, roi[3] - 1))) * bin_y
    frame = np.zeros((1, height, width), "u2")
    frame[0, py, px] = 7
    image = image_of(frame, transform)
    ix, iy = transform.to_image(px + (bin_x - 1) / 2, py + (bin_y - 1) / 2)  # centre of the bin
    assert image[0, round(iy), round(ix)] == 7
    assert image.sum() == 7
