"""Pictures are binned, cut and encoded without losing where they belong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_decode import decoded

from lima2_bliss.monitor.pictures import Picture, binned, cut, encode


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_binned_frame_keeps_the_mean_of_each_bin(height, width, most):
    frame = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    data, binning = binned(frame, most)
    assert max(data.shape) <= most
    rows, columns = data.shape
    assert data.size > 0
    for y, x in {(0, 0), (rows - 1, columns - 1)}:
        assert data[y, x] == pytest.approx(
            frame[y * binning : (y + 1) * binning, x * binning : (x + 1) * binning].mean()
        )


def test_pixels_without_a_value_are_left_out_of_means():
    frame = np.array([[1, np.nan, 3, np.nan], [np.nan, 3, np.nan, np.nan]], np.float32)
    frame = np.vstack([frame, np.full((2, 4), np.nan, np.float32)])
    data, binning = binned(frame, 2)
    assert binning == 2
    np.testing.assert_array_equal(data, [[2, 3], [np.nan, np.nan]])


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30))
def test_a_region_is_what_is_there_of_the_frame(y0, x0, height, width):
    frame = np.arange(400).reshape(20, 20)
    data, binning, origin = cut(frame, y0, x0, y0 + height, x0 + width, 64)
    assert binning == 1
    assert data.size > 0
    np.testing.assert_array_equal(data, frame[origin[0] :, origin[1] :][: data.shape[0], : data.shape[1]])
    if y0 < 20 and x0 < 20:
        assert origin == (y0, x0)
        assert data.shape == (min(height, 20 - y0), min(width, 20 - x0))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32", "float64", "int64"])
def test_what_is_encoded_can_be_read(dtype):
    pixels = np.arange(15).reshape(3, 5).astype(dtype)
    spots = np.array([[1.25, 2.5, 300.123]])
    header, got = decoded(encode(Picture(7, pixels, (6, 10), "memory", 2, (0, 0), spots, 12.5), "region"))
    np.testing.assert_array_equal(got, pixels)
    assert got.dtype == (dtype if dtype not in ("float64", "int64") else "float32")
    assert (header["type"], header["index"], header["binning"], header["where"]) == ("region", 7, 2, "memory")
    assert header["full_shape"] == [6, 10]
    assert header["spots"] == [[1.25, 2.5, 300.12]]
    assert header["taken"] == 12.5
