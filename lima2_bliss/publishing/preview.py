"""Small live images: a frame binned by whole numbers until its longest side is at most 512 pixels."""

from __future__ import annotations

import numpy as np

#: Longest side of a preview, pixels.
PREVIEW_SIDE = 512


def preview_shape(height: int, width: int, longest_side: int = PREVIEW_SIDE) -> tuple[int, int]:
    """(height, width) of the preview of a frame of that size; rests of an uneven division are cut off."""
    factor = -(-max(height, width) // longest_side)
    return max(height // factor, 1), max(width // factor, 1)


def preview_dtype(frame_shape: tuple[int, int], shape: tuple[int, int], dtype: np.dtype) -> np.dtype:
    """The frame's own dtype when nothing is binned, else float32."""
    return dtype if frame_shape == shape else np.dtype("float32")


def make_preview(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean of the bins of ``image`` (height, width) on ``shape``; the image itself when it has that shape."""
    if image.shape == shape:
        return np.ascontiguousarray(image)
    (height, width), (rows, columns) = image.shape, shape
    along_y, along_x = height // rows, width // columns
    cut = image[: rows * along_y, : columns * along_x]
    # rows first: sums over whole lines run at memory speed
    lines = cut.reshape(rows, along_y, columns * along_x).sum(axis=1, dtype=np.float32)
    return lines.reshape(rows, columns, along_x).sum(axis=2) / np.float32(along_y * along_x)
