"""Dark, flat field and mask: ``(raw - dark) * gain``, masked pixels become 0.

The flat field is turned into a gain (1 / flat) once; gain 0 marks a masked pixel. Computed in float32 (float64 for
float64 frames): integers above 2**24 are rounded. All functions take a window of the raw frame, so that pixels that
are cut off later are never touched. Integer pixels of the value ``dummy`` become NaN, unless they are masked.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.widening import dummy_of


def corrected_dtype(raw: np.dtype) -> np.dtype:
    """Pixel type of a frame corrected by dark or flat field."""
    return np.dtype("f8") if raw == np.dtype("f8") else np.dtype("f4")


def gain_of(flat: np.ndarray | None, masked: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """The factor of each pixel: 1 / flat, and 0 where masked or where the flat field is not a positive number."""
    if flat is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.ascontiguousarray(1 / flat, dtype)
        np.copyto(gain, 0, where=~usable(flat))
    elif masked is not None:
        gain = np.ones(masked.shape, dtype)
    else:
        raise ValueError("a gain needs a flat field or a mask")
    if masked is not None:
        np.copyto(gain, 0, where=masked)
    return gain


def usable(flat: np.ndarray) -> np.ndarray:
    """True where the flat field is a positive number."""
    return np.isfinite(flat) & (flat > 0)


def correct_reference(
    window: np.ndarray,
    dark: np.ndarray | None,
    flat: np.ndarray | None,
    masked: np.ndarray | None,
    dummy: float | None = None,
) -> np.ndarray:
    """The same in plain NumPy, in float64: (window - dark) / flat, 0 where masked."""
    values = window.astype(np.float64)
    if dummy is not None and window.dtype.kind != "f":
        values[window == dummy] = np.nan
    if dark is not None:
        values = values - dark
    if flat is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(usable(flat), values / flat, 0.0)
    return values if masked is None else np.where(masked, 0.0, values)


def correct(
    frame: np.ndarray,
    origin: tuple[int, int],
    dark: np.ndarray | None,
    gain: np.ndarray | None,
    out: np.ndarray,
    dummy: float | None = None,
) -> None:
    """Correct the window of ``out``'s shape at ``origin`` (x, y) of a raw frame; maps have the window's shape.

    ``frame`` and ``out`` are (channels, height, width); maps have as many channels, or one for all.
    """
    x, y = origin
    if dark is not None and gain is not None:
        _subtract_and_scale(frame, x, y, dark, gain, out)
    elif dark is not None:
        _subtract(frame, x, y, dark, out)
    elif gain is not None:
        _scale(frame, x, y, gain, out)
    else:
        raise ValueError("nothing to correct: give dark or gain")
    has_dummy, unmeasured = dummy_of(frame.dtype, dummy)
    if has_dummy:
        _unmeasured_to_nan(frame, x, y, unmeasured, np.ones((1, 1, 1), out.dtype) if gain is None else gain, out)


def mask_to_zero(frame: np.ndarray, origin: tuple[int, int], keep: np.ndarray, out: np.ndarray) -> None:
    """Copy a window with 0 where ``keep`` (uint8) is 0; the pixel type stays."""
    _keep(frame, *origin, keep, out)


@kernel()
def _subtract(frame, x, y, dark, out):  # type: ignore[no-untyped-def]
    channels, rows, columns = out.shape
    for channel in range(channels):
        for row in range(rows):
            source = frame[channel, y + row, x : x + columns]
            offset = dark[channel % dark.shape[0], row]
            target = out[channel, row]
            for j in range(columns):
                target[j] = dark.dtype.type(source[j]) - offset[j]


@kernel()
def _scale(frame, x, y, gain, out):  # type: ignore[no-untyped-def]
    channels, rows, columns = out.shape
    for channel in range(channels):
        for row in range(rows):
            source = frame[channel, y + row, x : x + columns]
            factor = gain[channel % gain.shape[0], row]
            target = out[channel, row]
            for j in range(columns):
                value = gain.dtype.type(source[j]) * factor[j]
                target[j] = value if factor[j] != 0 else gain.dtype.type(0)


@kernel()
def _subtract_and_scale(frame, x, y, dark, gain, out):  # type: ignore[no-untyped-def]
    channels, rows, columns = out.shape
    for channel in range(channels):
        for row in range(rows):
            source = frame[channel, y + row, x : x + columns]
            offset = dark[channel % dark.shape[0], row]
            factor = gain[channel % gain.shape[0], row]
            target = out[channel, row]
            for j in range(columns):
                value = (dark.dtype.type(source[j]) - offset[j]) * factor[j]
                target[j] = value if factor[j] != 0 else gain.dtype.type(0)


@kernel()
def _keep(frame, x, y, keep, out):  # type: ignore[no-untyped-def]
    channels, rows, columns = out.shape
    for channel in range(channels):
        for row in range(rows):
            source = frame[channel, y + row, x : x + columns]
            kept = keep[channel % keep.shape[0], row]
            target = out[channel, row]
            for j in range(columns):
                target[j] = source[j] if kept[j] != 0 else out.dtype.type(0)


@kernel()
def _unmeasured_to_nan(frame, x, y, dummy, gain, out):  # type: ignore[no-untyped-def]
    """``gain`` as for `_scale`, or a single 1."""
    channels, rows, columns = out.shape
    single = gain.size == 1
    for channel in range(channels):
        for row in range(rows):
            source = frame[channel, y + row, x : x + columns]
            target = out[channel, row]
            some = np.uint32(0)
            for j in range(columns):
                some += np.uint32(source[j] == dummy)
            if some:
                for j in range(columns):
                    kept = single or gain[channel % gain.shape[0], row, j] != 0
                    if source[j] == dummy and kept:
                        target[j] = np.nan
