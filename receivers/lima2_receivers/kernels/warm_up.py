"""Getting the kernels ready before frames come: compiled once per host, then loaded from disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

import numpy as np

from lima2_bliss.contract import ImageTransform, pixel_type_of
from lima2_receivers.kernels.accumulation import add_frame, copy_sum, finish_sum, partial_sum_dtype, set_sum
from lima2_receivers.kernels.correction import correct, corrected_dtype, mask_to_zero
from lima2_receivers.kernels.countrate import first_above
from lima2_receivers.kernels.geometry import placement_of, transform_frame
from lima2_receivers.kernels.profiles import make_profile, profile_statistics
from lima2_receivers.kernels.regions import find_regions
from lima2_receivers.kernels.statistics import region_statistics
from lima2_receivers.kernels.widening import sum_dtype

logger = logging.getLogger(__name__)

#: Raw pixel types that detectors commonly give.
COMMON = ("u1", "u2", "u4", "i4", "f4")

#: So many pixels that the sum of integers takes the widest type.
MANY = 1 << 40

_ready: set[tuple[np.dtype, bool]] = set()
_lock = threading.Lock()


def warm_up(dtypes: Iterable[np.dtype | str] = COMMON, dummies: bool = False) -> float:
    """Make all kernels ready for raw frames of these types; returns the seconds it took.

    ``dummies``: also what is needed where integer pixels of a value do not count.

    Call it when a receiver process starts: the first time on a host it compiles (about 30 s for all of `COMMON`), then
    it loads from the cache on disk (0.4 s). A type that is ready costs nothing.
    """
    start = time.perf_counter()
    for name in dtypes:
        dtype = np.dtype(name)
        pixel_type_of(dtype)  # refuses types that are no pixels
        key = dtype, dummies and dtype.kind != "f"
        with _lock:
            if key not in _ready:
                _run_all(dtype, 0 if key[1] else None)
                _ready.add(key)
    seconds = time.perf_counter() - start
    if seconds > 0.1:
        logger.info("kernels are ready after %.1f s", seconds)
    return seconds


def _run_all(raw: np.dtype, dummy: float | None) -> None:
    """Run every kernel once on a tiny frame, for all types that pipelines make of ``raw``."""
    shape = (1, 4, 4)
    frame = np.zeros(shape, raw)
    float_type = corrected_dtype(raw)
    maps = np.ones(shape, float_type)
    out = np.empty(shape, float_type)
    for dark, gain in ((maps, maps), (maps, None), (None, maps)):
        correct(frame, (0, 0), dark, gain, out, dummy)
    mask_to_zero(frame, (0, 0), np.ones(shape, np.uint8), np.empty_like(frame))
    first_above(frame, raw.type(1), np.ones(shape, np.uint8))
    identity = placement_of(ImageTransform((4, 4)))
    measured = {raw, float_type}
    for start in (raw, float_type):
        transform_frame(np.zeros(shape, start), (0, 0), (1, 1), identity, np.empty(shape, start))
        binned = sum_dtype(start, 4)
        transform_frame(np.zeros(shape, start), (0, 0), (2, 2), identity, np.empty((1, 2, 2), binned))
        measured.add(binned)
        for image in {start, binned}:
            for result in {binned, sum_dtype(start, MANY)}:
                if result.itemsize >= image.itemsize:
                    _accumulate(np.zeros(shape, image), result, dummy)
                    measured.add(result)
    regions = find_regions(shape, [(0, 0, 4, 4)], valid=np.ones(shape, bool))
    profile = make_profile(shape, (0, 0, 4, 4), "horizontal")
    for dtype in measured:
        region_statistics(np.zeros(shape, dtype), regions)
        profile_statistics(np.zeros(shape, dtype), profile)


def _accumulate(frame: np.ndarray, result: np.dtype, dummy: float | None) -> None:
    total, out = np.empty(frame.shape, partial_sum_dtype(result)), np.empty(frame.shape, result)
    set_sum(total, frame, dummy)
    add_frame(total, frame, dummy)
    finish_sum(total, frame, out, dummy)
    copy_sum(total, out)
