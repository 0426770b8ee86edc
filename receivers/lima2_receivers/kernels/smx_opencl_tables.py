"""What all frames of the OpenCL backend have in common: the compiled program, and maps on the device."""

from __future__ import annotations

import warnings
from importlib.resources import files
from typing import Any

import numpy as np

from lima2_receivers.kernels.opencl_devices import is_gpu
from lima2_receivers.kernels.smx_reference import radial_position, usable
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections, RadialBins

#: OpenCL's names of raw pixel types; others are brought to float32 first.
PIXEL_TYPES = {
    "uint8": "uchar",
    "int8": "char",
    "uint16": "ushort",
    "int16": "short",
    "uint32": "uint",
    "int32": "int",
    "uint64": "ulong",
    "int64": "long",
    "float32": "float",
}

#: Numbers of the error models in the kernels. A map of variances counts as poisson does.
MODELS = {"no_var": 0, "poisson": 1, "variance": 1, "azimuthal": 2, "hybrid": 3}

#: Work items that share one radial bin.
GPU_GROUP, CPU_GROUP = 256, 16

#: Work items of a group in kernels that work on pixels.
PIXEL_GROUP = 128

#: Numbers in what a work item adds up: `Sums` in the kernels.
NB_SUMS = 6


class DeviceTables:
    """The program, and maps in the order in which its kernels read them (of entries, and of pixels)."""

    def __init__(
        self, device: Any, bins: RadialBins, maps: PixelCorrections, settings: FinderSettings, dtype: np.dtype
    ) -> None:
        import pyopencl as cl

        self.context = cl.Context([device])
        self.dtype, self.nb_bins, self.size = dtype, bins.nb_bins, bins.radius.size
        group = min(GPU_GROUP if is_gpu(device) else CPU_GROUP, device.max_work_group_size)
        self.group = 1 << (group.bit_length() - 1)
        with_double = "cl_khr_fp64" in device.extensions
        self.sums_nbytes = self.group * NB_SUMS * (8 if with_double else 4)
        self.pixel_group = min(PIXEL_GROUP, device.max_work_group_size)
        numbers = np.repeat(np.arange(bins.nb_bins), np.diff(bins.indptr))
        kept = usable(bins, maps)[bins.indices]
        indices = bins.indices[kept]
        begins = np.concatenate(([0], np.cumsum(np.bincount(numbers[kept], minlength=bins.nb_bins))))
        self.nb_entries = len(indices)
        fixed = _fixed_variance(maps, settings.error_model)
        self.has_variances = MODELS[settings.error_model] in (1, 3)
        self.poisson = settings.error_model != "variance"
        self.dummy = tuple(np.float32(value) for value in maps.dummy or (0.0, 0.0))
        self.indices = self.constant(indices, np.int32)
        self.begins = self.constant(begins, np.int32)
        self.entries = self.constant(np.diff(bins.indptr), np.int32)
        self.entry_dark = self.constant(None if maps.dark is None else maps.dark[indices])
        self.entry_norm = self.constant(None if maps.normalization is None else maps.normalization[indices])
        self.entry_share = self.constant(None if bins.coefs is None else bins.coefs[kept])
        self.entry_fixed = self.constant(None if fixed is None else fixed[indices])
        self.position = self.constant(radial_position(bins, maps, settings))
        self.dark = self.constant(maps.dark)
        self.norm = self.constant(maps.normalization)
        defines = {
            "PIXEL": PIXEL_TYPES[dtype.name],
            "NB_BINS": bins.nb_bins,
            "HEIGHT": bins.shape[0],
            "WIDTH": bins.shape[1],
            "HALF": settings.patch_size // 2,
            "GROUP": self.group,
            "MODEL": MODELS[settings.error_model],
            "HAS_DARK": int(maps.dark is not None),
            "HAS_NORM": int(maps.normalization is not None),
            "HAS_SHARE": int(bins.coefs is not None),
            "HAS_FIXED": int(fixed is not None),
            "HAS_DUMMY": int(maps.dummy is not None),
            "WITH_DOUBLE": int(with_double),
        }
        options = [f"-D{name}={value}" for name, value in defines.items()]
        if device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            options.append("-cl-fp32-correctly-rounded-divide-sqrt")
        source = files("lima2_receivers.kernels").joinpath("smx_opencl.cl").read_text()
        with warnings.catch_warnings():  # of compilers that are never silent
            warnings.simplefilter("ignore", cl.CompilerWarning)
            self.program = cl.Program(self.context, source).build(options)

    def constant(self, values: np.ndarray | None, dtype: Any = np.float32) -> Any:
        """A buffer that is only read; None for no map."""
        import pyopencl as cl

        if values is None:
            return None
        host = np.ascontiguousarray(values, dtype)
        if not host.size:
            host = np.zeros(1, dtype)
        flags = cl.mem_flags
        return cl.Buffer(self.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=host)


def _fixed_variance(maps: PixelCorrections, error_model: str) -> np.ndarray | None:
    """The part of the variance that is the same in all frames."""
    parts = [maps.dark_variance] + ([maps.variance] if error_model == "variance" else [])
    given = [part for part in parts if part is not None]
    return sum(given[1:], given[0]) if given else None
