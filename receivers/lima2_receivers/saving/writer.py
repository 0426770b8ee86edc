"""The writer of one frame source of one receiver: compresses frames and fills file after file."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import FileLayout, FrameInfo, FrameMeta, SavingError, StateError
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.compression import make_codec
from lima2_receivers.saving.existing import SAFETY_BYTES, existing_files, preflight, refuse_existing
from lima2_receivers.saving.failure import saving_error
from lima2_receivers.saving.frame_file import FileTemplate, FrameFile

_log = logging.getLogger(__name__)

#: Space [bytes] held back on the disk, freed when it is full, so that the file in hand can still be closed.
RESERVE_BYTES = 1 << 20
RESERVE_BYTES_PER_FRAME = 64


def make_writer(
    saving: Saving,
    info: FrameInfo,
    rank: int,
    metadata: Mapping[str, Any],
    *,
    nb_compression_threads: int = 1,
    safety_bytes: int = SAFETY_BYTES,
) -> HDF5FrameWriter:
    """A writer, after all checks that can be done before the first frame; `SavingError` says what is wrong.

    ``metadata`` goes below the detector group of every file; its ``acquisition`` and ``processing`` go into ``params``.
    """
    preflight(saving, info.nbytes, safety_bytes=safety_bytes)
    if saving.file_exists_policy != "overwrite":
        refuse_existing(saving, {rank})
    try:
        return HDF5FrameWriter(saving, info, rank, metadata, nb_compression_threads)
    except (OSError, RuntimeError) as error:
        raise saving_error("create", saving.layout().receiver_file(rank, 0), error) from error


class HDF5FrameWriter:
    """Writes frames to ``PREFIX_RANK_NUMBER.h5``; see `lima2_receivers.engine.plugin.FrameWriter`."""

    def __init__(
        self, saving: Saving, info: FrameInfo, rank: int, metadata: Mapping[str, Any], nb_compression_threads: int = 1
    ) -> None:
        self.compress_s = 0.0  # time spent so far
        self.write_s = 0.0
        self.bytes_written = 0  # compressed pixels
        self._saving, self._info, self._rank = saving, info, rank
        self._layout = saving.layout()
        self._codec = make_codec(saving.compression, nb_compression_threads)
        self._template = FileTemplate.make(saving, info, rank, metadata, self._codec)
        self._reserve: int | None = _reserve(self._layout)
        self._saved = 0
        self._complete = (0, 0)  # one tuple, so that another thread reads both counts of one moment
        self._error: SavingError | None = None
        self._closed = False
        self._started = False
        self._file: FrameFile | None = self._next_file()

    @property
    def saved(self) -> int:
        """Frames written, holes included."""
        return self._saved

    @property
    def complete(self) -> tuple[int, int]:
        """(complete files, local frames in them): these are readable by anyone."""
        return self._complete

    def write(self, pixels: np.ndarray | None, meta: FrameMeta) -> None:
        """Write the next frame (channels, height, width), or a hole (None). `SavingError` when it cannot be."""
        if self._error is not None:
            raise self._error
        self._check(pixels, meta)
        begin = time.perf_counter()
        chunk = None if pixels is None else self._codec.encode(np.ascontiguousarray(pixels))
        middle = time.perf_counter()
        try:
            if not self._started:
                self._remove_old_files()
                self._started = True
            if self._file is None:
                self._file = self._next_file()
            self._file.append(chunk, meta)
            self._saved += 1
            if self._file.full:
                self._complete_file()
        except (OSError, RuntimeError) as error:
            self._error = saving_error("write", self._path, error)
            self._salvage()
            raise self._error from error
        self.compress_s += middle - begin
        self.write_s += time.perf_counter() - middle
        self.bytes_written += 0 if chunk is None else memoryview(chunk).nbytes

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

    def _check(self, pixels: np.ndarray | None, meta: FrameMeta) -> None:
        if self._closed:
            raise StateError(f"frame {meta.index} comes after the writer of {self._layout.prefix!r} was closed")
        if pixels is not None and (pixels.shape, pixels.dtype) != (self._info.shape, self._info.dtype):
            given, expected = f"{pixels.shape} {pixels.dtype}", f"{self._info.shape} {self._info.dtype}"
            raise SavingError(f"frame {meta.index} is {given}, but the files were prepared for {expected}")
        if meta.local != self._saved:
            raise SavingError(f"frame {meta.index} has local index {meta.local}, but {self._saved} is the next to save")

    @property
    def _path(self) -> Path:
        """File in hand."""
        return self._layout.receiver_file(self._rank, self._complete[0])

    def _next_file(self) -> FrameFile:
        return FrameFile(self._path, self._complete[0], self._template)

    def _complete_file(self) -> None:
        """End the file in hand; one without frames is removed."""
        assert self._file is not None
        if not len(self._file):
            self._file.discard()
        else:
            self._file.complete()
            self._count(self._file)
        self._file = None

    def _count(self, file: FrameFile) -> None:
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


def _reserve(layout: FileLayout) -> int:
    """Descriptor of a nameless file that holds `RESERVE_BYTES` on the disk of the files; gone when closed."""
    descriptor, name = tempfile.mkstemp(prefix=".reserve", dir=layout.base_path)
    try:
        Path(name).unlink()
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES + RESERVE_BYTES_PER_FRAME * layout.nb_frames_per_file)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
