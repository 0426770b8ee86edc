"""What a frame is: its shape and type, and what is known of each one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from lima2_bliss.contract.pixels import dtype_of, pixel_type_of


@dataclass(frozen=True)
class FrameInfo:
    """Shape and pixel type of the frames of one source: arrays of (nb_channels, height, width).

    ``extras``: (name, dtype, shape) of values that the source has of each frame beside the pixels; see `FrameMeta`.
    ``notes``: (name, text), what ``data`` and the extras are, for who reads the files.
    """

    nb_channels: int
    height: int
    width: int
    dtype: np.dtype
    extras: tuple[tuple[str, np.dtype, tuple[int, ...]], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.nb_channels, self.height, self.width)

    @property
    def nbytes(self) -> int:
        return self.nb_channels * self.height * self.width * self.dtype.itemsize

    def to_json(self) -> dict[str, object]:
        """The frame-info object of LImA2's processing devices."""
        return {
            "nb_channels": self.nb_channels,
            "dimensions": {"x": self.width, "y": self.height},
            "pixel_type": pixel_type_of(self.dtype),
        }

    @classmethod
    def from_json(cls, content: dict) -> FrameInfo:
        size = content["dimensions"]
        return cls(int(content["nb_channels"]), int(size["y"]), int(size["x"]), dtype_of(content["pixel_type"]))


class FrameFlags(IntFlag):
    """What is wrong with a frame; 0 is a good frame. Stored per frame in files and in the results log."""

    GOOD = 0
    LOST = 1  # the source never got it (dropped, overrun): no pixels
    INCOMPLETE = 2  # some packets or tiles are missing
    FAILED = 4  # the detector or the processing failed on it
    OVERRUN = 8  # lost because the ring of buffers was full
    VETOED = 16  # only in files: a good frame that was not to be saved, no pixels there

    @property
    def valid(self) -> bool:
        return self == FrameFlags.GOOD


@dataclass(slots=True)
class FrameMeta:
    """What is known of one frame beside its pixels.

    ``index``: global index in the acquisition, from 0. ``local``: place in this receiver's order of arrival, from 0.
    ``timestamp_ns``: host time (CLOCK_REALTIME) at which the frame's last byte arrived. ``hit``: what the pipeline
    found; None when it does not look for hits. ``extras``: the source's own values of this frame by name, as
    `FrameInfo.extras` says (None: it has none for this frame).
    """

    index: int
    local: int
    timestamp_ns: int = 0
    flags: FrameFlags = FrameFlags.GOOD
    hit: bool | None = None
    extras: Mapping[str, np.ndarray] | None = None
