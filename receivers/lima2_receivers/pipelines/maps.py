"""Correction maps (mask, dark, flat field) from HDF5, NumPy, EDF, CBF and TIFF files."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.overview import MapDescription

HDF5_SUFFIXES = (".h5", ".hdf5", ".nxs", ".nx", ".cxi")
FABIO_SUFFIXES = (".edf", ".tif", ".tiff", ".cbf", ".msk")


@dataclass(frozen=True)
class Kind:
    """What an array has to be: its numbers of dimensions, and words for the errors."""

    ndims: tuple[int, ...]
    name: str
    is_a: str


IMAGE = Kind((2, 3), "image dataset", "a map is an image (height, width)")
VECTOR = Kind((1,), "one-dimensional dataset", "it has one dimension")

#: Maps kept for the next prepare; a file that has changed is read again.
CACHED_BYTES = 256 << 20

_cache: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
_cache_lock = threading.Lock()


def load_map(source: str, frame: FrameInfo, what: str) -> np.ndarray:
    """The map in ``source`` as a read-only array (1 or channels, height, width) for raw frames like ``frame``.

    ``source`` is a file path; for HDF5 ``file.h5::/path/to/dataset``, or just the file when it has one image dataset.
    ``what`` names the map in the errors.
    """
    return _fitted(_cached(source, what), frame, f"{what}: {source}")


def _cached(source: str, what: str) -> np.ndarray:
    key = map_version(source, what)
    with _cache_lock:
        pixels = _cache.get(key)
    if pixels is None:
        with unreadable_refused(source, what):
            pixels = _read(source, what, IMAGE)
        _remember(key, pixels)
    return pixels


def describe_map(source: str, what: str) -> MapDescription:
    """Shape and type of the map in ``source``, which is given as for `load_map`, and how many values are not 0."""
    pixels = _cached(source, what)
    return MapDescription(
        shape=pixels.shape, dtype=str(pixels.dtype), nonzero=int(np.count_nonzero(pixels)), size=pixels.size
    )


def mask_key(masked: np.ndarray | None) -> bytes:
    """Changes when a mask (bool) does; for keys of what was made with it."""
    return b"" if masked is None else hashlib.blake2b(np.packbits(masked).tobytes(), digest_size=20).digest()


def load_vector(source: str, what: str) -> np.ndarray:
    """The one-dimensional array in ``source``, which is given as for `load_map`."""
    map_version(source, what)
    with unreadable_refused(source, what):
        return _read(source, what, VECTOR)


@contextmanager
def unreadable_refused(source: str, what: str) -> Iterator[None]:
    """Errors of the operating system while ``source`` is read become a `ParameterError`."""
    try:
        yield
    except PermissionError:
        raise ParameterError(f"{what}: no permission to read {source} (as the receiver's user)") from None
    except OSError as error:
        raise ParameterError(f"{what}: {source} cannot be read: {error}") from None


def map_version(source: str, what: str) -> tuple[str, int, int]:
    """Changes when the file of a map changes: (source, time of change, size)."""
    path = Path(source.partition("::")[0])
    try:
        state = path.stat()
    except FileNotFoundError:
        raise ParameterError(f"{what}: there is no file {path} (on the receiver's host)") from None
    except OSError as error:
        raise ParameterError(f"{what}: {path} cannot be read: {error}") from None
    return source, state.st_mtime_ns, state.st_size


def _remember(key: tuple[str, int, int], pixels: np.ndarray) -> None:
    with _cache_lock:
        for old in [entry for entry in _cache if entry[0] == key[0]]:
            del _cache[old]
        _cache[key] = pixels
        while sum(entry.nbytes for entry in _cache.values()) > CACHED_BYTES:
            _cache.popitem(last=False)


def _fitted(pixels: np.ndarray, frame: FrameInfo, where: str) -> np.ndarray:
    whole = pixels[None] if pixels.ndim == 2 else pixels
    allowed = {(1, frame.height, frame.width), frame.shape}
    if whole.shape not in allowed:
        size = f"({frame.height}, {frame.width})"
        if frame.nb_channels > 1:
            size += f" or {frame.shape}"
        raise ParameterError(
            f"{where} has the shape {pixels.shape}, but raw frames have {size} (height, width); "
            "maps are applied before binning and ROI"
        )
    return whole


def _read(source: str, what: str, kind: Kind) -> np.ndarray:
    name, separator, inside = source.partition("::")
    suffix = Path(name).suffix.lower()
    readers: dict[str, Callable[[], np.ndarray]] = {
        **dict.fromkeys(HDF5_SUFFIXES, lambda: _read_hdf5(name, inside, what, kind)),
        ".npy": lambda: np.load(name, allow_pickle=False),
        **dict.fromkeys(FABIO_SUFFIXES, lambda: _read_fabio(name)),
    }
    if suffix not in readers:
        raise ParameterError(f"{what}: {name}: unknown file type {suffix!r}; allowed: {', '.join(readers)}")
    if separator and suffix not in HDF5_SUFFIXES:
        raise ParameterError(f"{what}: {source}: only HDF5 files take '::/path'; leave it out")
    try:
        pixels = readers[suffix]()
    except (OSError, ParameterError):
        raise
    except Exception as error:
        raise ParameterError(f"{what}: {name} is damaged or no {suffix} file: {error}") from error
    if pixels.dtype.kind not in "biuf":
        raise ParameterError(f"{what}: {source} has the type {pixels.dtype}; a map holds integers, floats or booleans")
    if pixels.ndim not in kind.ndims:
        raise ParameterError(f"{what}: {source} has the shape {pixels.shape}; {kind.is_a}")
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels


def open_hdf5(name: str, what: str) -> h5py.File:
    """The HDF5 file ``name``, open for reading; `ParameterError` when it is none, `OSError` when it is not there."""
    import hdf5plugin  # noqa: F401  its import makes compressed datasets readable

    try:
        return h5py.File(name, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ParameterError(f"{what}: {name} is damaged or no HDF5 file: {error}") from None


def _read_hdf5(name: str, inside: str, what: str, kind: Kind) -> np.ndarray:
    with open_hdf5(name, what) as file:
        if not inside:
            inside = _only_one(file, what, kind)
        found = file.get(inside)
        if not isinstance(found, h5py.Dataset):
            known = ", ".join(_datasets(file, kind)) or "none"
            raise ParameterError(f"{what}: {name} has no dataset {inside}; {kind.name}s in it: {known}")
        return found[()]


def _datasets(file: h5py.File, kind: Kind) -> list[str]:
    found: list[str] = []

    def look(path: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim in kind.ndims and node.dtype.kind in "biuf":
            found.append(f"/{path}")

    file.visititems(look)
    return found


def _only_one(file: h5py.File, what: str, kind: Kind) -> str:
    found = _datasets(file, kind)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ParameterError(f"{what}: {file.filename} has no {kind.name} ({kind.ndims[0]}D numbers)")
    raise ParameterError(
        f"{what}: {file.filename} has {len(found)} {kind.name}s; choose one, e.g. {file.filename}::{found[0]} "
        f"(others: {', '.join(found[1:9])})"
    )


def _read_fabio(name: str) -> np.ndarray:
    import fabio  # 0.3 s to import, needed by few

    with fabio.open(name) as image:
        return np.array(image.data)
