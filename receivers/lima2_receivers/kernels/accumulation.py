"""Sum of consecutive frames. `widening.sum_dtype` chooses a type in which the sum cannot wrap around.

A pixel that is ``dummy`` in one of the frames (integers; not a number in floats) has no value in the sum either: it is
`widening.sum_dummy` of the sum's type.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.widening import dummy_of, sum_dummy


def partial_sum_dtype(result: np.dtype) -> np.dtype:
    """Type in which frames are added up before the last one: float32 sums are kept in float64."""
    return np.dtype("f8") if result.kind == "f" else result


def accumulate_reference(frames: list[np.ndarray], dtype: np.dtype, dummy: float | None = None) -> np.ndarray:
    """The same in plain NumPy."""
    wide = np.float64 if frames[0].dtype.kind == "f" else np.int64
    total = np.sum([frame.astype(wide) for frame in frames], axis=0).astype(dtype)
    if dummy is not None and frames[0].dtype.kind != "f":
        total[np.any([frame == dummy for frame in frames], axis=0)] = sum_dummy(dtype)
    return total


def set_sum(total: np.ndarray, frame: np.ndarray, dummy: float | None = None) -> None:
    """Start a sum with its first frame."""
    has, value = dummy_of(frame.dtype, dummy)
    if has:
        _copy_measured(frame.reshape(-1), total.reshape(-1), value, total.dtype.type(sum_dummy(total.dtype)))
    else:
        _copy(frame.reshape(-1), total.reshape(-1))


def add_frame(total: np.ndarray, frame: np.ndarray, dummy: float | None = None) -> None:
    """Add a frame to the sum."""
    if dummy is None or frame.dtype.kind == "f":
        _add(total.reshape(-1), frame.reshape(-1))
    else:
        finish_sum(total, frame, total, dummy)


def finish_sum(total: np.ndarray, frame: np.ndarray, out: np.ndarray, dummy: float | None = None) -> None:
    """Write the sum with its last frame to ``out``, which may be the sum itself; else that stays as it is."""
    has, value = dummy_of(frame.dtype, dummy)
    flat = total.reshape(-1), frame.reshape(-1), out.reshape(-1)
    if has:
        marks = total.dtype.type(sum_dummy(total.dtype)), out.dtype.type(sum_dummy(out.dtype))
        _add_measured(*flat, value, *marks)
    else:
        _add_to(*flat)


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


@kernel()
def _copy_measured(source, target, dummy, mark):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] = mark if source[j] == dummy else target.dtype.type(source[j])


@kernel()
def _add_measured(total, frame, out, dummy, total_mark, out_mark):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        before = total[j]
        lacking = (frame[j] == dummy) | (before == total_mark) | (before != before)
        value = out.dtype.type(before) + out.dtype.type(frame[j])
        out[j] = out_mark if lacking else value
