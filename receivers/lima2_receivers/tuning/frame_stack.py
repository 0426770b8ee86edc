"""The frames to try settings on, from HDF5 or NumPy files or memory, with what a file of ours says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FrameFlags, FrameInfo, ParameterError, pixel_type_of
from lima2_receivers.pipelines.maps import HDF5_SUFFIXES, map_version, open_hdf5, unreadable_refused

WHAT = "frames"

#: Where the detector group has the geometry.
PONI = "geometry/poni"

#: Attribute of an NXentry whose default plot is not dense frames but the sparse ones.
SPARSE_MARK = "pyFAI_sparse_frames"


@dataclass(frozen=True)
class FrameStack:
    """Frames (n, height, width) of one channel, read one by one.

    ``pixels``: array or open dataset, (n, y, x) or (n, 1, y, x). ``flags``: uint32 (n), `FrameFlags`; frames other than
    0 have no pixels to trust. ``processing``: parameters of the pipeline that took them, as JSON text; ``poni``: the
    geometry at that time, as the text of a PONI file. Both are empty when nobody knows.
    """

    name: str
    pixels: Any
    flags: np.ndarray
    processing: str = ""
    poni: str = ""

    @classmethod
    def from_array(cls, pixels: Any, name: str = "frames") -> FrameStack:
        """Frames in memory, all of them good; `ParameterError` when it is no stack of images."""
        return cls(name, _checked(pixels, name), np.zeros(len(pixels), np.uint32))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def info(self) -> FrameInfo:
        """Size and type of a frame, in the byte order of this machine."""
        height, width = self.pixels.shape[-2:]
        return FrameInfo(1, height, width, self.pixels.dtype.newbyteorder("="))

    def read(self, index: int) -> np.ndarray:
        """Frame ``index`` as a contiguous array (height, width), no longer tied to its file."""
        info = self.info
        frame = np.asarray(self.pixels[index]).reshape(info.height, info.width)
        if isinstance(self.pixels, np.memmap):
            frame = frame.copy()  # else the disk is read while the clock of the computation runs
        return np.ascontiguousarray(frame, info.dtype)

    def good(self, indices: range) -> tuple[list[int], dict[str, int]]:
        """Those of ``indices`` that can be used, and why the others cannot: how many frames have each flag."""
        used = [index for index in indices if self.flags[index] == 0]
        why = Counter(
            flag.name or "" for index in indices for flag in FrameFlags if flag and int(self.flags[index]) & flag
        )
        return used, dict(why)


@contextmanager
def open_stack(source: str | Path) -> Iterator[FrameStack]:
    """The frames of ``file.h5``, ``file.h5::/path/to/dataset`` or ``file.npy``; `ParameterError` when it has none.

    Without a path, HDF5 files give what they show by default (NeXus ``default``), else their only stack of images.
    """
    name, separator, inside = str(source).partition("::")
    suffix = Path(name).suffix.lower()
    if suffix not in (*HDF5_SUFFIXES, ".npy"):
        raise ParameterError(
            f"{WHAT}: {name}: unknown file type {suffix!r}; allowed: {', '.join((*HDF5_SUFFIXES, '.npy'))}"
        )
    _require(name)
    if suffix == ".npy":
        if separator:
            raise ParameterError(f"{WHAT}: {source}: only HDF5 files take '::/path'; leave it out")
        yield FrameStack.from_array(_load_npy(name), name)
        return
    with unreadable_refused(name, WHAT):
        file = open_hdf5(name, WHAT)
    with file:
        yield _from_hdf5(file, inside)


def _require(name: str) -> None:
    if not Path(name).exists():
        raise ParameterError(f"{WHAT}: there is no file {name}")
    map_version(name, WHAT)


def _load_npy(name: str) -> np.ndarray:
    try:
        with unreadable_refused(name, WHAT):
            return np.load(name, mmap_mode="r", allow_pickle=False)
    except ParameterError:
        raise
    except ValueError as error:
        raise ParameterError(f"{WHAT}: {name} is damaged or no .npy file: {error}") from None


def _from_hdf5(file: h5py.File, inside: str) -> FrameStack:
    found = file.get(inside) if inside else _default(file) or _only_stack(file)
    if not isinstance(found, h5py.Dataset):
        known = ", ".join(_stacks(file)) or "none"
        raise ParameterError(f"{WHAT}: {file.filename} has no dataset {inside}; stacks of images in it: {known}")
    name = f"{file.filename}::{inside}" if inside else file.filename
    pixels = _checked(found, name)
    detector = _detector_of(file, found)
    if detector is None:
        return FrameStack(name, pixels, np.zeros(len(pixels), np.uint32))
    flags = detector["frame_flags"][:].astype(np.uint32) if "frame_flags" in detector else np.zeros(0, np.uint32)
    if len(flags) != len(pixels):
        flags = np.zeros(len(pixels), np.uint32)
    poni = _text(detector.get(PONI)) or _poni_of_receiver(file, found)
    return FrameStack(name, pixels, flags, _text(detector.get("params/processing_json")), poni)


def _poni_of_receiver(file: h5py.File, found: h5py.Dataset) -> str:
    """The geometry in the first file that a master file shows; only the receivers know it."""
    sources = found.virtual_sources() if found.is_virtual else []
    if not sources:
        return ""
    path = Path(file.filename).parent / sources[0].file_name
    try:
        with h5py.File(path, "r", locking=False) as receiver:
            return _text(receiver.get(f"{sources[0].dset_name.rpartition('/')[0]}/{PONI}"))
    except OSError:
        return ""


def _default(file: h5py.File) -> h5py.Dataset | None:
    """What the file shows by default, when that is a stack of images."""
    node: Any = file
    for _ in range(8):
        if SPARSE_MARK in node.attrs:
            raise ParameterError(
                f"{WHAT}: {file.filename} holds sparse frames; settings are tried on dense ones: give the file of "
                "saving_dense, or FILE::/path of a stack of images"
            )
        step = node.attrs.get("default") or node.attrs.get("signal")
        node = node.get(step) if isinstance(step, str) else None
        if isinstance(node, h5py.Dataset):
            return node if _is_stack(node) else None
        if not isinstance(node, h5py.Group):
            return None
    return None


def _detector_of(file: h5py.File, found: h5py.Dataset) -> h5py.Group | None:
    """The group that describes the frames of ``found``: ours have their parameters below the NXdetector."""
    for group in _groups_of_class(file, "NXdetector"):
        if isinstance(data := group.get("data"), h5py.Dataset) and data == found:
            return group
    return None


def _groups_of_class(file: h5py.File, nx_class: str) -> list[h5py.Group]:
    groups: list[h5py.Group] = []

    def look(_: str, node: object) -> None:
        if isinstance(node, h5py.Group) and node.attrs.get("NX_class") in (nx_class, nx_class.encode()):
            groups.append(node)

    file.visititems(look)
    return groups


def _is_stack(dataset: h5py.Dataset) -> bool:
    shape: tuple[int, ...] = dataset.shape or ()
    return dataset.dtype.kind in "iuf" and (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1))


def _stacks(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(
        lambda name, node: names.append(f"/{name}") if isinstance(node, h5py.Dataset) and _is_stack(node) else None
    )
    return names


def _only_stack(file: h5py.File) -> h5py.Dataset:
    names = _stacks(file)
    if len(names) == 1:
        return file[names[0]]
    if not names:
        raise ParameterError(f"{WHAT}: {file.filename} has no stack of images (n, y, x)")
    raise ParameterError(
        f"{WHAT}: {file.filename} has {len(names)} stacks of images; choose one, e.g. {file.filename}::{names[0]} "
        f"(others: {', '.join(names[1:9])})"
    )


def _checked(pixels: Any, name: str) -> Any:
    shape = tuple(pixels.shape)
    if not (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1)) or 0 in shape[1:]:
        raise ParameterError(
            f"{WHAT}: {name} has the shape {shape}; a stack of frames of one channel is (n, y, x) or (n, 1, y, x)"
        )
    try:
        pixel_type_of(np.dtype(pixels.dtype).newbyteorder("="))
    except ParameterError as error:
        raise ParameterError(f"{WHAT}: {name}: {error.what}") from None
    return pixels


def _text(dataset: object) -> str:
    if not isinstance(dataset, h5py.Dataset):
        return ""
    value = dataset[()]
    return value.decode() if isinstance(value, bytes) else ""
