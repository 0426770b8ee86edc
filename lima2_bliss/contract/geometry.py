"""Regions of interest and the way from a detector pixel to an image pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flip = Literal["none", "left_right", "up_down", "both"]
Rotation = Literal["none", "90cw", "180", "90ccw"]


@dataclass(frozen=True)
class ImageTransform:
    """How an image came from the detector: binning, then ROI, then flip, then rotation. Shapes are (height, width).

    ``roi`` is (x, y, width, height) in binned pixels; None is the full frame.
    """

    detector_shape: tuple[int, int]
    binning: tuple[int, int] = (1, 1)  # (x, y)
    roi: tuple[int, int, int, int] | None = None
    flip: Flip = "none"
    rotation: Rotation = "none"

    @property
    def binned_shape(self) -> tuple[int, int]:
        return self.detector_shape[0] // self.binning[1], self.detector_shape[1] // self.binning[0]

    @property
    def cropped_shape(self) -> tuple[int, int]:
        return self.binned_shape if self.roi is None else (self.roi[3], self.roi[2])

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the image that results."""
        height, width = self.cropped_shape
        return (width, height) if self.rotation in ("90cw", "90ccw") else (height, width)

    @property
    def is_identity(self) -> bool:
        full = (0, 0, self.binned_shape[1], self.binned_shape[0])
        return self.binning == (1, 1) and self.roi in (None, full) and self.flip == "none" and self.rotation == "none"

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Image coordinates of detector point (x, y); pixel centres are at integers in both frames."""
        x, y = (x + 0.5) / self.binning[0] - 0.5, (y + 0.5) / self.binning[1] - 0.5
        if self.roi is not None:
            x, y = x - self.roi[0], y - self.roi[1]
        height, width = self.cropped_shape
        if self.flip in ("left_right", "both"):
            x = width - 1 - x
        if self.flip in ("up_down", "both"):
            y = height - 1 - y
        if self.rotation == "90cw":
            return height - 1 - y, x
        if self.rotation == "90ccw":
            return y, width - 1 - x
        if self.rotation == "180":
            return width - 1 - x, height - 1 - y
        return x, y

    def to_detector(self, x: float, y: float) -> tuple[float, float]:
        """Detector coordinates of image point (x, y): the inverse of `to_image`."""
        height, width = self.cropped_shape
        if self.rotation == "90cw":
            x, y = y, height - 1 - x
        elif self.rotation == "90ccw":
            x, y = width - 1 - y, x
        elif self.rotation == "180":
            x, y = width - 1 - x, height - 1 - y
        if self.flip in ("left_right", "both"):
            x = width - 1 - x
        if self.flip in ("up_down", "both"):
            y = height - 1 - y
        if self.roi is not None:
            x, y = x + self.roi[0], y + self.roi[1]
        return (x + 0.5) * self.binning[0] - 0.5, (y + 0.5) * self.binning[1] - 0.5

    def to_json(self) -> dict[str, object]:
        """Plain description for files and stream metadata."""
        return {
            "detector_shape": list(self.detector_shape),
            "binning": list(self.binning),
            "roi": [] if self.roi is None else list(self.roi),
            "flip": self.flip,
            "rotation": self.rotation,
        }
