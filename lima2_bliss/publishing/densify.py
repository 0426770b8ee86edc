"""A dense image out of a sparse frame: the radial background, and the pixels that stood out of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lima2_bliss.contract import ParameterError, SparseFrame, SparseInfo


def densify(
    frame: SparseFrame,
    info: SparseInfo,
    background: bool = True,
    noise: int | np.random.Generator | None = None,
) -> np.ndarray:
    """Image (height, width) of `SparseInfo.dtype`; masked pixels, and all background of a hole, are `SparseInfo.dummy`.

    ``background`` False: 0 where no pixel was kept. ``noise``: a seed or a generator; the background then varies with
    the deviation of its bin (normal distribution, cut at 0) instead of being smooth. Integers are rounded half up.
    """
    valid, bins, weights = _places(info)
    image = np.full(info.shape, info.dummy, np.float64)
    if not background:
        image[valid] = 0
    elif len(frame.background_avg) != info.nb_bins:
        raise ParameterError(
            f"the frame has {len(frame.background_avg)} bins of background, the geometry {info.nb_bins}: take both "
            "from one acquisition, and publish background_avg; or densify with background=False"
        )
    elif np.isfinite(frame.background_avg).any():
        image[valid] = _background(frame, bins, weights, noise)
        if info.normalization is not None:
            image[valid] *= info.normalization[valid]
    flat = image.reshape(-1)
    flat[frame.index] = frame.intensity
    flat[frame.index[~valid.reshape(-1)[frame.index]]] = info.dummy
    return _as_dtype(image, info.dtype)


def _background(
    frame: SparseFrame, bins: np.ndarray, weights: np.ndarray, noise: int | np.random.Generator | None
) -> np.ndarray:
    mean = _between(_filled(frame.background_avg), bins, weights)
    if noise is None:
        return mean
    deviation = _between(_filled(frame.background_std), bins, weights)
    return np.maximum(np.random.default_rng(noise).normal(mean, np.maximum(deviation, 0)), 0)


def _filled(values: np.ndarray) -> np.ndarray:
    """Bins without a value get one from their neighbours; 0 when there is none at all."""
    there = np.isfinite(values)
    places = np.arange(len(values))
    return np.interp(places, places[there], values[there]) if there.any() else np.zeros(len(values))


def _between(values: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    slopes = np.append(np.diff(values), 0.0)
    return np.asarray(values[bins] + slopes[bins] * weights)


@lru_cache(maxsize=2)
def _places(info: SparseInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels are valid, and for each of these the bin centre below it and how far it is to the next, 0 to 1."""
    valid = np.isfinite(info.mask)
    place = np.interp(info.mask[valid], info.radius, np.arange(info.nb_bins))
    bins = np.minimum(place.astype(np.int32), max(info.nb_bins - 1, 0))
    return valid, bins, place - bins


def _as_dtype(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return image.astype(dtype)
    limits = np.iinfo(dtype)
    # the largest integers of 64 bits are no doubles: the nearest below is
    top = float(limits.max) if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    return np.clip(np.floor(image + 0.5), limits.min, top).astype(dtype)
