"""The compiled SMX finder gives what the plain one gives, from one and from many threads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smx_frames import make_scene, maps, radial_bins, split_bins

from lima2_bliss.contract import StateError
from lima2_receivers.kernels.compilation import compiled_count
from lima2_receivers.kernels.smx import make_finder, warm_up_smx
from lima2_receivers.kernels.smx_reference import ReferenceFinder
from lima2_receivers.kernels.smx_types import FinderResult, FinderSettings, PixelCorrections

NONE = PixelCorrections()
MODELS = ("no_var", "variance", "poisson", "azimuthal", "hybrid")


def assert_same(found: FinderResult, expected: FinderResult) -> None:
    """Same pixels and spots, and the same numbers up to rounding."""
    np.testing.assert_allclose(found.background_avg, expected.background_avg, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.background_std, expected.background_std, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.intensity, expected.intensity)
    assert found.index.dtype == np.int32
    assert found.intensity.dtype == expected.intensity.dtype
    assert found.nb_dropped == expected.nb_dropped
    assert found.spots.dtype == expected.spots.dtype
    np.testing.assert_array_equal(found.spots["size"], expected.spots["size"])
    for name in ("y", "x", "intensity", "sigma"):
        np.testing.assert_allclose(found.spots[name], expected.spots[name], rtol=2e-5, atol=1e-5)


@pytest.fixture(scope="module")
def scene():
    return make_scene((300, 260), 80, 40)


def frame_of(dtype: str, scene) -> np.ndarray:
    image = np.minimum(scene.image, np.iinfo(dtype).max) if dtype != "f4" else scene.image
    image = image.astype(dtype)
    image[scene.mask] = np.nan if dtype == "f4" else np.iinfo(dtype).max
    return image


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "f4"])
@pytest.mark.parametrize("model", ["poisson", "hybrid"])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_scene_in_every_pixel_type(scene, dtype, model, mapped):
    image = frame_of(dtype, scene)
    corrections = maps(image.size) if mapped else NONE
    options = FinderSettings(error_model=model)
    found = make_finder(scene.bins, corrections, options, image.dtype, "cpu")(image)
    assert_same(found, make_finder(scene.bins, corrections, options, image.dtype, "reference")(image))
    assert len(found.spots) > 20
    assert not scene.mask.ravel()[found.index].any()


@pytest.mark.parametrize("model", MODELS)
def test_pixels_split_over_bins(scene, model):
    bins, corrections, options = split_bins(scene.bins), maps(scene.image.size), FinderSettings(error_model=model)
    found = make_finder(bins, corrections, options, scene.image.dtype, "cpu")(scene.image)
    assert_same(found, make_finder(bins, corrections, options, scene.image.dtype, "reference")(scene.image))


@st.composite
def cases(draw):
    """(bins, corrections, settings, image): small, and as odd as they get."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = height * width
    dtype = np.dtype(draw(st.sampled_from(["u1", "u2", "i4", "f4"])))
    bins = radial_bins((height, width), draw(st.integers(2, 9)), beyond=draw(st.sampled_from([1.0, 2.0])))
    if draw(st.booleans()):
        bins = split_bins(bins, draw(st.integers(0, 9)))
    given_maps = maps(size, draw(st.integers(0, 9)))
    chosen = {
        name: getattr(given_maps, name) if draw(st.booleans()) else None
        for name in ("dark", "dark_variance", "normalization")
    }
    if chosen["normalization"] is not None:
        chosen["normalization"][random.random(size) < 0.05] = draw(st.sampled_from([0, np.nan, np.inf, -1]))
    masked = random.random(size) < draw(st.sampled_from([0, 0.1, 1])) if draw(st.booleans()) else None
    dummy = draw(st.sampled_from([None, (0.0, 0.0), (3.0, 1.0)]))
    corrections = PixelCorrections(**chosen, variance=given_maps.variance, masked=masked, dummy=dummy)
    options = FinderSettings(
        error_model=draw(st.sampled_from(MODELS)),
        cutoff_clip=draw(st.sampled_from([0, 2.371])),
        cycle=draw(st.integers(0, 4)),
        cutoff_pick=draw(st.sampled_from([0.52, 3.9])),
        noise=draw(st.sampled_from([0.0, 0.6])),
        radial_range=draw(st.sampled_from([None, (3.0, 11.0)])),
        cutoff_peak=draw(st.sampled_from([0.81, 4.7])),
        patch_size=draw(st.sampled_from([3, 5, 7])),
        connected=draw(st.integers(1, 4)),
        max_spots=draw(st.sampled_from([2, 100])),
    )
    values = random.poisson(draw(st.sampled_from([0.1, 3, 100])), size).astype("f8")
    values[random.random(size) < 0.1] *= 10
    if dtype.kind == "f":
        values += random.normal(0, 0.3, size)
        values[random.random(size) < 0.05] = draw(st.sampled_from([np.nan, np.inf, -np.inf, -1e30]))
    else:
        values[random.random(size) < 0.05] = np.iinfo(dtype).max
        values = np.minimum(values, np.iinfo(dtype).max)
    return bins, corrections, options, values.astype(dtype).reshape(height, width)


