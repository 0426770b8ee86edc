"""Strip charts stay within their buckets and keep mean, lowest and highest value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.monitor.series import Series


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=40), max_size=30),
    st.sampled_from([2, 8, 64]),
)
def test_any_cut_of_the_values_gives_the_same_points(parts, capacity):
    series, whole = Series(capacity), Series(capacity)
    values = np.array([value for part in parts for value in part], float)
    first = 0
    for part in parts:
        series.add(first, np.array(part, float))
        first += len(part)
    whole.add(0, values)
    assert len(series) == len(values)
    got, wanted = series.points(capacity), whole.points(capacity)
    for name in ("x", "lo", "hi"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    np.testing.assert_allclose(got.y, wanted.y, rtol=1e-9, atol=1e-3)
    assert len(got.x) <= capacity
    there = values[~np.isnan(values)]
    assert (len(got.x) == 0) == (len(there) == 0)
    if len(there):
        assert got.lo.min() == there.min()
        assert got.hi.max() == there.max()
        assert np.all(got.lo - 1e-3 <= got.y)
        assert np.all(got.y <= got.hi + 1e-3)


def test_few_values_are_kept_one_by_one():
    series = Series(8)
    series.add(0, np.array([1.0, np.nan, 3.0]))
    points = series.points()
    np.testing.assert_array_equal(points.x, [0, 2])
    np.testing.assert_array_equal(points.y, [1, 3])
    assert series.last == 3


def test_many_values_are_thinned_by_mean_and_band():
    series = Series(4)
    series.add(0, np.arange(16.0))
    points = series.points()
    np.testing.assert_array_equal(points.x, [1.5, 5.5, 9.5, 13.5])
    np.testing.assert_array_equal(points.y, [1.5, 5.5, 9.5, 13.5])
    np.testing.assert_array_equal(points.lo, [0, 4, 8, 12])
    np.testing.assert_array_equal(points.hi, [3, 7, 11, 15])
    fewer = series.points(2)
    np.testing.assert_array_equal(fewer.y, [3.5, 11.5])


def test_an_empty_chart_has_no_points():
    assert len(Series().points().x) == 0
    assert Series().last is None


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_a_capacity_that_cannot_be_halved_is_refused(capacity):
    with pytest.raises(ValueError, match="even"):
        Series(capacity)
