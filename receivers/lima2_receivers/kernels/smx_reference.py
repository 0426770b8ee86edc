"""The SMX computations in plain NumPy: what every backend must give.

They are those of pyFAI's OpenCL peak finder (Kieffer et al., "Application of signal separation to diffraction image
compression and serial crystallography", J. Appl. Cryst. 58 (2025)), in float32 where a pixel is compared with a
threshold and in float64 where pixels are summed.

**Pixel.** signal = raw - dark; norm = normalization; value = signal / norm. Left out are pixels that are masked, dummy
or not finite, whose norm is not above 0, and, for picking and spots, whose radius is not finite or out of range.

**Bin.** With c the share of a pixel and w = c * norm: average = sum(w * value) / sum(w); deviation =
sqrt(V / sum(w**2)). V = sum(c**2 * variance), where variance is the map (model variance) or max(raw, 1) (poisson),
plus the dark's; or V = sum(w**2 * (value - average)**2) (azimuthal). hybrid clips as azimuthal and ends as poisson.
no_var: 0.

**Clipping.** Up to ``cycle`` times, until nothing is clipped: out are values further from the average than
max(cutoff_clip, sqrt(2 ln(n / sqrt(2 pi)))) deviations (Chauvenet); n = max(3, entries of the bin not yet clipped).
Accepted values are therefore always one interval.

**Background of a pixel.** Average and deviation, interpolated linearly between bin centres; the deviation and ``noise``
are added in quadrature. **Picked** is value - average > max(noise, cutoff_pick * deviation).

**Spot.** A pixel whose value - average is positive, >= cutoff_peak * deviation and the largest of its patch, of which
at least ``connected`` pixels are >= cutoff_peak times their own deviation. Sums are over the positive pixels of it.
Equal neighbours are two spots. A patch that leaves the image is none; left-out pixels in it do not count (with
``noise`` = 0 they make it none, as does a pixel that is not positive and has no deviation).

Where this differs from pyFAI, on purpose:

- A bin without pixels is NaN; near it nothing is picked. Mind that clipping can leave none: with the poisson model a
  few overloaded pixels lift the average so far that the background is clipped as well. azimuthal and hybrid do not.
- A deviation of 0 (no_var) clips nothing; pyFAI clips everything then.
- A pixel that is split over bins is clipped in each by itself; pyFAI clips it in all, in whatever order the bins run.
- The azimuthal V is the sum that stands above; pyFAI's recurrence gives it only for equal weights on one thread.
- Infinite pixels and those of negative norm are left out; pyFAI picks the first and averages the second.
"""

from __future__ import annotations

import numpy as np

from lima2_bliss.contract import SPOT
from lima2_receivers.kernels.smx_types import FinderResult, FinderSettings, PixelCorrections, RadialBins

#: Deviations below this share of the average are rounding of float32, and clip nothing.
SMALLEST_DEVIATION = 1e-6


def usable(bins: RadialBins, corrections: PixelCorrections) -> np.ndarray:
    """bool (height * width): False for pixels that are left out of every frame."""
    keep = np.ones(bins.shape[0] * bins.shape[1], bool)
    if corrections.masked is not None:
        keep &= ~corrections.masked
    for values in (corrections.dark, corrections.dark_variance, corrections.variance, corrections.normalization):
        if values is not None:
            keep &= np.isfinite(values)
    if corrections.normalization is not None:
        keep &= corrections.normalization > 0
    return keep


def radial_position(bins: RadialBins, corrections: PixelCorrections, settings: FinderSettings) -> np.ndarray:
    """float32 (height * width): place of each pixel on the axis of bins, 0 to nb_bins - 1; else NaN."""
    first, step = bins.centers[0], bins.centers[1] - bins.centers[0]
    looked_for = usable(bins, corrections) & np.isfinite(bins.radius)
    if settings.radial_range is not None:
        lowest, beyond = (np.float32(limit) for limit in settings.radial_range)
        looked_for &= (bins.radius >= lowest) & (bins.radius < beyond)
    position = np.clip((bins.radius - first) / step, np.float32(0), np.float32(bins.nb_bins - 1))
    return np.where(looked_for, position, np.float32(np.nan))


def chauvenet(cutoff: float, entries: int) -> float:
    """Deviations from the average beyond which a value is clipped, for a bin of so many entries."""
    return max(cutoff, np.sqrt(2 * np.log(max(3, entries) / np.sqrt(2 * np.pi))))