@given(cases())
@settings(max_examples=150, deadline=None)
def test_random_tables_maps_and_settings(case):
    bins, corrections, options, image = case
    finder = make_finder(bins, corrections, options, image.dtype, "cpu")
    reference = ReferenceFinder(bins, corrections, options, image.dtype)
    found = finder(image)
    average, deviation = found.background_avg, found.background_std
    expected = reference.background(image)
    np.testing.assert_allclose(average, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(deviation, expected[1], rtol=1e-4, atol=1e-4)
    index, intensity = reference.pick(image, average, deviation)
    assert_same(found, FinderResult(average, deviation, index, intensity, *reference.spots(image, average, deviation)))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_share_a_frame_give_the_same(scene, threads):
    for corrections in (NONE, maps(scene.image.size)):
        one = make_finder(scene.bins, corrections, FinderSettings(), scene.image.dtype, "cpu")
        many = make_finder(scene.bins, corrections, FinderSettings(), scene.image.dtype, "cpu", threads)
        assert_same(many(scene.image), one(scene.image))
        many.close()


def test_many_callers_at_the_same_time(scene):
    finder = make_finder(scene.bins, NONE, FinderSettings(), scene.image.dtype, "cpu", 2)
    images = [scene.image, scene.image[::-1].copy(), np.zeros_like(scene.image)]
    expected = [finder(image) for image in images]
    with ThreadPoolExecutor(4) as callers:
        for number, found in enumerate(callers.map(lambda k: finder(images[k % 3]), range(60))):
            assert_same(found, expected[number % 3])
    finder.close()


def test_an_error_in_a_thread_reaches_the_caller(scene, monkeypatch):
    finder = make_finder(scene.bins, NONE, FinderSettings(), scene.image.dtype, "cpu", 2)

    def broken(*_):
        raise MemoryError("no room")

    monkeypatch.setattr("lima2_receivers.kernels.smx_cpu.clip_plain", broken)
    with pytest.raises(MemoryError, match="no room"):
        finder(scene.image)
    monkeypatch.undo()
    assert len(finder(scene.image).spots) > 20
    finder.close()


def test_a_closed_finder_says_so(scene):
    finder = make_finder(scene.bins, NONE, FinderSettings(), scene.image.dtype, "cpu", 2)
    finder.close()
    finder.close()
    with pytest.raises(StateError, match="closed"):
        finder(scene.image)


def test_an_image_of_another_shape_is_refused(scene):
    finder = make_finder(scene.bins, NONE, FinderSettings(), scene.image.dtype, "cpu")
    with pytest.raises(ValueError, match=r"\(300, 260\)"):
        finder(scene.image.T)


def test_images_that_cannot_be_written_or_are_not_contiguous(scene):
    finder = make_finder(scene.bins, NONE, FinderSettings(), scene.image.dtype, "cpu")
    expected = finder(scene.image)
    fixed = scene.image.copy()
    fixed.flags.writeable = False
    compiled = compiled_count()
    assert_same(finder(fixed), expected)
    assert_same(finder(np.asfortranarray(scene.image)), expected)
    assert compiled_count() == compiled


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_after_warm_up_nothing_is_compiled(dtype, scene):
    warm_up_smx(dtype)
    compiled = compiled_count()
    image = scene.image.astype(dtype)
    for corrections in (
        NONE,
        maps(image.size),
        replace(NONE, dummy=(0.0, 0.5)),
        replace(NONE, masked=scene.mask.ravel()),
    ):
        for bins in (scene.bins, split_bins(scene.bins)):
            options = FinderSettings(error_model="variance" if corrections.variance is not None else "hybrid")
            make_finder(bins, corrections, options, np.dtype(dtype), "cpu")(image)
    assert compiled_count() == compiled
    assert warm_up_smx(dtype) < 0.1
