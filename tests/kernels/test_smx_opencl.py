"""The OpenCL backend gives what the reference gives, and what pyFAI's peak finder gives."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError, StateError
from lima2_receivers.kernels.opencl_devices import choose_device
from lima2_receivers.kernels.smx_reference import ReferenceFinder
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections, RadialBins

pytest.importorskip("pyopencl")
from lima2_receivers.kernels.smx_opencl import OpenclFinder

HEIGHT, WIDTH, NB_BINS = 256, 300, 60
SETTINGS = FinderSettings()


def radial_bins(mask: np.ndarray, beyond: float = 1.0) -> RadialBins:
    """Bins without splitting; ``beyond`` > 1 leaves the last ones empty."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(y - 110.3, x - 170.8).ravel()
    step = radius.max() * 1.0001 * beyond / NB_BINS
    number = (radius / step).astype(int)
    pixels = np.flatnonzero(~mask)
    order = pixels[np.argsort(number[pixels], kind="stable")]
    indptr = np.concatenate(([0], np.cumsum(np.bincount(number[pixels], minlength=NB_BINS))))
    centers = (np.arange(NB_BINS) + 0.5) * step
    visible = np.where(mask, np.nan, radius).astype("f4")
    return RadialBins((HEIGHT, WIDTH), centers.astype("f4"), indptr.astype("i4"), order.astype("i4"), None, visible)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    masked = np.zeros((HEIGHT, WIDTH), bool)
    masked[125:131] = True
    masked[:, 60:63] = True
    return masked.ravel()


@pytest.fixture(scope="module")
def bins(mask) -> RadialBins:
    return radial_bins(mask)


@pytest.fixture(scope="module")
def image(bins) -> np.ndarray:
    rng = np.random.default_rng(5)
    radius = np.nan_to_num(bins.radius).reshape(HEIGHT, WIDTH)
    pixels = rng.poisson(9 * np.exp(-radius / 60) + 1)
    for _ in range(50):
        y, x = rng.integers(0, HEIGHT - 3), rng.integers(0, WIDTH - 3)
        pixels[y : y + 3, x : x + 3] += rng.integers(5, 60, (3, 3))
    return pixels.astype("u2")


@pytest.fixture(scope="module")
def maps(mask) -> PixelCorrections:
    rng = np.random.default_rng(6)

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, mask.size).astype("f4")

    norm = uniform(0.7, 1.4)
    norm[[3000, 3001]] = 0, np.nan
    return PixelCorrections(uniform(0, 1), uniform(0, 0.2), uniform(1, 9), norm, mask, (4.0, 0.0))


@pytest.fixture(scope="module", autouse=True)
def _device(bins, mask):
    try:
        OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, np.dtype("u2")).close()
    except ParameterError as error:
        pytest.skip(f"no OpenCL device that works: {error.what}")


def assert_same(finder, reference, image) -> None:
    found, expected = finder(image), reference(image)
    np.testing.assert_allclose(found.background_avg, expected.background_avg, rtol=1e-5)
    np.testing.assert_allclose(found.background_std, expected.background_std, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.intensity, expected.intensity)
    assert found.intensity.dtype == expected.intensity.dtype == finder.intensity_dtype
    assert found.spots.dtype == expected.spots.dtype
    assert len(found.spots) == len(expected.spots)
    assert found.nb_dropped == expected.nb_dropped
    for name in found.spots.dtype.names:
        np.testing.assert_allclose(found.spots[name], expected.spots[name], rtol=1e-4, err_msg=name)


def compare(bins, corrections, settings, image) -> None:
    finder = OpenclFinder(bins, corrections, settings, image.dtype)
    try:
        assert_same(finder, ReferenceFinder(bins, corrections, settings, image.dtype), image)
    finally:
        finder.close()


@pytest.mark.parametrize("model", ["no_var", "variance", "poisson", "azimuthal", "hybrid"])
def test_every_error_model_with_all_maps(bins, maps, image, model):
    compare(bins, maps, FinderSettings(error_model=model), image)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_every_pixel_type(bins, mask, image, dtype):
    compare(
        bins, PixelCorrections(masked=mask), SETTINGS, np.minimum(image, 255 if dtype == "u1" else 999).astype(dtype)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"patch_size": 3, "connected": 1, "cutoff_peak": 3.0},
        {"patch_size": 7, "connected": 5, "noise": 0.0},
        {"radial_range": (20.0, float("inf"))},
        {"radial_range": (20.0, 90.0), "cutoff_clip": 5.0, "cycle": 0},
        {"max_spots": 7},
    ],
    ids=str,
)
def test_settings(bins, mask, image, changed):
    compare(bins, PixelCorrections(masked=mask), replace(SETTINGS, **changed), image)


