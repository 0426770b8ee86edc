"""Finds the first pixel above a limit, at the speed of memory while there is none."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.widening import dummy_of

_BLOCK = 4096


def integer_limit(limit: float, dtype: np.dtype) -> np.generic | None:
    """``limit`` as a pixel value: ``pixel > limit`` means the same for both. None: no pixel can exceed it."""
    if dtype.kind == "f":
        return dtype.type(limit)
    if limit >= np.iinfo(dtype).max:
        return None
    return dtype.type(np.floor(limit))


def first_above_reference(
    frame: np.ndarray, limit: float, keep: np.ndarray, ignore_max: bool, dummy: float | None = None
) -> int:
    """The same in plain NumPy."""
    above = (frame > limit) & np.broadcast_to(keep, frame.shape).astype(bool)
    if ignore_max and frame.dtype.kind != "f":
        above &= frame != np.iinfo(frame.dtype).max
    if dummy is not None and frame.dtype.kind != "f":
        above &= frame != dummy
    places = np.flatnonzero(above)
    return int(places[0]) if places.size else -1


def first_above(
    frame: np.ndarray, limit: np.generic, keep: np.ndarray, ignore_max: bool = False, dummy: float | None = None
) -> int:
    """Flat index of the first pixel above ``limit`` (of the frame's type) that is kept; -1 if there is none.

    ``keep`` is uint8 (channels or 1, height, width), 0 for masked pixels. ``ignore_max`` passes over the largest
    value of an integer type (by which many detectors mark bad pixels); integers of the value ``dummy`` are passed over
    in any case.
    """
    has_dummy, unmeasured = dummy_of(frame.dtype, dummy)
    unmeasured = unmeasured if has_dummy else limit  # which is not above itself
    ignored = frame.dtype.type(np.iinfo(frame.dtype).max) if ignore_max and frame.dtype.kind != "f" else unmeasured
    return int(_first_above(frame.reshape(-1), limit, ignored, unmeasured, keep.reshape(-1)))


@kernel()
def _first_above(flat, limit, ignored, unmeasured, keep):  # type: ignore[no-untyped-def]
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        count = 0
        for j in range(block.size):
            count += (block[j] > limit) & (block[j] != ignored)
        if count:
            for j in range(block.size):
                above = block[j] > limit and block[j] != ignored and block[j] != unmeasured
                if above and keep[(start + j) % keep.size]:
                    return start + j
    return -1
