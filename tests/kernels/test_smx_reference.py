"""The plain SMX finder against numbers worked out by hand."""

import numpy as np
import pytest
from smx_frames import radial_bins

from lima2_receivers.kernels.smx_reference import ReferenceFinder, chauvenet
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections, RadialBins

NONE = PixelCorrections()


def two_bins(first: int, second: int, coefs: list[float] | None = None) -> RadialBins:
    """An image of one row; the first pixels are one bin at radius 0, the others one at radius 1."""
    size = first + second
    radius = np.repeat(np.array([0, 1], "f4"), (first, second))
    share = None if coefs is None else np.array(coefs, "f4")
    indptr = np.array([0, first, size], "i4")
    return RadialBins((1, size), np.array([0, 1], "f4"), indptr, np.arange(size, dtype="i4"), share, radius)


def background(pixels: list[float], model: str, maps: PixelCorrections = NONE, coefs=None, cycle: int = 0, **more):
    """Average and deviation of one bin of these pixels."""
    bins = two_bins(len(pixels), 2, None if coefs is None else [*coefs, 1, 1])
    image = np.array([[*pixels, 1, 1]], "f4")
    whole = {}
    for name in ("dark", "dark_variance", "variance", "normalization"):
        values = getattr(maps, name)
        whole[name] = None if values is None else np.array([*values, 1, 1], "f4")
    finder = ReferenceFinder(
        bins,
        PixelCorrections(**whole, dummy=maps.dummy),
        FinderSettings(error_model=model, cycle=cycle, **more),
        image.dtype,
    )
    average, deviation = finder.background(image)
    return float(average[0]), float(deviation[0])


def test_poisson_takes_the_signal_as_variance_and_at_least_one():
    assert background([0, 4, 8], "poisson") == pytest.approx((4, np.sqrt((1 + 4 + 8) / 3)))


def test_azimuthal_takes_the_deviation_from_the_average():
    assert background([0, 4, 8], "azimuthal") == pytest.approx((4, np.sqrt(32 / 3)))


def test_a_map_of_variances_and_that_of_the_dark_add():
    maps = PixelCorrections(variance=[1, 2, 3], dark_variance=[0.5, 0.5, 0.5])
    assert background([0, 4, 8], "variance", maps) == pytest.approx((4, np.sqrt(7.5 / 3)))


def test_hybrid_without_cycles_is_poisson():
    assert background([0, 4, 8], "hybrid") == background([0, 4, 8], "poisson")


def test_dark_is_subtracted_and_normalization_divided_by_and_a_weight():
    maps = PixelCorrections(dark=[1, 1], normalization=[1, 3])
    average, deviation = background([5, 7], "poisson", maps)
    assert average == pytest.approx((4 + 6) / (1 + 3))
    assert deviation == pytest.approx(np.sqrt((5 + 7) / (1 + 9)))


def test_a_share_counts_once_in_the_average_and_squared_in_the_variance():
    average, deviation = background([4, 8], "poisson", coefs=[1, 0.5])
    assert average == pytest.approx((4 + 4) / 1.5)
    assert deviation == pytest.approx(np.sqrt((4 + 0.25 * 8) / 1.25))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 99.5])
def test_what_is_not_finite_or_dummy_is_left_out(odd):
    assert background([2, 4, odd], "poisson", PixelCorrections(dummy=(100, 1))) == pytest.approx((3, np.sqrt(3)))


def test_an_outlier_is_clipped():
    pixels = [10.0] * 50 + [11.0] * 50 + [200.0]
    assert background(pixels, "poisson", cycle=3)[0] == pytest.approx(10.5)
    assert background(pixels, "azimuthal", cycle=3)[0] == pytest.approx(10.5)
    assert background(pixels, "hybrid", cycle=3) == pytest.approx((10.5, np.sqrt(10.5)))


def test_without_deviation_nothing_is_clipped():
    assert background([1, 5, 9], "no_var", cycle=3) == (5, 0)
    assert background([7, 7, 7], "azimuthal", cycle=3) == (7, 0)


def test_two_different_pixels_clip_each_other():
    assert chauvenet(0, 2) == chauvenet(0, 3) == pytest.approx(0.59946, abs=1e-5)
    assert chauvenet(4, 100) == 4
    assert np.isnan(background([1, 9], "azimuthal", cycle=1)[0])
    assert background([1, 9], "azimuthal", cycle=1, cutoff_clip=1.5)[0] == 5


