"""ROI statistics: compiled against NumPy, on random and on awkward pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lima2_receivers.kernels import STATISTICS, ArcRoi, find_regions, region_statistics
from lima2_receivers.kernels.statistics import region_statistics_reference

INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4")
FLOATS = ("f4", "f8")


def random_frame(dtype: str, shape=(2, 70, 131)) -> np.ndarray:
    random = np.random.default_rng(1)
    if dtype in FLOATS:
        return random.normal(-3, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("masked", [False, True])
def test_random_frames_give_what_numpy_gives(dtype, masked):
    frame = random_frame(dtype)
    valid = np.random.default_rng(2).random((1, 70, 131)) > 0.2 if masked else None
    rectangles = [(0, 0, 131, 70), (0, 3, 131, 40), (130, 69, 1, 1), (5, 6, 7, 50)]
    arcs = [ArcRoi(60, 30, 5, 25, 350, 80), ArcRoi(-3, 80, 0, 40)]
    regions = find_regions(frame.shape, rectangles, arcs, valid)
    result = region_statistics(frame, regions)
    assert result.shape == (6, len(STATISTICS))
    np.testing.assert_allclose(result, region_statistics_reference(frame, regions), rtol=1e-10)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("edge", ["min", "max"])
def test_a_saturated_frame_has_exact_sum_and_no_deviation(dtype, edge):
    value = getattr(np.iinfo(dtype), edge)
    frame = np.full((1, 300, 1000), value, dtype)
    regions = find_regions(frame.shape, [(0, 0, 1000, 300), (1, 1, 998, 298)])
    for row, size in zip(region_statistics(frame, regions), (300_000, 298 * 998), strict=True):
        assert row.tolist() == [value, value, value, 0.0, value * size]


@given(
    hnp.arrays(st.sampled_from(["u1", "i1", "u2", "i2"]), st.tuples(st.just(1), st.integers(1, 40), st.integers(1, 40)))
)
def test_integer_statistics_are_exact(frame):
    regions = find_regions(frame.shape, [(0, 0, frame.shape[2], frame.shape[1])])
    low, high, mean, deviation, total = region_statistics(frame, regions)[0]
    pixels = [int(pixel) for pixel in frame.ravel()]
    assert (low, high, total) == (min(pixels), max(pixels), sum(pixels))
    count = len(pixels)
    exact = (count * sum(pixel * pixel for pixel in pixels) - sum(pixels) ** 2) / count**2
    assert mean == pytest.approx(sum(pixels) / count, rel=1e-15, abs=1e-300)
    assert deviation == pytest.approx(exact**0.5, rel=1e-12, abs=1e-12)


@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8"]),
        st.tuples(st.just(1), st.integers(1, 20), st.integers(1, 20)),
        elements=st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
    )
)
def test_pixels_that_are_not_a_number_count_as_not_measured(frame):
    regions = find_regions(frame.shape, [(0, 0, frame.shape[2], frame.shape[1])])
    result, expected = region_statistics(frame, regions), region_statistics_reference(frame, regions)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-6 * np.nanmax(np.abs(frame), initial=0))


def test_a_small_deviation_on_a_large_offset_is_not_lost():
    frame = (1e9 + np.tile([0.0, 1.0], 50_000)).reshape(1, 100, 1000)
    assert region_statistics(frame, find_regions(frame.shape, [(0, 0, 1000, 100)]))[0, 3] == pytest.approx(0.5)
    counts = (4_000_000_000 + np.tile([0, 1], 50_000)).reshape(1, 100, 1000).astype("u4")
    assert region_statistics(counts, find_regions(counts.shape, [(0, 0, 1000, 100)]))[0, 3] == pytest.approx(0.5)


def test_one_hot_pixel_among_zeros():
    frame = np.zeros((1, 512, 512), "u4")
    frame[0, 200, 300] = 2**32 - 1
    row = region_statistics(frame, find_regions(frame.shape, [(0, 0, 512, 512)]))[0]
    np.testing.assert_allclose(row, [0, 2**32 - 1, frame.mean(), frame.std(), 2**32 - 1], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["u2", "u4", "f4"])
def test_a_region_without_valid_pixels_is_not_a_number(dtype):
    frame = np.ones((1, 4, 4), dtype)
    valid = np.zeros((1, 4, 4), bool)
    assert np.isnan(region_statistics(frame, find_regions(frame.shape, [(0, 0, 2, 2)], valid=valid))).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_infinite_and_negative_pixels_order_as_numbers_do(dtype):
    frame = np.array([[[-0.0, 0.0, -5.0, np.inf, np.nan, 3.0]]], dtype)
    row = region_statistics(frame, find_regions(frame.shape, [(0, 0, 6, 1), (0, 0, 3, 1)]))
    assert row[0, :2].tolist() == [-5.0, np.inf]
    assert row[1, :2].tolist() == [-5.0, 0.0]
    assert row[0, 4] == np.inf


def test_regions_of_another_frame_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\).*\(1, 8, 8\)"):
        region_statistics(np.zeros((1, 4, 4), "u2"), find_regions((1, 8, 8), [(0, 0, 8, 8)]))


def test_no_regions_no_rows():
    assert region_statistics(np.zeros((1, 4, 4), "u2"), find_regions((1, 4, 4))).shape == (0, 5)
