"""The writer of one frame source of one receiver: compresses frames and fills file after file."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lima2_bliss.contract import FileLayout, FrameInfo, FrameMeta, SavingError, SparseFrame, SparseInfo, StateError
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.compression import Stopwatch, make_codec, timed
from lima2_receivers.saving.existing import SAFETY_BYTES, existing_files, preflight, refuse_existing
from lima2_receivers.saving.failure import saving_error
from lima2_receivers.saving.frame_file import DenseFiles
from lima2_receivers.saving.sparse_file import SparseFiles

_log = logging.getLogger(__name__)

#: What closing a file takes for each of its frames [bytes].
RESERVE_BYTES_PER_FRAME = 64


class ReceiverFile(Protocol):
    """A file being written. Every method may raise OSError or RuntimeError (HDF5)."""

    def __len__(self) -> int:
        """Frames in it, holes included."""

    @property
    def full(self) -> bool:
        """True when it has all frames that it may have."""

    def append(self, frame: Any | None, meta: FrameMeta) -> int:
        """Write the next frame as `FileKind.encode` gave it, or a hole; returns the bytes that went to disk."""

    def complete(self) -> None:
        """Cut it to its frames, close it, and give it its name."""

    def salvage(self) -> None:
        """Complete it after a failed write, when the cause may be gone; a second failure leaves the hidden file."""

    def discard(self) -> None:
        """Close it and remove it."""


class FileKind(Protocol):
    """What is special about files of dense or of sparse frames. ``reserve_bytes``: needed to close one of them."""

    reserve_bytes: int

    def check(self, frame: Any, meta: FrameMeta) -> None:
        """Raise a `SavingError` for a frame that the files were not prepared for."""

    def encode(self, frame: Any) -> Any:
        """What `ReceiverFile.append` takes; heavy work is done here, outside of HDF5."""

    def create(self, path: Path, number: int) -> ReceiverFile:
        """Begin a file."""


def make_writer(
    saving: Saving,
    info: FrameInfo | SparseInfo,
    rank: int,
    metadata: Mapping[str, Any],
    *,
    nb_compression_threads: int = 1,
    safety_bytes: int = SAFETY_BYTES,
) -> HDF5FrameWriter:
    """A writer, after all checks that can be done before the first frame; `SavingError` says what is wrong.

    ``info`` tells dense frames (arrays) from sparse ones (`SparseFrame`). ``metadata`` goes below the detector group of
    every file; its ``acquisition`` and ``processing`` go into ``params``.
    """
    preflight(saving, info.nbytes if isinstance(info, FrameInfo) else info.mask.nbytes, safety_bytes=safety_bytes)
    if saving.file_exists_policy != "overwrite":
        refuse_existing(saving, {rank})
    try:
        return HDF5FrameWriter(saving, info, rank, metadata, nb_compression_threads)
    except (OSError, RuntimeError) as error:
        raise saving_error("create", saving.layout().receiver_file(rank, 0), error) from error


class HDF5FrameWriter:
    """Writes frames to ``PREFIX_RANK_NUMBER.h5``; see `lima2_receivers.engine.plugin.FrameWriter`."""

    def __init__(
        self,
        saving: Saving,
        info: FrameInfo | SparseInfo,
        rank: int,
        metadata: Mapping[str, Any],
        nb_compression_threads: int = 1,
    ) -> None:
        self.busy_s = 0.0  # time spent so far
        self.bytes_written = 0  # compressed
        self._saving, self._rank = saving, rank
        self._layout = saving.layout()
        self._codec = make_codec(saving.compression, nb_compression_threads)
        self._watch = Stopwatch()
        codec = timed(self._codec, self._watch)
        self._kind: FileKind = (
            DenseFiles(saving, info, rank, metadata, codec)
            if isinstance(info, FrameInfo)
            else SparseFiles(saving, info, rank, metadata, codec)
        )
        self._reserve: int | None = _reserve(self._layout, self._kind.reserve_bytes)
        self._saved = 0
        self._complete = (0, 0)  # one tuple, so that another thread reads both counts of one moment
        self._error: SavingError | None = None
        self._closed = False
        self._started = False
        self._file: ReceiverFile | None = self._next_file()

    @property
    def saved(self) -> int:
        """Frames written, holes included."""
        return self._saved

    @property
    def complete(self) -> tuple[int, int]:
        """(complete files, local frames in them): these are readable by anyone."""
        return self._complete

    @property
    def compress_s(self) -> float:
        """Part of ``busy_s`` that was spent compressing."""
        return self._watch.seconds

    def write(self, pixels: np.ndarray | SparseFrame | None, meta: FrameMeta) -> None:
        """Write the next frame, an array (channels, height, width) or a sparse frame, or a hole (None).

        `SavingError` when it cannot be.
        """
        if self._error is not None:
            raise self._error
        self._check(pixels, meta)
        begin = time.perf_counter()
        encoded = None if pixels is None else self._kind.encode(pixels)
        try:
            if not self._started:
                self._remove_old_files()
                self._started = True
            if self._file is None:
                self._file = self._next_file()
            self.bytes_written += self._file.append(encoded, meta)
            self._saved += 1
            if self._file.full:
                self._complete_file()
        except (OSError, RuntimeError) as error:
            self._error = saving_error("write", self._path, error)
            self._salvage()
            raise self._error from error
        self.busy_s += time.perf_counter() - begin

    def close(self) -> None:
        """Complete and close the last file; harmless twice. After a failure it leaves readable files."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._file is not None:
                self._complete_file()
        except (OSError, RuntimeError) as error:
            self._error = saving_error("complete", self._path, error)
            self._salvage()
            raise self._error from error
        finally:
            self._codec.close()
            self._free_reserve()

    def _check(self, pixels: np.ndarray | SparseFrame | None, meta: FrameMeta) -> None:
        if self._closed:
            raise StateError(f"frame {meta.index} comes after the writer of {self._layout.prefix!r} was closed")
        if pixels is not None:
            self._kind.check(pixels, meta)
        if meta.local != self._saved:
            raise SavingError(f"frame {meta.index} has local index {meta.local}, but {self._saved} is the next to save")

    @property
    def _path(self) -> Path:
        """File in hand."""
        return self._layout.receiver_file(self._rank, self._complete[0])

    def _next_file(self) -> ReceiverFile:
        return self._kind.create(self._path, self._complete[0])

    def _complete_file(self) -> None:
        """End the file in hand; one without frames is removed."""
        assert self._file is not None
        if not len(self._file):
            self._file.discard()
        else:
            self._file.complete()
            self._count(self._file)
        self._file = None

    def _count(self, file: ReceiverFile) -> None:
        files, frames = self._complete
        self._complete = (files + 1, frames + len(file))

    def _salvage(self) -> None:
        """After a failure: make what was written readable, with the space held back for that."""
        self._free_reserve()
        file, self._file = self._file, None
        try:
            if file is not None and len(file):
                file.salvage()
                self._count(file)
            elif file is not None:
                file.discard()
        except (OSError, RuntimeError) as error:
            _log.error("%s could not be completed after a failure: %s", self._path, error)
        self._saved = self._complete[1]

    def _remove_old_files(self) -> None:
        """Policy overwrite: no file of an older acquisition may mix with this one; receiver 0 removes its master."""
        if self._saving.file_exists_policy == "overwrite":
            for path in existing_files(self._saving, {self._rank}):
                if self._rank == 0 or path != self._layout.master_file:
                    path.unlink(missing_ok=True)

    def _free_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _reserve(layout: FileLayout, nbytes: int) -> int:
    """Descriptor of a nameless file that holds ``nbytes`` and more on the disk of the files; gone when closed.

    They are held back and freed when the disk is full, so that the file in hand can still be closed.
    """
    descriptor, name = tempfile.mkstemp(prefix=".reserve", dir=layout.base_path)
    try:
        Path(name).unlink()
        os.posix_fallocate(descriptor, 0, nbytes + RESERVE_BYTES_PER_FRAME * layout.nb_frames_per_file)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
