"""The map of hits over two motors."""

import numpy as np

from lima2_bliss.monitor.hit_map import HitMaps

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
