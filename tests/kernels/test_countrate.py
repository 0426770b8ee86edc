"""The first pixel above a limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_receivers.kernels import first_above, integer_limit
from lima2_receivers.kernels.countrate import first_above_reference

KEEP = np.ones((1, 90, 101), np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("place", [None, 0, 5000, 2 * 90 * 101 - 1])
def test_the_first_pixel_above_is_found(dtype, place):
    frame = np.full((2, 90, 101), 100, dtype)
    if place is not None:
        frame.reshape(-1)[place] = 101
    limit = frame.dtype.type(100)
    assert first_above(frame, limit, KEEP) == first_above_reference(frame, 100, KEEP, False)
    assert first_above(frame, limit, KEEP) == (-1 if place is None else place)


def test_masked_pixels_and_the_bad_pixel_value_are_passed_over():
    frame = np.zeros((2, 90, 101), "u2")
    frame[0, 3, 4] = frame[1, 3, 4] = 500
    frame[1, 2, 2] = 65535
    keep = KEEP.copy()
    keep[0, 3, 4] = 0
    assert first_above(frame, np.uint16(100), keep, ignore_max=True) == -1
    assert first_above(frame, np.uint16(100), keep, ignore_max=False) == 90 * 101 + 2 * 101 + 2


@given(st.floats(0, 70000), st.integers(0, 65535))
def test_the_integer_limit_means_the_same_as_the_limit(limit, pixel):
    whole = integer_limit(limit, np.dtype("u2"))
    assert (pixel > limit) == (whole is not None and pixel > int(whole))
