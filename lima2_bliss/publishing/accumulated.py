"""Images that each receiver sums up or averages over its frames, binned and put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BinnedImage:
    """One receiver's image in bins: float64 sum over the pixels of each bin that have a value, and their number."""

    sums: np.ndarray
    pixels: np.ndarray
    frames: int

    @classmethod
    def of(cls, image: np.ndarray, shape: tuple[int, int], frames: int) -> BinnedImage:
        """``image`` (height, width), NaN where there is no value, over so many ``frames``."""
        (height, width), (rows, columns) = image.shape, shape
        along_y, along_x = height // rows, width // columns
        cut = image[: rows * along_y, : columns * along_x]
        if cut.dtype.kind != "f":
            return cls(_bins(cut, shape), np.full(shape, along_y * along_x, np.float64), frames)
        there = np.isfinite(cut)
        return cls(_bins(np.where(there, cut, 0), shape), _bins(there, shape), frames)


def merged_sum(images: list[BinnedImage]) -> np.ndarray:
    """float32: sum over all pixels of a bin and all receivers."""
    return np.sum([image.sums for image in images], axis=0).astype(np.float32)


def merged_mean(images: list[BinnedImage]) -> np.ndarray:
    """float32: mean over the pixels of a bin, receivers weighted by their frames; NaN where no pixel has a value."""
    total = np.sum([image.sums * image.frames for image in images], axis=0)
    weight = np.sum([image.pixels * image.frames for image in images], axis=0)
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0).astype(np.float32)


def _bins(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = shape
    along_y, along_x = image.shape[0] // rows, image.shape[1] // columns
    # rows first: sums over whole lines run at memory speed
    lines = image.reshape(rows, along_y, columns * along_x).sum(axis=1, dtype=np.float64)
    return np.asarray(lines.reshape(rows, columns, along_x).sum(axis=2))
