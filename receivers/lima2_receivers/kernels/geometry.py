"""Binning, crop, flip and rotation in one pass from the raw frame to the image, without a full-size copy between.

Binning sums pixels (`widening.sum_dtype`); pixels beyond the last complete bin are dropped. A bin with an integer pixel
of the value ``dummy`` (or a NaN) has no value: it is `widening.sum_dummy`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import ImageTransform
from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.widening import dummy_of, sum_dummy

_TILE = 64  # rows and columns of a transposed tile (a power of 2): lines of 64 pixels in and out


@dataclass(frozen=True)
class Placement:
    """How binned and cropped pixels are laid down: transposed first, then rows and columns reversed."""

    transpose: bool
    reverse_rows: bool
    reverse_columns: bool


def placement_of(transform: ImageTransform) -> Placement:
    """Flip then rotation as one of the eight symmetries of a rectangle."""
    rows = transform.flip in ("up_down", "both")
    columns = transform.flip in ("left_right", "both")
    if transform.rotation == "180":
        return Placement(False, not rows, not columns)
    if transform.rotation == "90cw":
        return Placement(True, columns, not rows)
    if transform.rotation == "90ccw":
        return Placement(True, not columns, rows)
    return Placement(False, rows, columns)


def transform_reference(
    frame: np.ndarray, transform: ImageTransform, dtype: np.dtype, dummy: float | None = None
) -> np.ndarray:
    """The same in plain NumPy: the image of a frame (channels, height, width)."""
    bin_x, bin_y = transform.binning
    height, width = transform.binned_shape
    if transform.binning == (1, 1):
        image = frame
    else:
        whole = frame[:, : height * bin_y, : width * bin_x]
        blocks = whole.reshape(len(frame), height, bin_y, width, bin_x)
        image = blocks.astype(np.float64).sum((2, 4))
        if dummy is not None and frame.dtype.kind != "f":
            image[(blocks == dummy).any((2, 4))] = sum_dummy(dtype)
    if transform.roi is not None:
        x, y, columns, rows = transform.roi
        image = image[:, y : y + rows, x : x + columns]
    if transform.flip in ("up_down", "both"):
        image = image[:, ::-1]
    if transform.flip in ("left_right", "both"):
        image = image[:, :, ::-1]
    turns = {"none": 0, "90ccw": 1, "180": 2, "90cw": 3}[transform.rotation]
    return np.rot90(image, turns, (1, 2)).astype(dtype)


def transform_frame(
    frame: np.ndarray,
    origin: tuple[int, int],
    binning: tuple[int, int],
    placement: Placement,
    out: np.ndarray,
    dummy: float | None = None,
) -> None:
    """Fill ``out`` from the window of a frame that starts at ``origin`` (x, y), in raw pixels.

    The window's size follows from ``out``, the binning and the placement.
    """
    x, y = origin
    flags = placement.transpose, placement.reverse_rows, placement.reverse_columns
    if binning != (1, 1):
        marks = *dummy_of(frame.dtype, dummy), out.dtype.type(sum_dummy(out.dtype))
        _bin_and_place(frame, x, y, *binning, *flags, *marks, out)
        return
    word = f"u{frame.itemsize}"  # pixels are only moved: four specialisations serve all types
    _place_frame(frame.view(word), x, y, *flags, out.view(word))


@kernel()
def _place_rows(source, channel, x, y, rows, columns, top, reverse_rows, reverse_columns, out):  # type: ignore[no-untyped-def]
    height = out.shape[1]
    for row in range(rows):
        pixels = source[channel, y + row, x : x + columns]
        line = height - 1 - top - row if reverse_rows else top + row
        target = out[0, line]
        if reverse_columns:
            for j in range(columns):
                target[j] = pixels[np.uintp(columns - 1 - j)]
        else:
            for j in range(columns):
                target[j] = pixels[j]


@kernel()
def _transpose_tile(source, channel, x, y, rows, columns, top, left, reverse_rows, reverse_columns, a, b, out):  # type: ignore[no-untyped-def]
    """Source pixel (row, column) of the tile becomes target pixel (left + column, top + row).

    Six perfect shuffles (interleave the first half with the second) transpose 64 x 64 pixels in L1. They are plain
    SIMD; reading down columns instead is 2 to 10 times slower, and rows of 2**n bytes also collide in the cache.
    """
    _, height, width = out.shape
    half = _TILE * _TILE // 2
    for row in range(rows):
        pixels = source[channel, y + row, x : x + columns]
        line = a[row * _TILE : row * _TILE + columns]
        for j in range(columns):
            line[j] = pixels[j]
    step = _TILE
    while step > 1:
        low = a[:half]
        high = a[half:]
        for j in range(half):
            b[np.uintp(2 * j)] = low[j]
            b[np.uintp(2 * j + 1)] = high[j]
        a, b = b, a
        step //= 2
    for column in range(columns):
        row = height - 1 - left - column if reverse_rows else left + column
        line = a[column * _TILE : column * _TILE + rows]
        if reverse_columns:
            target = out[0, row, width - top - rows : width - top]
            for j in range(rows):
                target[j] = line[np.uintp(rows - 1 - j)]
        else:
            target = out[0, row, top : top + rows]
            for j in range(rows):
                target[j] = line[j]


@kernel()
def _place_frame(frame, x, y, transpose, reverse_rows, reverse_columns, out):  # type: ignore[no-untyped-def]
    channels, height, width = out.shape
    flips = reverse_rows, reverse_columns
    a = np.empty(_TILE * _TILE, out.dtype)
    b = np.empty(_TILE * _TILE, out.dtype)
    for channel in range(channels):
        image = out[channel : channel + 1]
        if not transpose:
            _place_rows(frame, channel, x, y, height, width, 0, *flips, image)
            continue
        for left in range(0, height, _TILE):
            columns = min(_TILE, height - left)
            for top in range(0, width, _TILE):
                rows = min(_TILE, width - top)
                _transpose_tile(frame, channel, x + left, y + top, rows, columns, top, left, *flips, a, b, image)


@kernel()
def _bin_row(frame, channel, x, y, bin_x, bin_y, first, second, target):  # type: ignore[no-untyped-def]
    """One row of binned pixels: sums down the rows first, then of neighbours, by halving while the factor is even."""
    columns = target.size
    length = columns * bin_x
    for k in range(bin_y):
        pixels = frame[channel, y + k, x : x + length]
        if k == 0:
            for j in range(length):
                first[j] = pixels[j]
        else:
            for j in range(length):
                first[j] += pixels[j]
    while bin_x % 2 == 0:
        bin_x //= 2
        length //= 2
        for j in range(length):
            second[j] = first[2 * j] + first[2 * j + 1]
        first, second = second, first
    if bin_x == 1:
        for j in range(columns):
            target[j] = first[j]
        return
    for j in range(columns):
        total = first[j * bin_x]
        for k in range(1, bin_x):
            total += first[j * bin_x + k]
        target[j] = total


@kernel()
def _mark_row(frame, channel, x, y, bin_x, bin_y, dummy, mark, target):  # type: ignore[no-untyped-def]
    """Put ``mark`` into the binned pixels of a row in which a pixel is dummy."""
    for k in range(bin_y):
        pixels = frame[channel, y + k, x : x + target.size * bin_x]
        some = np.uint32(0)
        for j in range(pixels.size):
            some += np.uint32(pixels[j] == dummy)
        if some:
            for j in range(pixels.size):
                if pixels[j] == dummy:
                    target[j // bin_x] = mark


@kernel()
def _bin_and_place(  # type: ignore[no-untyped-def]
    frame, x, y, bin_x, bin_y, transpose, reverse_rows, reverse_columns, has_dummy, dummy, mark, out
):
    channels, height, width = out.shape
    rows, columns = (width, height) if transpose else (height, width)
    flips = reverse_rows, reverse_columns
    strip = np.empty((1, _TILE, columns), out.dtype)
    first = np.empty(columns * bin_x, out.dtype)
    second = np.empty(columns * bin_x, out.dtype)
    a = np.empty(_TILE * _TILE, out.dtype)
    b = np.empty(_TILE * _TILE, out.dtype)
    for channel in range(channels):
        image = out[channel : channel + 1]
        for top in range(0, rows, _TILE):
            count = min(_TILE, rows - top)
            for row in range(count):
                place = channel, x, y + (top + row) * bin_y, bin_x, bin_y
                _bin_row(frame, *place, first, second, strip[0, row])
                if has_dummy:
                    _mark_row(frame, *place, dummy, mark, strip[0, row])
            if not transpose:
                _place_rows(strip, 0, 0, 0, count, columns, top, *flips, image)
                continue
            for left in range(0, columns, _TILE):
                wide = min(_TILE, columns - left)
                _transpose_tile(strip, 0, left, 0, count, wide, top, left, *flips, a, b, image)
