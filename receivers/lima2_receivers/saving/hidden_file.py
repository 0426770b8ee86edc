"""A file that is hidden while it is written and gets its name when it is complete."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import resource
from pathlib import Path

import h5py

_CLOSING_BYTES = 1 << 20


def hidden_name(path: Path) -> Path:
    """Name of ``path`` until it is complete."""
    return path.with_name(f".{path.name}.part")


class HiddenFile:
    """An HDF5 file made from ready bytes (``image``). Every method may raise OSError or RuntimeError (HDF5).

    ``h5`` is the open file; it is another object after `reopen`. ``replace``: a complete file of this name may be
    replaced.
    """

    def __init__(self, path: Path, image: bytes, *, replace: bool) -> None:
        self.path = path
        self._part = hidden_name(path)
        self._replace = replace
        self._size_limit = _size_limit()
        self._create(image)
        self.h5 = self._open()

    def check(self, nbytes: int) -> None:
        """Raise unless the file is still there and may take ``nbytes`` more."""
        state = os.fstat(self._descriptor)
        if not state.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "file or directory was removed while it was written")
        if state.st_size + nbytes > self._size_limit:
            raise OSError(errno.EFBIG, "file size limit of the process")

    def reopen(self) -> None:
        """Forget what HDF5 remembers of a failed write: only a fresh look at the file is right."""
        self.h5.close()
        self.h5 = self._open()

    def publish(self) -> None:
        """Close it and give it its name."""
        self.h5.close()
        if not self._replace and self.path.exists():
            raise FileExistsError(errno.EEXIST, "file exists")
        self._part.rename(self.path)

    def close(self) -> None:
        """Close it under its hidden name; harmless twice."""
        self.h5.close()

    def discard(self) -> None:
        """Close it and remove it."""
        self.h5.close()
        self._part.unlink(missing_ok=True)

    def _create(self, image: bytes) -> None:
        """The image on disk; an unfinished file of a dead process is replaced, one in use is an error."""
        descriptor = os.open(self._part, os.O_CREAT | os.O_WRONLY, 0o664)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                os.ftruncate(descriptor, 0)
                with open(descriptor, "wb", closefd=False) as stream:
                    stream.write(image)
            except OSError:
                self._part.unlink(missing_ok=True)
                raise
        finally:
            os.close(descriptor)

    def _open(self) -> h5py.File:
        file = h5py.File(self._part, "r+", locking="best-effort")
        self._descriptor = file.id.get_vfd_handle()
        return file


def _size_limit() -> float:
    """Largest file [bytes] that this process may write, less what closing one takes."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    return math.inf if soft == resource.RLIM_INFINITY else soft - _CLOSING_BYTES
