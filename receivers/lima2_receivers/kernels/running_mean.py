"""Running mean of corrected frames: raw frames are summed, and corrected when the mean is asked for."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.smx_types import PixelCorrections


def running_mean_reference(frames: list[np.ndarray], corrections: PixelCorrections) -> np.ndarray:
    """The same in plain NumPy: float32, NaN where no frame has a value."""
    stack = np.array(frames, np.float64)
    valid = np.isfinite(stack)
    if corrections.dummy is not None:
        value, delta = corrections.dummy
        valid &= np.abs(stack - value) > delta
    count = valid.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid, stack, 0.0).sum(axis=0) / count
        if corrections.dark is not None:
            mean = mean - corrections.dark.reshape(mean.shape)
        if corrections.normalization is not None:
            mean = mean / corrections.normalization.reshape(mean.shape)
    if corrections.masked is not None:
        mean[corrections.masked.reshape(mean.shape)] = np.nan
    mean[~np.isfinite(mean)] = np.nan
    return mean.astype(np.float32)


class RunningMean:
    """Mean of ``(raw - dark) / normalization`` over the frames (height, width) of ``dtype`` added since `reset`.

    Pixels that are dummy or not finite are left out of the mean; masked ones are NaN. Sums of 8 and 16 bit pixels are
    kept in 32 bits and carried over in time, so that adding moves as few bytes as can be.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype, corrections: PixelCorrections) -> None:
        self._corrections = corrections
        small = dtype.kind == "u" and dtype.itemsize <= 2
        self._sum: np.ndarray = np.zeros(shape, np.uint32 if small else np.float64)
        self._carried: np.ndarray | None = np.zeros(shape, np.float64) if small else None
        self._room = np.iinfo(np.uint32).max // np.iinfo(dtype).max if small else 0
        counted = corrections.dummy is not None or dtype.kind == "f"
        self._count = np.zeros(shape, np.uint32) if counted else None
        self._frames = 0
        self._since_carry = 0

    def reset(self) -> None:
        """Forget all frames."""
        self._sum[...] = 0
        if self._carried is not None:
            self._carried[...] = 0
        if self._count is not None:
            self._count[...] = 0
        self._frames = self._since_carry = 0

    def add(self, frame: np.ndarray) -> None:
        """Add a raw frame."""
        if self._carried is not None and self._since_carry == self._room:
            self._carried += self._sum
            self._sum[...] = 0
            self._since_carry = 0
        if self._count is None:
            _add(self._sum.reshape(-1), frame.reshape(-1))
        else:
            value, delta = self._corrections.dummy or (np.nan, 0.0)
            _add_valid(self._sum.reshape(-1), self._count.reshape(-1), frame.reshape(-1), value, delta)
        self._frames += 1
        self._since_carry += 1

    def corrected(self, out: np.ndarray) -> None:
        """Write the mean to ``out``, float32 (height, width); NaN where there is none."""
        total = self._sum if self._carried is None else self._sum + self._carried
        count = self._frames if self._count is None else self._count
        corrections = self._corrections
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            np.divide(total, count, out=out, casting="unsafe")
            if corrections.dark is not None:
                out -= corrections.dark.reshape(out.shape)
            if corrections.normalization is not None:
                out /= corrections.normalization.reshape(out.shape)
        if corrections.masked is not None:
            out[corrections.masked.reshape(out.shape)] = np.nan
        out[~np.isfinite(out)] = np.nan


@kernel()
def _add(total, frame):  # type: ignore[no-untyped-def]
    for j in range(total.size):
        total[j] += frame[j]


@kernel()
def _add_valid(total, count, frame, dummy, delta):  # type: ignore[no-untyped-def]
    for j in range(total.size):
        value = float(frame[j])
        valid = np.isfinite(value) and not abs(value - dummy) <= delta
        if valid:
            total[j] += frame[j]
            count[j] += 1
