"""Sums of frames never wrap around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_receivers.kernels import add_frame, copy_sum, finish_sum, partial_sum_dtype, set_sum, sum_dtype
from lima2_receivers.kernels.accumulation import accumulate_reference

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


def accumulated(frames: list[np.ndarray]) -> np.ndarray:
    result = sum_dtype(frames[0].dtype, len(frames))
    total, out = np.empty(frames[0].shape, partial_sum_dtype(result)), np.empty(frames[0].shape, result)
    set_sum(total, frames[0])
    for frame in frames[1:-1]:
        add_frame(total, frame)
    finish_sum(total, frames[-1], out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_frames_give_what_numpy_gives(dtype):
    random = np.random.default_rng(8)
    frames = [random.integers(0, 127, (2, 30, 41)).astype(dtype) for _ in range(5)]
    out = accumulated(frames)
    np.testing.assert_array_equal(out, accumulate_reference(frames, out.dtype))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("edge", ["min", "max"])
def test_saturated_frames_do_not_wrap(dtype, edge):
    value = getattr(np.iinfo(dtype), edge)
    assert accumulated([np.full((1, 1, 1), value, dtype)] * 300).tolist() == [[[300 * value]]]


def test_float32_sums_do_not_lose_small_frames():
    """1e8 + 100 x 1 stays 1e8 when float32 is added to float32."""
    frames = [np.full((1, 1, 1), value, "f4") for value in (1e8, *[1.0] * 100)]
    assert accumulated(frames)[0, 0, 0] == np.float32(1e8 + 100)


def test_a_sum_whose_last_frame_is_missing_is_copied():
    total, out = np.empty((1, 1, 2), "f8"), np.empty((1, 1, 2), "f4")
    set_sum(total, np.array([[[1, 2]]], "f4"))
    copy_sum(total, out)
    assert out.tolist() == [[[1, 2]]]


@given(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]), st.integers(2, 10**6))
def test_the_chosen_type_holds_the_largest_sum_exactly(name, pixels):
    dtype = sum_dtype(np.dtype(name), pixels)
    for edge in (np.iinfo(name).min, np.iinfo(name).max):
        if dtype.kind == "f":
            assert abs(int(edge)) * pixels <= 2**53
        else:
            assert np.iinfo(dtype).min <= int(edge) * pixels <= np.iinfo(dtype).max


def test_a_single_frame_keeps_its_type():
    assert sum_dtype(np.dtype("u1"), 1) == np.dtype("u1")
