"""A picture of a frame, binned to what a page can show, and how it goes over the wire."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

#: Most spots drawn on one picture.
MOST_SPOTS = 2000

Where = Literal["memory", "file", "preview", "stream"]


@dataclass(frozen=True)
class Picture:
    """Pixels (h, w) of frame ``index``, each the mean of ``binning`` x ``binning``; NaN is no value.

    ``origin`` (y, x) is where it begins in the whole frame of ``full_shape``. ``spots`` (n, 3): y, x [px of the whole
    frame], intensity. ``taken``: time of the frame's last byte, seconds since 1970, or None.
    """

    index: int
    data: np.ndarray
    full_shape: tuple[int, int]
    where: Where
    binning: int = 1
    origin: tuple[int, int] = (0, 0)
    spots: np.ndarray | None = None
    taken: float | None = None


def binned(frame: np.ndarray, most_px: int) -> tuple[np.ndarray, int]:
    """``frame`` (h, w) with both sides at most ``most_px``: (pixels, binning).

    Means over whole bins, float32, pixels without a value (NaN) left out; a cut-off rest of less than a bin is not
    shown. A frame that is small enough stays as it is.
    """
    binning = -(-max(frame.shape) // most_px)
    if binning <= 1:
        return frame, 1
    high, wide = (min(side, binning) for side in frame.shape)  # a frame may be thinner than a bin
    height, width = frame.shape[0] // high, frame.shape[1] // wide
    blocks = frame[: height * high, : width * wide].reshape(height, high, width, wide)
    if frame.dtype.kind != "f":
        return blocks.mean(axis=(1, 3), dtype=np.float32), binning
    there = ~np.isnan(blocks)
    number = there.sum(axis=(1, 3))
    total = np.where(there, blocks, 0).sum(axis=(1, 3), dtype=np.float32)
    means = np.full(number.shape, np.nan, np.float32)
    np.divide(total, number, out=means, where=number > 0)
    return means, binning


def without(frame: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """float32 (h, w): ``frame`` with NaN where ``masked`` (h, w) is True."""
    pixels = frame.astype(np.float32)
    pixels[masked] = np.nan
    return pixels


def cut(frame: np.ndarray, y0: int, x0: int, y1: int, x1: int, most_px: int) -> tuple[np.ndarray, int, tuple[int, int]]:
    """A part of a frame, binned if need be: (pixels, binning, origin). What lies outside the frame is cut off."""
    y0, x0 = min(y0, frame.shape[0] - 1), min(x0, frame.shape[1] - 1)
    data, binning = binned(frame[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], most_px)
    return data, binning, (y0, x0)


#: Types that a page reads as they are; others go as float32.
_AS_IT_IS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


def encode(picture: Picture, kind: Literal["image", "region"] = "image", mode: str = "") -> bytes:
    """Header length (uint32), header (JSON), zeros to a multiple of 8, pixels; all little-endian.

    ``mode`` is that in which the picture was asked for: a page leaves out what it no longer wants.
    """
    pixels = picture.data if picture.data.dtype.name in _AS_IT_IS else picture.data.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    spots = picture.spots[:MOST_SPOTS] if picture.spots is not None else np.empty((0, 3))
    header: dict[str, Any] = {
        "type": kind,
        "mode": mode,
        "index": picture.index,
        "shape": list(pixels.shape),
        "dtype": pixels.dtype.name,
        "binning": picture.binning,
        "origin": list(picture.origin),
        "full_shape": list(picture.full_shape),
        "spots": [[round(float(value), 2) for value in spot] for spot in spots],
        "where": picture.where,
        "taken": picture.taken,
        "sent": time.time(),
    }
    text = json.dumps(header, allow_nan=False).encode()
    begin = len(text).to_bytes(4, "little") + text
    return begin + bytes(-len(begin) % 8) + pixels.tobytes()
