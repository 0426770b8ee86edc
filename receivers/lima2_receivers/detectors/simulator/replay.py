"""Frames read from an HDF5 stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError, pixel_type_of
from lima2_receivers.detectors.simulator.params import MAX_PREFETCH_BYTES, SimulatorParameters


@contextmanager
def _dataset(parameters: SimulatorParameters) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401 - registers the compressions

    file = parameters.det.generator.file
    try:
        with h5py.File(file.path, "r", locking=False) as opened:
            found = opened.get(file.dataset)
            if not isinstance(found, h5py.Dataset):
                raise ParameterError(
                    f"det.generator.file: no dataset {file.dataset!r} in {file.path}; at the top it has: "
                    + (", ".join(opened) or "nothing")
                )
            yield found
    except OSError as error:
        raise ParameterError(f"det.generator.file.path = {file.path!r} cannot be read as HDF5: {error}") from error


def describe(parameters: SimulatorParameters) -> tuple[FrameInfo, int]:
    """Shape and type of the frames, and how many of them are replayed; `ParameterError` when they cannot be."""
    file = parameters.det.generator.file
    with _dataset(parameters) as dataset:
        shape, dtype = dataset.shape, dataset.dtype.newbyteorder("<") if dataset.dtype.itemsize > 1 else dataset.dtype
    if len(shape) not in (2, 3, 4):
        raise ParameterError(
            f"det.generator.file: {file.dataset} in {file.path} has shape {shape}; "
            "allowed: (y, x), (n, y, x), (n, channels, y, x)"
        )
    pixel_type_of(dtype)
    frames = shape[0] if len(shape) > 2 else 1
    if file.first_frame >= frames:
        raise ParameterError(
            f"det.generator.file.first_frame = {file.first_frame}, but {file.dataset} in {file.path} "
            f"has {frames} frames, from 0 to {frames - 1}"
        )
    info = FrameInfo(shape[1] if len(shape) == 4 else 1, int(shape[-2]), int(shape[-1]), np.dtype(dtype))
    slots = min(frames - file.first_frame, parameters.det.nb_prefetch_frames)
    if info.nbytes * slots > MAX_PREFETCH_BYTES:
        raise ParameterError(
            f"det.nb_prefetch_frames = {slots} frames of {info.nbytes / 2**20:.0f} MiB from {file.path} exceed "
            f"{MAX_PREFETCH_BYTES / 2**20:.0f} MiB; at most {MAX_PREFETCH_BYTES // info.nbytes}"
        )
    return info, slots


def version(parameters: SimulatorParameters) -> tuple[int, int]:
    """What changes when the file is written again: (time of the last change [ns], bytes)."""
    path = Path(parameters.det.generator.file.path)
    try:
        found = path.stat()
    except OSError as error:
        raise ParameterError(f"det.generator.file.path = {str(path)!r} cannot be read: {error}") from error
    return found.st_mtime_ns, found.st_size


def make_frame(parameters: SimulatorParameters, slot: int, dtype: np.dtype) -> np.ndarray:
    """Frame (channels, height, width) of a slot."""
    with _dataset(parameters) as dataset:
        pixels = dataset[parameters.det.generator.file.first_frame + slot] if dataset.ndim > 2 else dataset[()]
    return np.ascontiguousarray(pixels.reshape((-1, *pixels.shape[-2:])), dtype)