def test_bins_without_pixels_are_nan(mask, image):
    bins = radial_bins(mask, beyond=1.6)
    assert (np.diff(bins.indptr) == 0).any()
    compare(bins, PixelCorrections(masked=mask), SETTINGS, image)


def test_pixels_that_are_split_over_bins(bins, mask, image):
    rng = np.random.default_rng(7)
    share = rng.uniform(0.2, 1, len(bins.indices)).astype("f4")
    compare(replace(bins, coefs=share), PixelCorrections(masked=mask), SETTINGS, image)


def test_all_pixels_alike_or_saturated(bins, mask):
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), replace(SETTINGS, connected=1), np.dtype("u2"))
    reference = ReferenceFinder(bins, PixelCorrections(masked=mask), finder.settings, np.dtype("u2"))
    image = np.zeros((HEIGHT, WIDTH), "u2")
    assert_same(finder, reference, image)
    image[40:60, 80:120] = 65535  # a plateau: every pixel of it is a top
    assert_same(finder, reference, image)
    image[...] = 65535
    assert_same(finder, reference, image)
    finder.close()


def test_everything_masked(bins, image):
    everything = PixelCorrections(masked=np.ones(image.size, bool))
    finder = OpenclFinder(bins, everything, SETTINGS, image.dtype)
    found = finder(image)
    assert np.isnan(found.background_avg).all()
    assert len(found.index) == len(found.spots) == 0


def test_many_threads_share_a_finder(bins, mask, image):
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, image.dtype, lanes=2)
    images = [np.roll(image, shift, axis=0) for shift in range(4)]
    expected = [finder(pixels) for pixels in images]
    wrong = []

    def work(number: int) -> None:
        for _ in range(5):
            found = finder(images[number])
            if found.index.tolist() != expected[number].index.tolist() or (found.spots != expected[number].spots).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    finder.close()
    assert not wrong


def test_profile_tells_copies_and_kernels_apart(bins, mask, image):
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, image.dtype, profiling=True)
    finder(image)
    finder(image)
    assert finder.nb_profiled == 2
    assert set(finder.profile) == {"copy in", "gather", "clip", "find", "describe", "copy out"}
    assert all(seconds >= 0 for seconds in finder.profile.values())
    finder.close()


def test_a_closed_finder_says_so(bins, mask, image):
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, image.dtype)
    finder.close()
    finder.close()
    with pytest.raises(StateError, match="closed"):
        finder(image)


def test_another_size_is_refused(bins, mask, image):
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, image.dtype)
    with pytest.raises(ParameterError, match=r"\(10, 300\)"):
        finder(image[:10])
    finder.close()


def test_same_as_the_peak_finder_of_pyfai(bins, mask, image, monkeypatch):
    cl = pytest.importorskip("pyopencl")
    from pyFAI.opencl import ocl
    from pyFAI.opencl.peak_finder import OCL_PeakFinder

    device = choose_device()
    # It looks for the device by the name of its platform, and two versions of PoCL have the same name.
    ours = [platform for platform in ocl.platforms if platform.get_device(device.name.strip())]
    monkeypatch.setattr(ocl, "platforms", ours)
    matrix = (np.ones(len(bins.indices), "f4"), bins.indices, bins.indptr)
    context = cl.Context([device])
    theirs = OCL_PeakFinder(
        matrix, image.size, empty=0, bin_centers=bins.centers, radius=bins.radius, mask=mask.astype("i1"), ctx=context
    )
    names = ("error_model", "cutoff_clip", "cycle", "noise", "cutoff_pick", "cutoff_peak", "patch_size", "connected")
    pixels = image.astype("f4")  # with integers it needs a newer silx than BLISS allows
    expected = theirs.sparsify(pixels, **{name: getattr(SETTINGS, name) for name in names})
    finder = OpenclFinder(bins, PixelCorrections(masked=mask), SETTINGS, pixels.dtype)
    found = finder(pixels)
    finder.close()
    np.testing.assert_allclose(found.background_avg, expected.background_avg, rtol=1e-5)
    np.testing.assert_allclose(found.background_std, expected.background_std, rtol=1e-5)
    order = np.argsort(expected.index)
    np.testing.assert_array_equal(found.index, expected.index[order])
    np.testing.assert_array_equal(found.intensity, expected.intensity[order])
    peaks = np.sort(expected.peaks, order="index")
    assert len(found.spots) == len(peaks) > 20
    for ours, name in (("y", "pos0"), ("x", "pos1"), ("intensity", "intensity"), ("sigma", "sigma")):
        np.testing.assert_allclose(found.spots[ours], peaks[name], rtol=1e-4, err_msg=name)
