"""The map of hits over two motors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.monitor import hit_map
from lima2_bliss.monitor.hit_map import MOST_CELLS, HitMaps

AXES = ("axis:robx", "axis:roby")


def raster(nx, ny, noise=0.0, seed=1):
    """Positions of a raster, the fast axis first, each read with a little noise."""
    rng = np.random.default_rng(seed)
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, nx), np.linspace(-2, 2, ny)))
    return x + noise * rng.standard_normal(x.size), y + noise * rng.standard_normal(y.size)


def filled(x, y, hits, cuts=()):
    maps = HitMaps(AXES)
    for part in np.split(x, cuts):
        maps.positions(AXES[0], part)
    maps.positions(AXES[1], y)
    for part in np.split(hits, cuts):
        maps.hits(part)
    return maps


def test_each_frame_is_at_its_position():
    x, y = raster(7, 5, 1e-4)
    hits = np.zeros(35, np.uint8)
    hits[[3, 20]] = 1
    shown = filled(x, y, hits, (4, 11)).map()
    assert (shown.x_title, shown.y_title) == ("robx", "roby")
    np.testing.assert_array_equal(shown.hits, hits.reshape(5, 7))
    np.testing.assert_allclose(shown.x, np.linspace(0, 1, 7), atol=1e-3)
    np.testing.assert_allclose(shown.y, np.linspace(-2, 2, 5), atol=1e-3)


def test_what_was_not_taken_yet_is_empty():
    x, y = raster(4, 3)
    maps = filled(x[:6], y[:6], np.ones(5, np.uint8))
    shown = maps.map()
    assert shown.hits.shape == (2, 4)
    np.testing.assert_array_equal(np.isnan(shown.hits), [[0, 0, 0, 0], [0, 1, 1, 1]])


def test_several_frames_at_a_point_give_a_share():
    x, y = raster(2, 2)
    shown = filled(x, y, np.array([1, 1, 0, 1, 0, 0, 1, 0], np.uint8)).map(frames_per_point=2)
    np.testing.assert_array_equal(shown.hits, [[1, 0.5], [0, 0.5]])


def test_without_two_axes_or_hits_there_is_no_map():
    assert HitMaps(("axis:robx",)).map() is None
    assert HitMaps(AXES).map() is None
    maps = HitMaps(())
    maps.hits(np.ones(3))
    assert maps.map() is None


def test_nothing_added_is_the_same_map():
    x, y = raster(4, 3)
    maps = filled(x, y, np.ones(12, np.uint8))
    shown = maps.map()
    assert maps.map() is shown
    maps.hits(np.ones(1))
    assert maps.map() is shown  # its position is not known yet


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 500), st.integers(0, 100))
def test_a_long_raster_gives_the_same_map_as_a_short_one(nx, ny, part, seed):
    """Also when points are counted in cells at once, and however they come."""
    x, y = raster(nx, ny)
    hits = np.random.default_rng(seed).integers(0, 2, x.size)
    whole = filled(x, y, hits).map()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hit_map, "EXACT_POINTS", 2 * nx)  # the steps of both axes are known by then
        maps = HitMaps(AXES)
        for begin in range(0, x.size, part):
            maps.positions(AXES[0], x[begin : begin + part])
            maps.positions(AXES[1], y[begin : begin + part])
            maps.hits(hits[begin : begin + part])
            shown = maps.map()
    np.testing.assert_allclose(shown.x, whole.x, atol=1e-9)
    np.testing.assert_allclose(shown.y, whole.y, atol=1e-9)
    np.testing.assert_array_equal(shown.hits, whole.hits)


def test_memory_is_bounded_whatever_comes():
    rng = np.random.default_rng(1)
    maps = HitMaps(AXES)
    for reach in (1, 10, 1000, 1e6):
        maps.positions(AXES[0], rng.normal(0, reach, 20_000))
        maps.positions(AXES[1], np.append(rng.normal(0, reach, 19_999), np.nan))
        maps.hits(np.ones(20_000))
        shown = maps.map()
        assert max(shown.hits.shape) <= MOST_CELLS
    assert maps._points == []
    assert np.nanmax(shown.hits) == 1
    np.testing.assert_allclose(maps._cells._number.sum(), 4 * 19_999)


def test_a_very_fine_scan_has_cells_of_several_points():
    maps = HitMaps(AXES, dict.fromkeys(AXES, (0.0, 1.0, 10**6)))
    for name in AXES:
        maps.positions(name, np.array([0.0, 0.5, 1.0]))
    maps.hits(np.ones(3))
    shown = maps.map()
    assert shown.hits.shape == (MOST_CELLS, MOST_CELLS)
    assert (shown.x[0], shown.x[-1]) == (0, pytest.approx(1))
    assert np.nansum(shown.hits) == 3


def test_positions_that_never_come_end_the_map(monkeypatch):
    monkeypatch.setattr(hit_map, "MOST_WAITING", 1000)
    maps = HitMaps(AXES)
    for _ in range(50):
        maps.hits(np.ones(100))
        assert maps.map() is None
    assert sum(len(part) for parts in maps._waiting.values() for part in parts) == 0
