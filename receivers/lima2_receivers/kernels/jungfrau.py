"""Jungfrau frames: from the raw stack of modules to the corrected image, in one pass of compiled code.

`Corrector` for detector frames, `Assembler` for raw pixels as an image. Both take any number of calls at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lima2_receivers.kernels.jungfrau_cpu import NB_COUNTS, correct_rows
from lima2_receivers.kernels.jungfrau_layout import Layout
from lima2_receivers.kernels.jungfrau_pedestal import add_dark, track
from lima2_receivers.kernels.jungfrau_place import geometry_numbers, place_rows
from lima2_receivers.kernels.jungfrau_types import Output, OutputType, PixelCounts, StageMaps, output
from lima2_receivers.kernels.smx_cpu_workers import Workers, even_parts

#: Parts per thread: more than one, so that a thread that was held up does not hold up the frame.
PARTS_PER_THREAD = 4


class _Banded:
    """Work on the rows of a stack, shared by threads."""

    def __init__(self, layout: Layout, threads: int) -> None:
        self.layout = layout
        self._geometry = geometry_numbers(layout)
        modules, rows, _ = layout.stack_shape
        self._parts = even_parts(modules * rows, 1 if threads == 1 else threads * PARTS_PER_THREAD)
        self._workers = Workers(threads)

    def _image(self, out: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
        shape = self.layout.image_shape
        if out is None:
            return np.empty(shape, dtype)
        if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}; the image is contiguous {dtype} {shape}")
        return out

    def _check(self, stack: np.ndarray) -> None:
        if stack.shape != self.layout.stack_shape or not stack.flags.c_contiguous:
            raise ValueError(f"a raw stack is contiguous {self.layout.stack_shape}, not {stack.shape}")

    def close(self) -> None:
        """Let the threads end."""
        self._workers.close()


class Corrector(_Banded):
    """Corrected images of raw stacks (modules, rows, columns) of uint16.

    ``high_gain``: the maps for frames taken in high-gain mode (HG0 in place of G0), if there are. The maps are kept,
    not copied: new values written into them count from the next frame on.
    """

    def __init__(
        self, layout: Layout, maps: StageMaps, output: Output, high_gain: StageMaps | None = None, threads: int = 1
    ) -> None:
        for given in (maps, high_gain):
            if given is not None and given.factors.shape[1:] != layout.stack_shape:
                raise ValueError(f"maps of {given.factors.shape[1:]} pixels, layout of {layout.stack_shape}")
        super().__init__(layout, threads)
        self.maps, self.high_gain, self.output = maps, high_gain, output
        self._limits = np.float32(output.lowest), np.float32(output.highest)

    def __call__(
        self, stack: np.ndarray, out: np.ndarray | None = None, high_gain: bool = False
    ) -> tuple[np.ndarray, PixelCounts]:
        """The image (``out`` if given, every pixel of it is written) and what was counted.

        ``high_gain``: bit 0 of the frame's DAQ info. `ValueError` for a wrong shape or type, and for a high-gain frame
        without maps for it.
        """
        self._check(stack)
        if stack.dtype != np.uint16:
            raise ValueError(f"raw pixels are uint16, not {stack.dtype}")
        maps = self.high_gain if high_gain else self.maps
        if maps is None:
            raise ValueError("the frame was taken in high-gain mode, and there are no HG0 maps")
        image = self._image(out, self.output.dtype)
        counts = np.zeros((len(self._parts), NB_COUNTS), np.int64)

        def work(part: tuple[int, tuple[int, int]]) -> None:
            number, (begin, end) = part
            arguments = self._geometry, self.output.marks, self._limits, begin, end, image, counts[number]
            correct_rows(stack, maps.pedestals, maps.factors, *arguments)

        self._workers.run(work, list(enumerate(self._parts)))
        return image, PixelCounts(*(int(count) for count in counts.sum(0)))


class Assembler(_Banded):
    """Images of stacks of any pixel type as they are; raw pixels are not shared out: ``split`` counts as ``copy``."""

    def __init__(self, layout: Layout, gap_value: float = 0, threads: int = 1) -> None:
        whole = Layout(**{**layout.__dict__, "double_pixels": "copy"}) if layout.double_pixels == "split" else layout
        super().__init__(whole, threads)
        self.gap_value = gap_value

    def __call__(self, stack: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The image (``out`` if given, every pixel of it is written)."""
        self._check(stack)
        image = self._image(out, stack.dtype)
        marks = np.array([self.gap_value], stack.dtype)
        self._workers.run(lambda part: place_rows(stack, self._geometry, marks, *part, image), self._parts)
        return image


def warm_up_jungfrau(dtypes: Iterable[OutputType] = ("float32",)) -> None:
    """Make the kernels ready for these output types: compiled once per host, then loaded from the cache on disk."""
    layout = Layout(grid=(1, 1), module_shape=(2, 2), chip=2)
    maps = StageMaps(*(np.zeros((3, *layout.stack_shape), np.float32) for _ in range(2)))
    stack = np.zeros(layout.stack_shape, np.uint16)
    for dtype in dtypes:
        Corrector(layout, maps, output(dtype))(stack)
    Assembler(layout)(stack)
    sums = (np.zeros(stack.shape, sort) for sort in (np.int64, np.int64, np.uint32, np.uint32))
    add_dark(stack, 0, *sums)
    track(stack, 0, 0.1, maps.factors[0], maps.pedestals[0])
