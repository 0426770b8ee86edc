"""A picture as PNG, in the colours of the page, with its spots marked."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from lima2_bliss.monitor.pictures import MOST_SPOTS, Picture

Colours = tuple[tuple[int, int, int], ...]

#: Anchors of the colour maps, as static/colours.js has them.
COLOUR_MAPS: dict[str, Colours] = {
    "grey": ((0, 0, 0), (255, 255, 255)),
    "inverse": ((255, 255, 255), (0, 0, 0)),
    "heat": ((0, 0, 0), (140, 10, 10), (230, 90, 10), (255, 210, 60), (255, 255, 255)),
    "viridis": ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
    "blue": ((8, 12, 40), (20, 70, 160), (60, 160, 220), (190, 235, 250), (255, 255, 255)),
}
SCALES = ("auto", "linear", "log")
_GAP = (46, 58, 74)


def shown_range(pixels: np.ndarray, log: bool) -> tuple[float, float]:
    """Lowest and highest value to show: percentiles 1 and 99.8 of the pixels that have a value."""
    values = pixels[np.isfinite(pixels)]
    if log:
        values = values[values > 0]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values[:: max(1, values.size // 20000)], (1, 99.8))
    return float(low), float(high) if high > low else float(low) + 1


def png(picture: Picture, scale: Literal["auto", "linear", "log"] | str = "auto", colours: str = "grey") -> bytes:
    """PNG of a picture; pixels without a value in the colour of gaps, spots as red circles."""
    pixels = picture.data.astype(np.float32)
    log = scale == "log"
    low, high = shown_range(pixels, log)
    if log:
        low, high = np.log(max(low, 1e-3)), np.log(max(high, 2e-3))
        pixels = np.where(pixels > 0, np.log(np.where(pixels > 0, pixels, 1)), np.where(np.isnan(pixels), np.nan, low))
    there = ~np.isnan(pixels)
    steps = np.clip((np.where(there, pixels, low) - low) * (255 / ((high - low) or 1)), 0, 255).astype(np.uint8)
    anchors = np.array(COLOUR_MAPS[colours], float)
    places = np.linspace(0, 255, len(anchors))
    table = np.stack([np.interp(np.arange(256), places, anchors[:, c]) for c in range(3)], axis=1).astype(np.uint8)
    coloured = table[steps]
    coloured[~there] = _GAP
    image = Image.fromarray(coloured)
    if picture.spots is not None:
        pen = ImageDraw.Draw(image)
        for y, x, *_ in picture.spots[:MOST_SPOTS]:
            row, column = ((v - o + 0.5) / picture.binning for v, o in zip((y, x), picture.origin, strict=True))
            pen.ellipse((column - 6, row - 6, column + 6, row + 6), outline=(255, 59, 48), width=2)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()
