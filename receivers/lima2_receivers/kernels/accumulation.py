"""Sum of consecutive frames. `widening.sum_dtype` chooses a type in which the sum cannot wrap around."""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel


def partial_sum_dtype(result: np.dtype) -> np.dtype:
    """Type in which frames are added up before the last one: float32 sums are kept in float64."""
    return np.dtype("f8") if result.kind == "f" else result


def accumulate_reference(frames: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The same in plain NumPy."""
    wide = np.float64 if frames[0].dtype.kind == "f" else np.int64
    return np.sum([frame.astype(wide) for frame in frames], axis=0).astype(dtype)


def set_sum(total: np.ndarray, frame: np.ndarray) -> None:
    """Start a sum with its first frame."""
    _copy(frame.reshape(-1), total.reshape(-1))


def add_frame(total: np.ndarray, frame: np.ndarray) -> None:
    """Add a frame to the sum."""
    _add(total.reshape(-1), frame.reshape(-1))


def finish_sum(total: np.ndarray, frame: np.ndarray, out: np.ndarray) -> None:
    """Write the sum with its last frame to ``out``; the sum stays as it is."""
    _add_to(total.reshape(-1), frame.reshape(-1), out.reshape(-1))


def copy_sum(total: np.ndarray, out: np.ndarray) -> None:
    """Write the sum to ``out`` when the last frame is missing."""
    _copy(total.reshape(-1), out.reshape(-1))


@kernel()
def _copy(source, target):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] = source[j]


@kernel()
def _add(total, frame):  # type: ignore[no-untyped-def]
    for j in range(total.size):
        total[j] += frame[j]


@kernel()
def _add_to(total, frame, out):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = total[j] + frame[j]
