"""Where the pixels of a Jungfrau's modules lie in the image: grid of modules, gaps, double pixels, flips.

A module is read as one block of pixels, but its chips stand a little apart: the pixels along the chips' inner borders
are twice as wide (four times as large where four chips meet), so that the image has more pixels than were read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Pixels of a module (rows, columns), and of a chip in both directions.
MODULE_SHAPE = (512, 1024)
CHIP_PIXELS = 256

#: What double pixels give: ``copy`` their value also in the gap between the chips; ``split`` shares it out (integers:
#: in whole counts, so that sums are kept); ``keep`` leaves it in place, gaps are empty; ``mask`` empties it as well.
DoublePixels = Literal["copy", "split", "keep", "mask"]
Flip = Literal["none", "up_down", "left_right", "both"]

#: Bits of image masks, as NeXus defines them for pixel_mask.
MASK_GAP = 1 << 0
MASK_VIRTUAL = 1 << 31  # a double pixel, or a gap pixel that shows the value of one


@dataclass(frozen=True)
class Layout:
    """Modules in ``grid`` (rows, columns); module number runs down the rows first. Gaps are in pixels.

    ``module_gap`` is (y, x). ``flip`` turns the finished image. A raw stack is (modules, rows, columns) of pixels as
    read; the image is `image_shape`.
    """

    grid: tuple[int, int] = (4, 2)
    chip_gap: int = 2
    module_gap: tuple[int, int] = (36, 8)
    flip: Flip = "none"
    double_pixels: DoublePixels = "copy"
    module_shape: tuple[int, int] = MODULE_SHAPE
    chip: int = CHIP_PIXELS

    def __post_init__(self) -> None:
        rows, columns = self.module_shape
        if min(self.grid) < 1 or min(self.chip_gap, *self.module_gap) < 0:
            raise ValueError(f"a grid of {self.grid} modules with gaps {self.chip_gap}, {self.module_gap} cannot be")
        if self.chip < 2 or rows % self.chip or columns % self.chip:
            raise ValueError(f"a module of {rows} x {columns} pixels does not consist of chips of {self.chip}")

    @property
    def nb_modules(self) -> int:
        """Modules of the detector."""
        return self.grid[0] * self.grid[1]

    @property
    def stack_shape(self) -> tuple[int, int, int]:
        """Shape of a raw stack."""
        return (self.nb_modules, *self.module_shape)

    @property
    def placed_shape(self) -> tuple[int, int]:
        """Rows and columns that a module takes up in the image, chip gaps included."""
        rows, columns = self.module_shape
        return rows + self.chip_gap * (rows // self.chip - 1), columns + self.chip_gap * (columns // self.chip - 1)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        height, width = (
            count * size + (count - 1) * gap
            for count, size, gap in zip(self.grid, self.placed_shape, self.module_gap, strict=True)
        )
        return height, width

    def origin(self, module: int) -> tuple[int, int]:
        """Row and column of a module's first pixel in the image before `flip`."""
        column, row = divmod(module, self.grid[0])
        height, width = self.placed_shape
        return row * (height + self.module_gap[0]), column * (width + self.module_gap[1])


@dataclass(frozen=True)
class Axis:
    """One direction of a module in the image: which pixel as read lies at each place.

    ``source`` and ``gap`` are per place in the image (``gap``: between chips), ``place`` and ``share`` per pixel as
    read: where it lies, and over how many places it is spread.
    """

    source: np.ndarray
    gap: np.ndarray
    place: np.ndarray
    share: np.ndarray


