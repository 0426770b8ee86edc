"""The Jungfrau conversion on a GPU, or on a CPU through PoCL: the same results as `Corrector`, to the bit."""

from __future__ import annotations

import threading
import warnings
from importlib.resources import files
from typing import Any

import numpy as np

from lima2_bliss.contract import AcquisitionError, ParameterError
from lima2_receivers.kernels.jungfrau_layout import Layout, assemble_reference, axes_of, turned
from lima2_receivers.kernels.jungfrau_types import Output, PixelCounts, StageMaps
from lima2_receivers.kernels.opencl_devices import build_reason, choose_device, describe_device, opencl_errors

#: OpenCL's names of the output types.
PIXEL_TYPES = {"float32": "float", "int32": "int", "int16": "short", "uint16": "ushort"}

NB_COUNTS = 6


class OpenclCorrector:
    """Corrected images of raw stacks, as `Corrector` makes them. ``device``: 'platform:device', '' for the best.

    One frame at a time is on the device; other callers wait. Maps are copied to the device: after a change of theirs,
    call `renew`. `ParameterError` when the device is not there or cannot be used, `AcquisitionError` when it fails.
    """

    def __init__(
        self, layout: Layout, maps: StageMaps, output: Output, high_gain: StageMaps | None = None, device: str = ""
    ) -> None:
        for given in (maps, high_gain):
            if given is not None and given.factors.shape[1:] != layout.stack_shape:
                raise ValueError(f"maps of {given.factors.shape[1:]} pixels, layout of {layout.stack_shape}")
        chosen = choose_device(device)
        self.layout, self.maps, self.high_gain, self.output = layout, maps, high_gain, output
        self.device = describe_device(chosen)
        self._lock = threading.Lock()
        try:
            self._prepare(chosen)
        except opencl_errors() as error:
            raise ParameterError(f"OpenCL device {self.device} cannot be used: {build_reason(error)}") from error

    def _prepare(self, device: Any) -> None:
        import pyopencl as cl

        dtype = self.output.dtype
        self._context = cl.Context([device])
        self._queue = cl.CommandQueue(self._context)
        split = self.layout.double_pixels == "split"
        options = [
            f"-DPIXEL={PIXEL_TYPES[dtype.name]}",
            f"-DIS_FLOAT={int(dtype.kind == 'f')}",
            f"-DSPLIT={int(split)}",
        ]
        if device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            options.append("-cl-fp32-correctly-rounded-divide-sqrt")
        source = files("lima2_receivers.kernels").joinpath("jungfrau_opencl.cl").read_text()
        with warnings.catch_warnings():  # of compilers that are never silent
            warnings.simplefilter("ignore", cl.CompilerWarning)
            program = cl.Program(self._context, source).build(options)
        self._convert, self._place = cl.Kernel(program, "convert"), cl.Kernel(program, "place")
        sources = source_places(self.layout)
        self._nb_raw, self._nb_image = self.maps.factors[0].size, sources.size
        self._sources = self._constant(sources)
        self._spreads = self._constant(spreads(self.layout) if split else np.zeros(1, np.uint16))
        self._marks = self._constant(self.output.marks)
        self._raw = self._buffer(self._nb_raw * 2)
        self._values = self._buffer(self._nb_raw * dtype.itemsize)
        self._image = self._buffer(self._nb_image * dtype.itemsize)
        self._counters = self._buffer(NB_COUNTS * 4)
        self._tables = self._uploaded()

    def _uploaded(self) -> dict[bool, tuple[Any, Any]]:
        sets = {False: self.maps, True: self.high_gain}
        return {
            high: (self._constant(maps.pedestals), self._constant(maps.factors))
            for high, maps in sets.items()
            if maps is not None
        }

    def _constant(self, values: np.ndarray) -> Any:
        import pyopencl as cl

        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        return cl.Buffer(self._context, flags, hostbuf=np.ascontiguousarray(values))

    def _buffer(self, nbytes: int) -> Any:
        import pyopencl as cl

        return cl.Buffer(self._context, cl.mem_flags.READ_WRITE, nbytes)

    def renew(self, stage: int | None = None) -> None:
        """Copy the maps to the device again: all of them, or only the pedestals of one stage."""
        import pyopencl as cl

        sets = {False: self.maps, True: self.high_gain}
        try:
            with self._lock:
                for high, (pedestals, factors) in self._tables.items():
                    maps = sets[high]
                    assert maps is not None
                    if stage is None:
                        cl.enqueue_copy(self._queue, pedestals, maps.pedestals, is_blocking=True)
                        cl.enqueue_copy(self._queue, factors, maps.factors, is_blocking=True)
                        continue
                    values = maps.pedestals[stage]
                    offset = stage * values.nbytes
                    cl.enqueue_copy(self._queue, pedestals, values, dst_offset=offset, is_blocking=True)
        except opencl_errors() as error:
            raise AcquisitionError(f"OpenCL device {self.device} failed: {error}") from error

    def __call__(
        self, stack: np.ndarray, out: np.ndarray | None = None, high_gain: bool = False
    ) -> tuple[np.ndarray, PixelCounts]:
        """The image (``out`` if given, every pixel of it is written) and what was counted; errors as `Corrector`."""
        if stack.shape != self.layout.stack_shape or stack.dtype != np.uint16 or not stack.flags.c_contiguous:
            raise ValueError(
                f"a raw stack is contiguous uint16 {self.layout.stack_shape}, not {stack.dtype} {stack.shape}"
            )
        if high_gain and self.high_gain is None:
            raise ValueError("the frame was taken in high-gain mode, and there are no HG0 maps")
        image = np.empty(self.layout.image_shape, self.output.dtype) if out is None else out
        if image.shape != self.layout.image_shape or image.dtype != self.output.dtype or not image.flags.c_contiguous:
            raise ValueError(f"out is {image.dtype} {image.shape}; the image is contiguous {self.layout.image_shape}")
        counters = np.zeros(NB_COUNTS, np.int32)
        try:
            with self._lock:
                self._run(stack, high_gain, image, counters)
        except opencl_errors() as error:
            raise AcquisitionError(f"OpenCL device {self.device} failed: {error}") from error
        return image, PixelCounts(*(int(count) for count in counters))

    def _run(self, stack: np.ndarray, high_gain: bool, image: np.ndarray, counters: np.ndarray) -> None:
        import pyopencl as cl

        queue, sizes = self._queue, (np.int32(self._nb_raw), np.int32(self._nb_image))
        cl.enqueue_copy(queue, self._counters, counters, is_blocking=False)
        cl.enqueue_copy(queue, self._raw, stack, is_blocking=False)
        limits = np.float32(self.output.lowest), np.float32(self.output.highest)
        results = self._values, self._counters
        tables = self._tables[high_gain]
        self._convert(queue, (self._nb_raw,), None, self._raw, sizes[0], *tables, self._marks, *limits, *results)
        places = self._sources, self._spreads
        self._place(queue, (self._nb_image,), None, self._values, sizes[1], *places, self._marks, self._image)
        cl.enqueue_copy(queue, image, self._image, is_blocking=False)
        cl.enqueue_copy(queue, counters, self._counters, is_blocking=False)
        queue.finish()

    def close(self) -> None:
        """Nothing to end: the device's memory goes with this object."""


