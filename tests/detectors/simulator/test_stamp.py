"""The frame number in the pixels comes back from every pixel type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.detectors.simulator import read_stamp, stamp


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@given(index=st.integers(0, 2**32 - 1))
def test_a_stamp_is_read_back_and_touches_nothing_else(dtype, index):
    pixels = np.full((2, 3, 8), 77, dtype)
    stamp(pixels, index)
    assert read_stamp(pixels) == index
    assert read_stamp(pixels[0]) == index
    touched = {1: 4, 2: 2, 4: 2 if dtype.kind == "f" else 1, 8: 1}[dtype.itemsize]
    assert (pixels[0, 0, touched:] == 77).all()
    assert (pixels[0, 1:] == 77).all()
    assert (pixels[1] == 77).all()


def test_the_least_significant_piece_comes_first():
    pixels = np.zeros((1, 1, 8), "<u2")
    stamp(pixels, 0x00012345)
    assert pixels[0, 0, :3].tolist() == [0x2345, 1, 0]
