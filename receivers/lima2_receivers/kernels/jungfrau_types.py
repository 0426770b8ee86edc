"""What the Jungfrau conversion is told and what it counts: maps of the gain stages, output type and its marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Raw pixels: gain stage in the two highest bits, ADC value below. Gain bits 2 are no stage.
GAIN_SHIFT = 14
ADC_MASK = 0x3FFF
STAGE_BITS = (0, 1, 3)
NO_STAGE_BITS = 2
MISSING, SATURATED, ERROR = 0xFFFF, 0xC000, 0x4000

OutputType = Literal["float32", "int32", "int16", "uint16"]


@dataclass(frozen=True)
class StageMaps:
    """Pedestals [ADU] and factors [1 / ADU] of the three gain stages, both float32 (3, modules, rows, columns).

    Value = (ADC - pedestal) * factor. A factor that is not a number marks a pixel that cannot be used in that stage.
    """

    pedestals: np.ndarray
    factors: np.ndarray

    def __post_init__(self) -> None:
        for name, values in (("pedestals", self.pedestals), ("factors", self.factors)):
            if values.ndim != 4 or len(values) != 3 or values.dtype != np.float32 or not values.flags.c_contiguous:
                raise ValueError(
                    f"{name}: contiguous float32 (3, modules, rows, columns), not {values.dtype} {values.shape}"
                )
        if self.pedestals.shape != self.factors.shape:
            raise ValueError(f"pedestals {self.pedestals.shape} and factors {self.factors.shape} differ in shape")


@dataclass(frozen=True)
class Output:
    """Pixel type of images and the marks that stand for pixels without a value. `output` has good defaults.

    ``masked``: no calibration; ``missing``: never arrived; ``saturated``: beyond the last gain stage; ``error``:
    reported by the pixel, or gain bits that are no stage; ``gap``: no sensor. Integers are rounded, half away from
    zero, and clipped to ``lowest`` ... ``highest``, which leaves the default marks free.
    """

    dtype: np.dtype
    masked: float
    missing: float
    saturated: float
    error: float
    gap: float
    lowest: float = -np.inf
    highest: float = np.inf

    def __post_init__(self) -> None:
        if self.dtype.name not in ("float32", "int32", "int16", "uint16"):
            raise ValueError(f"output type {self.dtype}: there are float32, int32, int16, uint16")
        if self.dtype.kind != "f":
            limits = np.iinfo(self.dtype)
            for name in ("masked", "missing", "saturated", "error", "gap", "lowest", "highest"):
                value = getattr(self, name)
                if not (limits.min <= value <= limits.max and value == int(value)):
                    raise ValueError(f"{name} = {value}: {self.dtype} holds whole numbers {limits.min} to {limits.max}")
            for name in ("lowest", "highest"):
                if int(np.float32(getattr(self, name))) != getattr(self, name):
                    raise ValueError(f"{name} = {getattr(self, name)} is no float32")

    @property
    def marks(self) -> np.ndarray:
        """masked, missing, saturated, error, gap in the output's type."""
        return np.array([self.masked, self.missing, self.saturated, self.error, self.gap], self.dtype)


def output(dtype: OutputType | np.dtype = "float32", **marks: float) -> Output:
    """An `Output` with default marks, any of which can be given.

    float32: not a number, saturated: infinity. Signed integers: the lowest number, saturated: the highest.
    uint16: 65535, saturated: 65534; negative values become 0.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        bad, full, limits = np.nan, np.inf, {}
    elif kind.kind == "u":
        top = int(np.iinfo(kind).max)
        bad, full, limits = top, top - 1, {"lowest": 0, "highest": top - 2}
    else:
        bounds = np.iinfo(kind)
        bad, full = bounds.min, bounds.max
        # the highest float32 below the mark: 32767 - 1, 2**31 - 128
        highest = bounds.max - 1 if kind.itemsize == 2 else bounds.max - 127
        limits = {"lowest": bounds.min + 1 if kind.itemsize == 2 else bounds.min + 128, "highest": highest}
    defaults = {"masked": bad, "missing": bad, "saturated": full, "error": bad, "gap": bad}
    return Output(kind, **{**defaults, **limits, **marks})


@dataclass(frozen=True)
class PixelCounts:
    """Pixels as read of one frame: ``missing``; of those that the mask leaves: ``saturated``, ``error``, ``invalid``
    (gain bits that are no stage), and ``g1`` and ``g2`` that switched to these stages and have a value."""

    missing: int = 0
    saturated: int = 0
    error: int = 0
    invalid: int = 0
    g1: int = 0
    g2: int = 0

    @property
    def bad(self) -> int:
        """Pixels that the mask leaves but that gave no value (without missing and saturated ones)."""
        return self.error + self.invalid
