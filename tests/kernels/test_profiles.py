"""ROI profiles: compiled against NumPy."""

import numpy as np
import pytest

from lima2_receivers.kernels import make_profile, profile_statistics
from lima2_receivers.kernels.profiles import profile_reference

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


@pytest.mark.parametrize("direction", ["vertical", "horizontal"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_frames_give_what_numpy_gives(dtype, masked, direction):
    random = np.random.default_rng(3)
    frame = random.integers(0, 100, (2, 40, 61)).astype(dtype)
    frame[:, 7] = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else np.nan
    valid = random.random((2, 40, 61)) > 0.3 if masked else None
    if valid is not None:
        valid[:, :, 11] = False
    for roi in ((0, 0, 61, 40), (10, 5, 20, 30), (60, 39, 1, 1)):
        profile = make_profile(frame.shape, roi, direction, valid)
        result = profile_statistics(frame, profile)
        assert len(result) == len(profile) == (roi[3] if direction == "vertical" else roi[2])
        np.testing.assert_allclose(result, profile_reference(frame, profile, valid), rtol=1e-10)


def test_a_vertical_profile_has_one_bin_per_row_and_a_horizontal_one_per_column():
    frame = np.arange(6, dtype="u2").reshape(1, 2, 3)
    vertical = profile_statistics(frame, make_profile(frame.shape, (0, 0, 3, 2), "vertical"))
    horizontal = profile_statistics(frame, make_profile(frame.shape, (0, 0, 3, 2), "horizontal"))
    assert vertical[:, 4].tolist() == [3, 12]
    assert horizontal[:, 4].tolist() == [3, 5, 7]


def test_sums_of_large_counts_do_not_wrap():
    frame = np.full((1, 4, 2), 2**32 - 1, "u4")
    profile = make_profile(frame.shape, (0, 0, 2, 4), "horizontal")
    assert profile_statistics(frame, profile)[:, 4].tolist() == [4 * (2**32 - 1)] * 2


def test_a_profile_of_another_frame_shape_is_refused():
    profile = make_profile((1, 8, 8), (0, 0, 8, 8), "horizontal")
    with pytest.raises(ValueError, match="made for"):
        profile_statistics(np.zeros((1, 4, 4), "u2"), profile)
