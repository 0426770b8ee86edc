"""Choosing who computes SMX frames, and getting it ready: see `make_finder`."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np

from lima2_bliss.contract import ParameterError, pixel_type_of
from lima2_receivers.kernels.smx_cpu import CpuFinder
from lima2_receivers.kernels.smx_cpu_clip import MODELS
from lima2_receivers.kernels.smx_reference import ReferenceFinder
from lima2_receivers.kernels.smx_types import Finder, FinderSettings, PixelCorrections, RadialBins

logger = logging.getLogger(__name__)

#: Sides of the square around a top.
PATCH_SIZES = (3, 5, 7)

_ready: set[np.dtype] = set()
_lock = threading.Lock()


def make_finder(
    bins: RadialBins,
    corrections: PixelCorrections,
    settings: FinderSettings,
    dtype: np.dtype,
    backend: str = "auto",
    threads: int = 1,
    device: str = "",
) -> Finder:
    """Make what finds background, intense pixels and spots of raw frames of type ``dtype``.

    ``backend``: cpu (compiled; ``threads`` share each frame), opencl (``device``: 'platform:device', empty: the first
    GPU), reference (NumPy, slow), auto (opencl if there is a GPU that works, else cpu). All give the same up
    to rounding. Raises `ParameterError` for tables, maps or settings that do not fit together.
    """
    raw = np.dtype(dtype)
    pixel_type_of(raw)  # refuses types that are no pixels
    _check_bins(bins)
    _check_corrections(bins, corrections, settings)
    if threads < 1:
        raise ParameterError(f"threads = {threads} is not allowed; at least 1")
    if backend in ("auto", "opencl"):
        from lima2_receivers.kernels.smx_opencl import OpenclFinder, gpu_available

        try:
            if backend == "opencl" or gpu_available():
                return OpenclFinder(bins, corrections, settings, raw, device)
        except ParameterError as error:
            if backend == "opencl":
                raise
            logger.warning("the GPU is not used, frames are computed on the CPU: %s", error)
    if backend in ("auto", "cpu"):
        return CpuFinder(bins, corrections, settings, raw, threads)
    if backend == "reference":
        return ReferenceFinder(bins, corrections, settings, raw)
    raise ParameterError(f"backend {backend!r} is unknown; allowed: auto, cpu, opencl, reference")


def warm_up_smx(dtype: np.dtype | str) -> float:
    """Compile what the cpu backend needs for raw frames of this type, or load it from disk; returns the seconds of it.

    The first time on a host the first type takes about 8 s and each further one 3 s, then 0.2 s from the disk; a type
    that is ready costs nothing.
    """
    start, raw = time.perf_counter(), np.dtype(dtype)
    with _lock:
        if raw not in _ready:
            shape = (8, 8)
            places = np.arange(64, dtype=np.int32)
            bins = RadialBins(
                shape, np.array([16, 48], "f4"), np.array([0, 32, 64], "i4"), places, None, places.astype("f4")
            )
            for maps in (PixelCorrections(), PixelCorrections(normalization=np.ones(64, "f4"))):
                finder = CpuFinder(bins, maps, FinderSettings(), raw)
                finder(np.eye(8).astype(raw))
                finder.close()
            _ready.add(raw)
    seconds = time.perf_counter() - start
    if seconds > 0.1:
        logger.info("SMX kernels for %s are ready after %.1f s", raw, seconds)
    return seconds


def _check_bins(bins: RadialBins) -> None:
    """Everything that the compiled kernels rely on without looking."""
    size = bins.shape[0] * bins.shape[1]
    if bins.nb_bins < 2:
        raise ParameterError(f"{bins.nb_bins} radial bins given; at least 2 are needed")
    steps = np.diff(bins.centers.astype(np.float64))
    if not (steps.mean() > 0 and np.allclose(steps, steps.mean(), rtol=1e-2)):
        raise ParameterError("the centres of the radial bins must ascend in even steps")
    if len(bins.indptr) != bins.nb_bins + 1 or bins.indptr[0] != 0 or bins.indptr[-1] != len(bins.indices):
        raise ParameterError(
            f"indptr must go from 0 to the number of indices ({len(bins.indices)}) in nb_bins + 1 = "
            f"{bins.nb_bins + 1} values; it has {len(bins.indptr)}, the last is {bins.indptr[-1]}"
        )
    if (np.diff(bins.indptr) < 0).any():
        raise ParameterError("indptr must ascend")
    if len(bins.indices) and not (bins.indices.min() >= 0 and bins.indices.max() < size):
        raise ParameterError(
            f"indices must lie in the image of {size} pixels; they go from {bins.indices.min()} to {bins.indices.max()}"
        )
    if bins.coefs is not None and bins.coefs.shape != bins.indices.shape:
        raise ParameterError(f"{len(bins.coefs)} coefs given for {len(bins.indices)} indices")
    if bins.radius.shape != (size,):
        raise ParameterError(f"radius of shape {bins.radius.shape} given; it must be flat, with {size} pixels")


def _check_corrections(bins: RadialBins, corrections: PixelCorrections, settings: FinderSettings) -> None:
    size = bins.shape[0] * bins.shape[1]
    for name in ("dark", "dark_variance", "variance", "normalization", "masked"):
        values = getattr(corrections, name)
        if values is not None and values.shape != (size,):
            raise ParameterError(f"{name} of shape {values.shape} given; it must be flat, with {size} pixels")
    if settings.error_model not in MODELS:
        raise ParameterError(f"error model {settings.error_model!r} is unknown; allowed: {', '.join(MODELS)}")
    if settings.error_model == "variance" and corrections.variance is None:
        raise ParameterError("error model variance needs a map of variances")
    if settings.patch_size not in PATCH_SIZES:
        raise ParameterError(f"patch_size = {settings.patch_size} is not allowed; one of {PATCH_SIZES}")
