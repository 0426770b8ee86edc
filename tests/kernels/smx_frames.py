"""Frames with spots at known places, the radial bins that go with them, and pyFAI's peak finder on the same bins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections, RadialBins

if TYPE_CHECKING:
    import pyopencl

#: The photons of a spot spread over a Gaussian of this deviation [px].
SPOT_WIDTH = 0.9


@dataclass(frozen=True)
class Scene:
    """``image``: (y, x). ``mask``: (y, x). ``spots``: (n, 3), y, x, photons of the spots that have room."""

    image: np.ndarray
    mask: np.ndarray
    spots: np.ndarray
    bins: RadialBins


def radial_bins(
    shape: tuple[int, int], nb_bins: int, mask: np.ndarray | None = None, beyond: float = 1.0
) -> RadialBins:
    """Rings around a point beside the middle, without splitting; ``beyond`` > 1 leaves the outermost ones empty."""
    height, width = shape
    y, x = np.ogrid[:height, :width]
    radius = np.hypot(y - height / 2 - 3.3, x - width / 2 + 5.7).astype("f4").ravel()
    step = float(radius.max()) * 1.0001 * beyond / nb_bins
    number = np.minimum((radius / step).astype(int), nb_bins - 1)
    if mask is not None:
        number[mask.ravel()] = nb_bins
        radius[mask.ravel()] = np.nan
    order = np.argsort(number, kind="stable").astype("i4")
    ends = np.cumsum(np.bincount(number, minlength=nb_bins + 1)[:nb_bins])
    indptr = np.concatenate([[0], ends]).astype("i4")
    centers = ((np.arange(nb_bins) + 0.5) * step).astype("f4")
    return RadialBins(shape, centers, indptr, order[: indptr[-1]], None, radius)


def split_bins(bins: RadialBins, seed: int = 0) -> RadialBins:
    """The same, but every pixel also belongs to the next bin by a share of its own."""
    share = np.random.default_rng(seed).uniform(0, 1, bins.radius.size).astype("f4")
    numbers = np.repeat(np.arange(bins.nb_bins), np.diff(bins.indptr))
    more = np.minimum(numbers + 1, bins.nb_bins - 1)
    numbers, pixels = np.concatenate([numbers, more]), np.concatenate([bins.indices, bins.indices])
    shares = np.concatenate([share[bins.indices], 1 - share[bins.indices]])
    order = np.argsort(numbers, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=bins.nb_bins))]).astype("i4")
    return RadialBins(bins.shape, bins.centers, indptr, pixels[order], shares[order], bins.radius)


def detector_mask(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Gaps between modules, and one dead pixel in 500."""
    mask = np.random.default_rng(seed).random(shape) < 0.002
    for row in range(shape[0] // 4, shape[0], shape[0] // 4):
        mask[row : row + 36] = True
    mask[:, shape[1] // 2 : shape[1] // 2 + 8] = True
    return mask


def make_scene(
    shape: tuple[int, int], nb_bins: int, nb_spots: int, seed: int = 0, exposure: int = 0, level: float = 30.0
) -> Scene:
    """A steep background with a powder ring, and spots of 100 to 5000 photons, 12 pixels apart, none over the mask.

    Masked pixels have the largest value of the type, as detectors give them. Other exposures have other noise.
    """
    random = np.random.default_rng(seed)
    mask = detector_mask(shape, seed)
    bins = radial_bins(shape, nb_bins, mask)
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - shape[0] / 2 - 3.3, x - shape[1] / 2 + 5.7) / min(shape)
    ring = 0.4 * np.exp(-(((radius - 0.3) / 0.01) ** 2))
    mean = level * (20 * np.exp(-radius / 0.03) + np.exp(-radius / 0.25) + ring) + 0.2
    places = np.argwhere(random.random((shape[0] // 12, shape[1] // 12)) < 1.5 * nb_spots * 144 / mask.size) * 12.0 + 6
    places += random.uniform(-2, 2, places.shape)
    clear = [not mask[int(py) - 4 : int(py) + 6, int(px) - 4 : int(px) + 6].any() for py, px in places]
    places = random.permutation(places[np.array(clear, bool)])[:nb_spots]
    photons = np.exp(random.uniform(np.log(100), np.log(5000), len(places)))
    for (py, px), count in zip(places, photons, strict=True):
        rows, columns = np.arange(int(py) - 4, int(py) + 6), np.arange(int(px) - 4, int(px) + 6)
        shape_y = np.exp(-((rows - py) ** 2) / 2 / SPOT_WIDTH**2)
        shape_x = np.exp(-((columns - px) ** 2) / 2 / SPOT_WIDTH**2)
        mean[np.ix_(rows, columns)] += count * np.outer(shape_y, shape_x) / (2 * np.pi * SPOT_WIDTH**2)
    pixels = np.minimum(np.random.default_rng([seed, exposure]).poisson(mean), 65535)
    pixels[mask] = 65535
    return Scene(pixels.astype(np.uint16), mask, np.column_stack([places, photons]), bins)


def matched(spots: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """For each row of (y, x): whether one of the others is within the distance [px]."""
    if not len(spots) or not len(others):
        return np.zeros(len(spots), bool)
    away = np.hypot(*(spots[:, None, axis] - others[None, :, axis] for axis in (0, 1)))
    return away.min(axis=1) < distance


def places(spots: np.ndarray) -> np.ndarray:
    """(n, 2): y, x of `SPOT` rows."""
    return np.column_stack([spots["y"], spots["x"]])


def maps(size: int, seed: int = 0) -> PixelCorrections:
    """Dark, dark variance, variance and normalization, all within the range of real ones."""
    random = np.random.default_rng(seed)

    def uniform(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, size).astype("f4")

    return PixelCorrections(uniform(0, 2), uniform(0.1, 0.5), uniform(1, 40), uniform(0.7, 1.3))


@cache
def opencl_context() -> pyopencl.Context:
    """The first OpenCL device that can compile; skips the test if there is none."""
    pyopencl = pytest.importorskip("pyopencl")
    for platform in pyopencl.get_platforms():
        for device in platform.get_devices():
            context = pyopencl.Context([device])
            try:
                pyopencl.Program(context, "kernel void nothing(global float *a) { a[0] = 1; }").build()
            except pyopencl.Error:  # a PoCL that does not know the CPU
                continue
            return context
    pytest.skip("no OpenCL device that works")


class PyfaiFinder:
    """pyFAI's OpenCL peak finder with the same bins; bins without pixels are NaN.

    It gets float32 images: with integers it needs a newer silx than BLISS allows.
    """

    def __init__(self, bins: RadialBins, corrections: PixelCorrections, settings: FinderSettings) -> None:
        from pyFAI.opencl import ocl
        from pyFAI.opencl.peak_finder import OCL_PeakFinder

        context = opencl_context()
        # silx looks for the device by the name of its platform, and takes the last one: two PoCL have the same
        ocl.platforms.sort(key=lambda platform: platform.version == context.devices[0].platform.version)
        coefs = np.ones(len(bins.indices), "f4") if bins.coefs is None else bins.coefs
        lut = (coefs, bins.indices, bins.indptr)
        mask = ~np.isfinite(bins.radius) if corrections.masked is None else corrections.masked
        self.settings, self.corrections = settings, corrections
        self.engine = OCL_PeakFinder(
            lut,
            bins.radius.size,
            empty=np.nan,
            bin_centers=bins.centers,
            radius=bins.radius.reshape(bins.shape),
            mask=mask.reshape(bins.shape),
            ctx=context,
        )

    def _common(self, image: np.ndarray) -> dict:
        settings, maps_ = self.settings, self.corrections
        named = {"dark": maps_.dark, "flat": maps_.normalization, "variance": maps_.variance}
        options = {name: values.reshape(image.shape) for name, values in named.items() if values is not None}
        if maps_.dummy is not None:
            options |= {"dummy": maps_.dummy[0], "delta_dummy": maps_.dummy[1]}
        return options | {
            "data": image.astype("f4"),
            "error_model": settings.error_model,
            "cutoff_clip": settings.cutoff_clip,
            "cycle": settings.cycle,
            "noise": settings.noise,
            "radial_range": settings.radial_range,
        }

    def sparsify(self, image: np.ndarray):
        """Background and pixels (pyFAI's own `SparseFrame`)."""
        return self.engine.sparsify(cutoff_pick=self.settings.cutoff_pick, **self._common(image))

    def peaks(self, image: np.ndarray) -> np.ndarray:
        """Spots in order of place: index, intensity, sigma, pos0, pos1."""
        settings = self.settings
        found = self.engine.peakfinder(
            cutoff_peak=settings.cutoff_peak,
            patch_size=settings.patch_size,
            connected=settings.connected,
            **self._common(image),
        )
        return np.sort(found, order="index")