def test_a_bin_without_pixels_is_nan_and_nothing_is_picked_near_it():
    bins = two_bins(4, 4)
    image = np.array([[1, 1, 1, 90, 1, 1, 1, 90]], "u2")
    finder = ReferenceFinder(
        bins, PixelCorrections(masked=np.arange(8) < 4), FinderSettings(cycle=0, cutoff_pick=1), image.dtype
    )
    found = finder(image)
    assert np.isnan(found.background_avg).tolist() == [True, False]
    assert found.index.tolist() == [7]


def flat_scene(noise: float = 1.0, **settings) -> tuple[ReferenceFinder, np.ndarray]:
    """12 x 12 pixels of 4 counts."""
    bins = radial_bins((12, 12), 2)
    finder = ReferenceFinder(bins, NONE, FinderSettings(noise=noise, **settings), np.dtype("u2"))
    return finder, np.full((12, 12), 4, "u2")


def test_a_spot_has_centre_intensity_and_size():
    finder, image = flat_scene()
    image[5, 5:8] = 104, 204, 104
    found = finder(image)
    assert found.index.tolist() == [65, 66, 67]
    assert found.intensity.tolist() == [104, 204, 104]
    (spot,) = found.spots
    assert (spot["y"], spot["x"], spot["size"]) == (5, 6, 3)
    assert spot["intensity"] == pytest.approx(400, rel=0.02)
    assert spot["sigma"] == pytest.approx(np.sqrt(3 * (4 + 1)), rel=0.02)


def test_two_equal_tops_are_two_spots():
    finder, image = flat_scene()
    image[5, 5:8] = 104, 104, 104
    assert finder(image).spots["x"].tolist() == [6, 6, 6]


def test_fewer_pixels_than_connected_are_no_spot():
    finder, image = flat_scene(connected=3)
    image[5, 5:7] = 104, 204
    assert len(finder(image).spots) == 0
    assert len(finder(image).index) == 2


@pytest.mark.parametrize(("side", "free"), [(3, 1), (5, 2), (7, 3)])
def test_a_patch_that_leaves_the_image_is_no_spot(side, free):
    finder, image = flat_scene(patch_size=side, connected=1)
    image[free, 6] = 200
    assert len(finder(image).spots) == 1
    image[free, 6], image[free - 1, 6] = 4, 200
    assert len(finder(image).spots) == 0


@pytest.mark.parametrize(("noise", "spots"), [(1.0, 1), (0.0, 0)])
def test_a_masked_pixel_does_not_count_or_without_noise_forbids_the_spot(noise, spots):
    masked = np.zeros(144, bool)
    masked[4 * 12 + 5] = True
    settings = FinderSettings(noise=noise)
    image = flat_scene()[1]
    image[5, 5:8] = 104, 204, 104
    image[4, 5] = 60000
    finder = ReferenceFinder(radial_bins((12, 12), 2), PixelCorrections(masked=masked), settings, image.dtype)
    assert len(finder(image).spots) == spots


def test_outside_the_radial_range_nothing_is_found():
    bins = radial_bins((12, 12), 2)
    image = flat_scene()[1]
    image[5, 5:8] = 104, 204, 104
    for limits, count in (((6, 9), 3), ((0, 6), 0)):
        finder = ReferenceFinder(bins, NONE, FinderSettings(radial_range=limits, connected=1), image.dtype)
        found = finder(image)
        assert (len(found.index), len(found.spots)) == (count, count // 3)


def test_the_weakest_spots_are_dropped():
    bins = radial_bins((60, 60), 4)
    image = np.random.default_rng(0).poisson(4, (60, 60)).astype("u2")
    for number in range(5):
        image[30, 10 * number + 9 : 10 * number + 12] = 100, 200 + 50 * number, 100
    found = ReferenceFinder(bins, NONE, FinderSettings(max_spots=2), image.dtype)(image)
    assert found.nb_dropped == 3
    assert found.spots["x"] == pytest.approx([40, 50], abs=0.1)


def test_intensities_are_of_the_raw_type_unless_a_dark_is_subtracted():
    bins = radial_bins((12, 12), 2)
    image = flat_scene()[1]
    image[5, 5] = 104
    dark = PixelCorrections(dark=np.full(144, 1.5, "f4"))
    assert ReferenceFinder(bins, NONE, FinderSettings(), image.dtype)(image).intensity.dtype == np.uint16
    found = ReferenceFinder(bins, dark, FinderSettings(), image.dtype)(image)
    assert found.intensity.dtype == np.float32
    assert found.intensity.tolist() == [102.5]
