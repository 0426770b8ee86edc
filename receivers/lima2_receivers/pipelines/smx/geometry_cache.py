"""Prepared geometries on disk, so that only the first prepare with a PONI file pays for pyFAI."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lima2_receivers.kernels.smx_types import RadialBins
from lima2_receivers.pipelines.smx.geometry import Geometry

logger = logging.getLogger(__name__)

#: Part of every key; change it with the content of the files.
FORMAT = "1"

#: Files that were used least recently go when there is more than this.
KEPT_BYTES = 1 << 30

#: A file half written by a process that died goes after this time.
STALE_S = 3600.0

REQUIRED = ("centers", "indptr", "indices", "radius")


def cache_directory() -> Path:
    """``$LIMA2_CACHE_DIR``, else ``$XDG_CACHE_HOME/lima2-bliss``, else ``~/.cache/lima2-bliss``; below it ``smx``."""
    own = os.environ.get("LIMA2_CACHE_DIR")
    if own:
        return Path(own) / "smx"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "lima2-bliss" / "smx"


def cached_geometry(key: str, make: Callable[[], Geometry]) -> Geometry:
    """The geometry kept under ``key`` (hex digits), or a new one, which is then kept.

    Processes that prepare together take turns, so that one of them computes. A damaged file is made anew; a directory
    that cannot be written only costs time.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = cache_directory()
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{key}-{FORMAT}.npz"
            found = _read(path)
            if found is not None:
                return found
            stack.enter_context(_turn(folder))
            found = _read(path)
            if found is not None:
                return found
        except (OSError, RuntimeError) as error:  # RuntimeError: a user without home
            logger.warning("prepared geometries are not kept: %s (set LIMA2_CACHE_DIR to a writable directory)", error)
            return make()
        made = make()
        try:
            _write(path, made)
            _trim(folder)
        except OSError as error:
            logger.warning("the prepared geometry is not kept: %s", error)
        return made


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    with (folder / "turn.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Geometry | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        shape = tuple(int(length) for length in arrays["shape"])
        bins = RadialBins((shape[0], shape[1]), coefs=arrays.get("coefs"), **{name: arrays[name] for name in REQUIRED})
        if len(bins.radius) != shape[0] * shape[1] or len(bins.indptr) != bins.nb_bins + 1:
            raise ValueError("arrays do not belong together")
        description = json.loads(arrays["description"].tobytes())
        os.utime(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001  whatever is wrong with it, it is made anew
        logger.warning("prepared geometry %s is damaged and made anew: %s", path, error)
        return None
    return Geometry(bins, arrays.get("solid_angle"), arrays.get("polarization"), description)


def _write(path: Path, geometry: Geometry) -> None:
    bins = geometry.bins
    arrays: dict[str, np.ndarray | None] = {
        "shape": np.array(bins.shape, np.int64),
        **{name: getattr(bins, name) for name in REQUIRED},
        "coefs": bins.coefs,
        "solid_angle": geometry.solid_angle,
        "polarization": geometry.polarization,
        "description": np.frombuffer(json.dumps(geometry.description).encode(), np.uint8),
    }
    given = {name: array for name, array in arrays.items() if array is not None}
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **given)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _trim(folder: Path) -> None:
    """Keep the files that were used last, up to `KEPT_BYTES`; the newest stays in any case."""
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            if path.suffix == ".npz":
                files.append((state.st_mtime_ns, state.st_size, path))
            elif path.suffix == ".part" and time.time() - state.st_mtime > STALE_S:
                path.unlink(missing_ok=True)
    files.sort(reverse=True)
    total = 0
    for place, (_, size, path) in enumerate(files):
        total += size
        if place and total > KEPT_BYTES:
            path.unlink(missing_ok=True)