class ReferenceFinder:
    """Background, intense pixels and spots in plain NumPy; for tests and for a second opinion, not for speed."""

    backend = "reference"

    def __init__(
        self, bins: RadialBins, corrections: PixelCorrections, settings: FinderSettings, dtype: np.dtype
    ) -> None:
        self.bins, self.corrections, self.settings = bins, corrections, settings
        raw = np.dtype(dtype)
        self.intensity_dtype = raw if raw.kind in "iu" and corrections.dark is None else np.dtype(np.float32)
        self._usable = usable(bins, corrections)
        self._position = radial_position(bins, corrections, settings)

    def __call__(self, image: np.ndarray) -> FinderResult:
        average, deviation = self.background(image)
        index, intensity = self.pick(image, average, deviation)
        spots, dropped = self.spots(image, average, deviation)
        return FinderResult(average, deviation, index, intensity, spots, dropped)

    def close(self) -> None:
        """Nothing to give back."""

    def values(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(value, NaN where left out; norm; variance), float32 (height * width)."""
        maps, raw = self.corrections, image.ravel().astype(np.float32)
        keep = self._usable & np.isfinite(raw)
        if maps.dummy is not None:
            dummy, delta = (np.float32(number) for number in maps.dummy)
            keep &= ~(np.abs(raw - dummy) <= delta)
        norm = np.ones_like(raw) if maps.normalization is None else maps.normalization
        signal = raw if maps.dark is None else raw - maps.dark
        with np.errstate(all="ignore"):
            value = np.where(keep, signal / norm, np.float32(np.nan))
        if self.settings.error_model == "variance":
            assert maps.variance is not None
            variance = maps.variance
        else:
            variance = np.maximum(raw, np.float32(1))
        if maps.dark_variance is not None:
            variance = variance + maps.dark_variance
        return value, norm, variance

    def background(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average and deviation of each bin, float32 (nb_bins)."""
        value, norm, variance = (a.astype(np.float64) for a in self.values(image))
        average, deviation = np.full((2, self.bins.nb_bins), np.nan, np.float32)
        for number in range(self.bins.nb_bins):
            entries = slice(*self.bins.indptr[number : number + 2])
            pixels = self.bins.indices[entries]
            share = np.ones(len(pixels)) if self.bins.coefs is None else self.bins.coefs[entries].astype(np.float64)
            weight, spread = share * norm[pixels], share**2 * variance[pixels]
            average[number], deviation[number] = self._clipped(value[pixels], weight, spread)
        return average, deviation

    def _clipped(self, value: np.ndarray, weight: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
        final = self.settings.error_model
        model = "azimuthal" if final == "hybrid" else final
        entries, inside = len(value), np.isfinite(value)
        average, deviation = _moments(value[inside], weight[inside], variance[inside], model)
        for _ in range(self.settings.cycle):
            if not deviation > SMALLEST_DEVIATION * abs(average):
                break
            width = chauvenet(self.settings.cutoff_clip, entries) * deviation
            still = inside & (value >= average - width) & (value <= average + width)
            clipped = int(inside.sum() - still.sum())
            if clipped == 0:
                break
            inside, entries = still, entries - clipped
            average, deviation = _moments(value[inside], weight[inside], variance[inside], model)
        if final == "hybrid":
            return _moments(value[inside], weight[inside], variance[inside], "poisson")
        return average, deviation

    def above(self, image: np.ndarray, average: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(value - background, -inf where none is looked for, 0 where not measured; deviation with noise), float32."""
        noise = np.float32(self.settings.noise)
        looked_for = np.isfinite(self._position)
        position = self._position[looked_for]
        lower = position.astype(np.int32)
        upper = np.minimum(lower + 1, self.bins.nb_bins - 1)
        share = position - lower.astype(np.float32)
        height, spread = np.full((2, len(looked_for)), -np.inf, np.float32)
        value = self.values(image)[0][looked_for]
        one = np.float32(1)
        level = average[lower] * (one - share) + average[upper] * share
        width = deviation[lower] * (one - share) + deviation[upper] * share
        height[looked_for] = np.where(np.isfinite(value), value - level, np.float32(0))
        spread[:] = noise
        with np.errstate(over="ignore"):
            spread[looked_for] = np.sqrt(width * width + noise * noise)
        return height, spread

    def pick(self, image: np.ndarray, average: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(index, intensity) of the pixels above the background."""
        height, spread = self.above(image, average, deviation)
        threshold = np.maximum(np.float32(self.settings.noise), np.float32(self.settings.cutoff_pick) * spread)
        index = np.flatnonzero(height > threshold).astype(np.int32)
        raw = image.ravel()[index]
        if self.corrections.dark is not None:
            raw = raw.astype(np.float32) - self.corrections.dark[index]
        return index, raw.astype(self.intensity_dtype)

    def spots(self, image: np.ndarray, average: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, int]:
        """(`SPOT` rows, how many weaker ones were dropped)."""
        flat_height, flat_spread = self.above(image, average, deviation)
        height, spread = flat_height.reshape(image.shape), flat_spread.reshape(image.shape)
        half = self.settings.patch_size // 2
        limit = np.float32(self.settings.cutoff_peak) * spread
        rows = []
        for y, x in np.argwhere((height > 0) & (height >= limit)):
            if not (half <= y < image.shape[0] - half and half <= x < image.shape[1] - half):
                continue
            patch = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
            around = height[patch]
            positive = around > 0
            size = int((positive & (around >= limit[patch])).sum())
            if (~positive & (spread[patch] <= 0)).any() or around[positive].max() > height[y, x]:
                continue
            if size < self.settings.connected:
                continue
            weight = np.where(positive, around, 0).astype(np.float64)
            dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
            total = weight.sum()
            sigma = np.sqrt((spread[patch][positive].astype(np.float64) ** 2).sum())
            rows.append((0, y + (weight * dy).sum() / total, x + (weight * dx).sum() / total, total, sigma, size))
        return strongest(np.array(rows, SPOT), self.settings.max_spots)


def strongest(spots: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """The ``most`` strongest spots, in their order, and how many were dropped."""
    dropped = len(spots) - most
    if dropped <= 0:
        return spots, 0
    kept = np.argpartition(spots["intensity"], dropped)[dropped:]
    return spots[np.sort(kept)], dropped


def _moments(value: np.ndarray, weight: np.ndarray, variance: np.ndarray, model: str) -> tuple[float, float]:
    total = weight.sum()
    if not total > 0:
        return np.nan, np.nan
    average = (weight * value).sum() / total
    if model == "no_var":
        return average, 0.0
    summed = ((weight * (value - average)) ** 2).sum() if model == "azimuthal" else variance.sum()
    return average, np.sqrt(summed / (weight**2).sum())
