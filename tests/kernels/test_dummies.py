"""Integer pixels of the dummy's value never count, and never become a plausible number."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_bliss.contract import ImageTransform
from lima2_receivers.kernels import (
    correct,
    find_regions,
    first_above,
    gain_of,
    make_profile,
    placement_of,
    profile_statistics,
    region_statistics,
    sum_dtype,
    transform_frame,
)
from lima2_receivers.kernels.accumulation import (
    accumulate_reference,
    add_frame,
    copy_sum,
    finish_sum,
    partial_sum_dtype,
    set_sum,
)
from lima2_receivers.kernels.correction import correct_reference
from lima2_receivers.kernels.countrate import first_above_reference
from lima2_receivers.kernels.geometry import transform_reference
from lima2_receivers.kernels.profiles import profile_reference
from lima2_receivers.kernels.statistics import region_statistics_reference
from lima2_receivers.kernels.widening import sum_dummy

SHAPE = (1, 60, 210)
DUMMIES = {"u1": 255, "u2": 65535, "i2": -32768, "i4": -(2**31), "u4": 7}
DTYPES = [*DUMMIES.items()]


def frame_of(dtype: str, dummy: float, seed: int = 1, share: float = 0.1) -> np.ndarray:
    """Any values, a part of them dummy; a whole block and the first pixel as well."""
    random = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    frame = random.integers(max(limits.min, -30000), min(limits.max, 60000), SHAPE).astype(dtype)
    frame[random.random(SHAPE) < share] = dummy
    frame[0, 20:45] = dummy
    frame[0, 0, 0] = dummy
    return frame


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_regions(dtype, dummy, share):
    frame = frame_of(dtype, dummy, share=share)
    regions = find_regions(SHAPE, [(0, 0, 210, 60), (0, 0, 1, 1), (5, 3, 17, 9), (0, 22, 210, 20), (0, 22, 210, 38)])
    np.testing.assert_allclose(
        region_statistics(frame, regions, dummy), region_statistics_reference(frame, regions, dummy), rtol=1e-12
    )
    assert np.isnan(region_statistics(frame, regions, dummy)[[1, 3]]).all()
    assert not np.isnan(region_statistics(frame, regions)).any()


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("direction", ["vertical", "horizontal"])
def test_profiles(dtype, dummy, direction):
    frame = frame_of(dtype, dummy)
    valid = np.random.default_rng(2).random(SHAPE) < 0.8
    profile = make_profile(SHAPE, (3, 2, 100, 50), direction, valid)
    expected = profile_reference(frame, profile, valid, dummy)
    np.testing.assert_allclose(profile_statistics(frame, profile, dummy), expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("binning", [(2, 2), (3, 1), (1, 4)])
@pytest.mark.parametrize("rotation", ["none", "90cw"])
def test_bins(dtype, dummy, binning, rotation):
    frame = frame_of(dtype, dummy, share=0.02)
    transform = ImageTransform(SHAPE[1:], binning=binning, flip="left_right", rotation=rotation)
    result = sum_dtype(np.dtype(dtype), binning[0] * binning[1])
    out = np.empty((1, *transform.shape), result)
    transform_frame(frame, (0, 0), binning, placement_of(transform), out, dummy)
    expected = transform_reference(frame, transform, result, dummy)
    np.testing.assert_array_equal(out, expected)
    mark = sum_dummy(result)
    marked = np.isnan(out) if result.kind == "f" else out == mark
    assert 0 < marked.sum() < marked.size


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_sums(dtype, dummy, depth):
    frames = [frame_of(dtype, dummy, seed, 0.01) for seed in range(depth)]
    result = sum_dtype(np.dtype(dtype), depth)
    total, out = np.empty(SHAPE, partial_sum_dtype(result)), np.empty(SHAPE, result)
    set_sum(total, frames[0], dummy)
    for frame in frames[1:-1]:
        add_frame(total, frame, dummy)
    before = total.copy()
    finish_sum(total, frames[-1], out, dummy)
    np.testing.assert_array_equal(total, before)
    np.testing.assert_array_equal(out, accumulate_reference(frames, result, dummy))
    copy_sum(total, out)
    if depth > 2:
        np.testing.assert_array_equal(out, accumulate_reference(frames[:-1], result, dummy))


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("with_dark", [True, False])
@pytest.mark.parametrize("with_flat", [True, False])
def test_dark_and_flat(dtype, dummy, with_dark, with_flat):
    if not (with_dark or with_flat):
        return
    frame, random = frame_of(dtype, dummy), np.random.default_rng(4)
    dark = random.normal(3, 1, SHAPE).astype("f4") if with_dark else None
    flat = random.uniform(0.5, 2, SHAPE).astype("f4") if with_flat else None
    masked = random.random(SHAPE) < 0.2 if with_flat else None
    gain = gain_of(flat, masked, np.dtype("f4")) if with_flat else None
    out = np.empty(SHAPE, "f4")
    correct(frame, (0, 0), dark, gain, out, dummy)
    expected = correct_reference(frame, dark, flat, masked, dummy)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("dtype", "dummy"), DTYPES)
@pytest.mark.parametrize("ignore_max", [True, False])
def test_count_rate(dtype, dummy, ignore_max):
    frame = np.full(SHAPE, dummy, dtype)
    keep = np.ones(SHAPE, "u1")
    limit = frame.dtype.type(5)
    assert first_above(frame, limit, keep, ignore_max, dummy) == -1
    frame[0, 50, 7] = 100
    place = first_above(frame, limit, keep, ignore_max, dummy)
    assert place == first_above_reference(frame, limit, keep, ignore_max, dummy) == 50 * 210 + 7


def test_infinite_pixels_are_honest():
    frame = np.random.default_rng(1).normal(5, 1, SHAPE).astype("f4")
    frame[0, 5, 5], frame[0, 5, 6], frame[0, 30, 3] = np.inf, np.nan, np.inf
    regions = find_regions(SHAPE, [(0, 0, 210, 60), (0, 10, 210, 5)])
    values = region_statistics(frame, regions)
    np.testing.assert_array_equal(values[0, [1, 2, 4]], np.inf)
    assert values[0, 0] == np.nanmin(frame)
    assert np.isnan(values[0, 3])
    assert np.isfinite(values[1]).all()
    for direction, bins in (("vertical", [5, 30]), ("horizontal", [3, 5])):
        profile = profile_statistics(frame, make_profile(SHAPE, (0, 0, 210, 60), direction))
        assert np.flatnonzero(np.isinf(profile[:, 4])).tolist() == bins
        assert np.isfinite(np.delete(profile, bins, axis=0)).all()