def axis_of(length: int, chip: int, chip_gap: int) -> Axis:
    """The axis of ``length`` pixels in chips. The pixel before a gap takes the larger part of an odd one."""
    pixel = np.arange(length)
    place = pixel + chip_gap * (pixel // chip)
    share = np.ones(length, int)
    share[chip - 1 : -1 : chip] += (chip_gap + 1) // 2
    share[chip::chip] += chip_gap // 2
    source = np.repeat(pixel, share)
    gap = np.ones(len(source), bool)
    gap[place] = False
    return Axis(source, gap, place, share)


def axes_of(layout: Layout) -> tuple[Axis, Axis]:
    """Both directions of a module: rows, columns."""
    rows, columns = layout.module_shape
    return axis_of(rows, layout.chip, layout.chip_gap), axis_of(columns, layout.chip, layout.chip_gap)


def turned(image: np.ndarray, flip: Flip) -> np.ndarray:
    """A view of the image, turned as ``flip`` says; twice gives it back."""
    if flip in ("up_down", "both"):
        image = image[::-1]
    if flip in ("left_right", "both"):
        image = image[:, ::-1]
    return image


def assemble_reference(
    stack: np.ndarray, layout: Layout, gap_value: float = 0, codes: tuple[float, ...] = ()
) -> np.ndarray:
    """The image of a raw stack in plain NumPy; values in ``codes`` are marks, which are copied and never shared out."""
    image = np.full(layout.image_shape, gap_value, stack.dtype)
    rows, columns = axes_of(layout)
    height, width = layout.placed_shape
    empty = rows.gap[:, None] | columns.gap
    if layout.double_pixels == "mask":
        empty |= (rows.share[rows.source] > 1)[:, None] | (columns.share[columns.source] > 1)
    for number, module in enumerate(stack):
        y, x = layout.origin(number)
        placed = module[np.ix_(rows.source, columns.source)]
        if layout.double_pixels == "split":
            placed = _shared(module, columns, codes)
            placed = _shared(placed.T, rows, codes).T
        elif layout.double_pixels != "copy":
            placed[empty] = gap_value
        image[y : y + height, x : x + width] = placed
    return turned(image, layout.flip).copy()


def _shared(lines: np.ndarray, axis: Axis, codes: tuple[float, ...]) -> np.ndarray:
    """Lines with the values of wide pixels shared out; what cannot be shared in whole counts stays at its pixel."""
    share = axis.share.astype(lines.dtype)
    part = lines / share if lines.dtype.kind == "f" else np.trunc(lines / axis.share).astype(lines.dtype)
    rest = part if lines.dtype.kind == "f" else lines - part * (share - 1)
    marked = np.isin(lines, codes)
    part, rest = np.where(marked, lines, part), np.where(marked, lines, rest)
    return np.where(axis.gap, part[:, axis.source], rest[:, axis.source])


def disassemble(image: np.ndarray, layout: Layout, add_gaps: bool = False) -> np.ndarray:
    """The raw stack (same type) that gives this image; for simulators.

    A pixel gets what lies at its place; with ``add_gaps`` what falls into the gap between chips is added to the
    double pixels that cover it, as in the real sensor. What lies between modules is dropped.
    """
    flat = turned(image, layout.flip)
    rows, columns = axes_of(layout)
    height, width = layout.placed_shape
    stack = np.empty(layout.stack_shape, image.dtype)
    for number in range(layout.nb_modules):
        y, x = layout.origin(number)
        placed = flat[y : y + height, x : x + width]
        if add_gaps:
            starts = (np.concatenate(([0], np.cumsum(axis.share)[:-1])) for axis in (rows, columns))
            for direction, start in enumerate(starts):
                placed = np.add.reduceat(placed, start, axis=direction, dtype=image.dtype)
            stack[number] = placed
        else:
            stack[number] = placed[np.ix_(rows.place, columns.place)]
    return stack


def image_mask(layout: Layout, stack_mask: np.ndarray | None = None) -> np.ndarray:
    """Mask of the image (uint32, bits): `MASK_GAP` where it has no value, `MASK_VIRTUAL` at double pixels.

    ``stack_mask``: bits of the pixels as read (modules, rows, columns); gap pixels that show a pixel's value take its.
    """
    bits = np.zeros(layout.stack_shape, np.uint32) if stack_mask is None else stack_mask.astype(np.uint32)
    if layout.chip_gap:
        doubled = [axis.share > 1 for axis in axes_of(layout)]
        bits |= np.where(doubled[0][:, None] | doubled[1], np.uint32(MASK_VIRTUAL), np.uint32(0))
    copied = Layout(**{**layout.__dict__, "double_pixels": "copy"}) if layout.double_pixels == "split" else layout
    return assemble_reference(bits, copied, MASK_GAP)
