"""What must hold for every frame, whatever is in it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smx_frames import maps, radial_bins

from lima2_receivers.kernels.smx import make_finder
from lima2_receivers.kernels.smx_types import FinderResult, FinderSettings, PixelCorrections, RadialBins

SHAPE = (40, 36)
NONE = PixelCorrections()
seeds = st.integers(0, 2**32 - 1)


def find(image: np.ndarray, bins: RadialBins, corrections=NONE, **options) -> FinderResult:
    return make_finder(bins, corrections, FinderSettings(**options), image.dtype, "cpu")(image)


def frame(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = random.poisson(20, SHAPE)
    image[random.random(SHAPE) < 0.02] *= 8
    return image.astype("u2")


@given(seeds, st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_a_constant_only_shifts_the_azimuthal_background(seed, constant):
    image, bins = frame(seed), radial_bins(SHAPE, 5)
    below = find(image, bins, error_model="azimuthal")
    above = find(image + np.uint16(constant), bins, error_model="azimuthal")
    np.testing.assert_allclose(above.background_avg, below.background_avg + constant, rtol=1e-6)
    np.testing.assert_allclose(above.background_std, below.background_std, rtol=1e-4)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_order_of_pixels_in_a_bin_does_not_matter(seed):
    image, bins = frame(seed), radial_bins(SHAPE, 5)
    random = np.random.default_rng(seed)
    mixed = [random.permutation(bins.indices[slice(*bins.indptr[k : k + 2])]) for k in range(5)]
    for corrections in (NONE, maps(image.size)):
        one = find(image, bins, corrections)
        other = find(image, replace(bins, indices=np.concatenate(mixed)), corrections)
        np.testing.assert_array_equal(one.background_avg, other.background_avg)
        np.testing.assert_array_equal(one.background_std, other.background_std)
        np.testing.assert_array_equal(one.index, other.index)


@given(seeds, st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_masked_pixels_never_appear_nor_matter(seed, share):
    image, bins = frame(seed), radial_bins(SHAPE, 5)
    masked = np.random.default_rng(seed + 1).random(image.size) < share
    corrections = PixelCorrections(masked=masked)
    found = find(image, bins, corrections, noise=0.0)
    assert not masked[found.index].any()
    changed = np.where(masked.reshape(SHAPE), np.uint16(65535), image)
    again = find(changed, bins, corrections, noise=0.0)
    np.testing.assert_array_equal(again.background_avg, found.background_avg)
    np.testing.assert_array_equal(again.index, found.index)
    np.testing.assert_array_equal(again.spots, found.spots)


@given(seeds, st.floats(0.5, 8), st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_a_higher_cutoff_picks_a_part_of_the_pixels(seed, cutoff, more):
    image, bins = frame(seed), radial_bins(SHAPE, 5)
    many, few = (find(image, bins, cutoff_pick=value) for value in (cutoff, cutoff + more))
    assert set(few.index) <= set(many.index)
    assert (np.diff(many.index) > 0).all()
    assert (np.diff(np.rint(many.spots["y"]) // 3) >= -1).all()


def test_a_frame_whose_every_pixel_is_masked():
    found = find(frame(0), radial_bins(SHAPE, 5), PixelCorrections(masked=np.ones(SHAPE[0] * SHAPE[1], bool)))
    assert np.isnan(found.background_avg).all()
    assert np.isnan(found.background_std).all()
    assert len(found.index) == len(found.intensity) == len(found.spots) == 0


@pytest.mark.parametrize("model", ["poisson", "azimuthal", "hybrid"])
@pytest.mark.parametrize("value", [0, 1, 65535])
def test_a_frame_of_one_value_has_no_spots(model, value):
    found = find(np.full(SHAPE, value, "u2"), radial_bins(SHAPE, 5), error_model=model)
    assert (found.background_avg == value).all()
    assert len(found.index) == len(found.spots) == 0


def test_a_frame_whose_nearly_every_pixel_is_picked():
    height, width = 600, 500
    image = np.full((height, width), 1000, "u2")
    image[::100, ::100] = 0
    # the bins hold the dark pixels only
    dark = np.flatnonzero(image.ravel() == 0).astype("i4")
    bins = radial_bins(image.shape, 2)
    indptr = np.array([0, len(dark) // 2, len(dark)], "i4")
    finder = make_finder(replace(bins, indices=dark, indptr=indptr), NONE, FinderSettings(), image.dtype, "cpu", 2)
    found = finder(image)
    finder.close()
    np.testing.assert_array_equal(found.index, np.flatnonzero(image))
    assert (found.intensity == 1000).all()
    assert len(found.spots) == 2048
    assert found.nb_dropped > 200_000


def test_one_bin_for_nearly_all_pixels_and_bins_of_one():
    image = frame(1)
    size = image.size
    radius = np.arange(size, dtype="f4")
    order = np.arange(size, dtype="i4")
    whole = RadialBins(SHAPE, np.array([0, size], "f4"), np.array([0, size, size], "i4"), order, None, radius)
    found = find(image, whole, cycle=0)
    assert found.background_avg[0] == pytest.approx(image.mean(), rel=1e-6)
    assert np.isnan(found.background_avg[1])
    single = RadialBins(SHAPE, radius, np.arange(size + 1, dtype="i4"), order, None, radius)
    found = find(image, single, cycle=3, error_model="azimuthal")
    np.testing.assert_array_equal(found.background_avg, image.ravel())
    assert (found.background_std == 0).all()


def test_values_below_zero_after_the_dark():
    image, size = frame(2), SHAPE[0] * SHAPE[1]
    bins, dark = radial_bins(SHAPE, 5), np.full(size, 500, "f4")
    without = find(image.astype("f4"), bins, error_model="azimuthal")
    found = find(image, bins, PixelCorrections(dark=dark), error_model="azimuthal")
    np.testing.assert_allclose(found.background_avg, without.background_avg - 500, rtol=1e-6)
    np.testing.assert_array_equal(found.index, without.index)
    assert (found.intensity < 0).all()


def test_a_frame_of_nan():
    found = find(np.full(SHAPE, np.nan, "f4"), radial_bins(SHAPE, 5))
    assert np.isnan(found.background_avg).all()
    assert len(found.index) == 0


def test_an_image_narrower_than_a_patch():
    image = np.random.default_rng(0).poisson(3, (3, 400)).astype("u2")
    image[1, 200:203] = 500
    found = find(image, radial_bins((3, 400), 8), patch_size=7)
    assert len(found.index) >= 3
    assert len(found.spots) == 0