def source_places(layout: Layout) -> np.ndarray:
    """For each pixel of the image which pixel of the raw stack it shows (int32), -1 for none."""
    numbers = np.arange(np.prod(layout.stack_shape), dtype=np.int32).reshape(layout.stack_shape)
    return assemble_reference(numbers, _shown(layout), -1)


def spreads(layout: Layout) -> np.ndarray:
    """For each pixel of the image (uint16) how its value is shared: bits as the kernel ``place`` has them."""
    rows, columns = axes_of(layout)
    most = max(int(axis.share.max()) for axis in (rows, columns))
    if most > 16:
        raise ParameterError(f"chip gap of {layout.chip_gap} pixels: OpenCL shares values over 16 pixels at most")
    down = (rows.share[rows.source] - 1) << 4 | rows.gap.astype(int) << 9
    across = columns.share[columns.source] - 1 | columns.gap.astype(int) << 8
    placed = (down[:, None] | across).astype(np.uint16)
    image = np.zeros(layout.image_shape, np.uint16)
    for module in range(layout.nb_modules):
        y, x = layout.origin(module)
        image[y : y + placed.shape[0], x : x + placed.shape[1]] = placed
    return turned(image, layout.flip)


def _shown(layout: Layout) -> Layout:
    """Indices cannot be shared out: a pixel that shares a value shows it."""
    return Layout(**{**layout.__dict__, "double_pixels": "copy"}) if layout.double_pixels == "split" else layout
