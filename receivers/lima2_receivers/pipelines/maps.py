"""Correction maps (mask, dark, flat field) from HDF5, NumPy, EDF, CBF and TIFF files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError

HDF5_SUFFIXES = (".h5", ".hdf5", ".nxs", ".nx", ".cxi")
FABIO_SUFFIXES = (".edf", ".tif", ".tiff", ".cbf", ".msk")

#: Maps kept for the next prepare; a file that has changed is read again.
CACHED_BYTES = 256 << 20

_cache: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
_cache_lock = threading.Lock()


def load_map(source: str, frame: FrameInfo, what: str) -> np.ndarray:
    """The map in ``source`` as a read-only array (1 or channels, height, width) for raw frames like ``frame``.

    ``source`` is a file path; for HDF5 ``file.h5::/path/to/dataset``, or just the file when it has one image dataset.
    ``what`` names the map in the errors.
    """
    key = map_version(source, what)
    with _cache_lock:
        pixels = _cache.get(key)
    if pixels is None:
        try:
            pixels = _read(source, what)
        except PermissionError:
            raise ParameterError(f"{what}: no permission to read {source} (as the receiver's user)") from None
        except OSError as error:
            raise ParameterError(f"{what}: {source} cannot be read: {error}") from None
        _remember(key, pixels)
    return _fitted(pixels, frame, f"{what}: {source}")


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


def _read(source: str, what: str) -> np.ndarray:
    name, separator, inside = source.partition("::")
    suffix = Path(name).suffix.lower()
    readers: dict[str, Callable[[], np.ndarray]] = {
        **dict.fromkeys(HDF5_SUFFIXES, lambda: _read_hdf5(name, inside, what)),
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
    if pixels.ndim not in (2, 3):
        raise ParameterError(f"{what}: {source} has the shape {pixels.shape}; a map is an image (height, width)")
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels


def _read_hdf5(name: str, inside: str, what: str) -> np.ndarray:
    import hdf5plugin  # noqa: F401  its import makes compressed datasets readable

    try:
        file = h5py.File(name, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ParameterError(f"{what}: {name} is damaged or no HDF5 file: {error}") from None
    with file:
        if not inside:
            inside = _only_image(file, what)
        found = file.get(inside)
        if not isinstance(found, h5py.Dataset):
            known = ", ".join(_images(file)) or "none"
            raise ParameterError(f"{what}: {name} has no dataset {inside}; image datasets in it: {known}")
        return found[()]


def _images(file: h5py.File) -> list[str]:
    found: list[str] = []

    def look(path: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim in (2, 3) and node.dtype.kind in "biuf":
            found.append(f"/{path}")

    file.visititems(look)
    return found


def _only_image(file: h5py.File, what: str) -> str:
    images = _images(file)
    if len(images) == 1:
        return images[0]
    if not images:
        raise ParameterError(f"{what}: {file.filename} has no image dataset (2D numbers)")
    raise ParameterError(
        f"{what}: {file.filename} has {len(images)} image datasets; choose one, e.g. {file.filename}::{images[0]} "
        f"(others: {', '.join(images[1:9])})"
    )


def _read_fabio(name: str) -> np.ndarray:
    import fabio  # 0.3 s to import, needed by few

    with fabio.open(name) as image:
        return np.array(image.data)
