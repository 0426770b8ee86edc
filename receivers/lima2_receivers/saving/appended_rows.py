"""Rows appended to a dataset of a file: whole chunks, compressed outside HDF5 and written directly."""

from __future__ import annotations

import h5py
import numpy as np
from h5py._objects import phil  # HDF5's lock: write_direct_chunk of h5py 3.11 does not take it

from lima2_receivers.saving.compression import Codec

#: Raw bytes of one chunk: about one sparse frame, so that one frame is read without the rest of the file.
CHUNK_BYTES = 256 << 10


def rows_of_chunk(row_bytes: int, limit: int) -> int:
    """Rows in one chunk: at most ``limit``."""
    return max(1, min(CHUNK_BYTES // max(row_bytes, 1), limit))


class AppendedRows:
    """Fills the dataset at ``path`` with rows of one shape; holds less than one chunk in memory.

    `bind` it to the open file first, and again when the file was opened anew.
    """

    def __init__(self, path: str, dtype: np.dtype, row_shape: tuple[int, ...], rows_per_chunk: int) -> None:
        self.path = path
        self._buffer = np.zeros((rows_per_chunk, *row_shape), dtype)
        self._rest = (0,) * len(row_shape)
        self._written = 0  # rows in chunks on disk
        self._held = 0  # rows in the buffer, behind them

    def create(self, file: h5py.File, codec: Codec, fill: float = 0) -> None:
        """The empty dataset in a template."""
        row = self._buffer.shape[1:]
        file.create_dataset(
            self.path,
            (0, *row),
            self._buffer.dtype,
            maxshape=(None, *row),
            chunks=self._buffer.shape,
            fillvalue=fill,
            **codec.options,
        )

    def bind(self, file: h5py.File, codec: Codec) -> None:
        self._dataset = file[self.path].id
        self._codec = codec

    def __len__(self) -> int:
        return self._written + self._held

    @property
    def nbytes_held(self) -> int:
        """Raw bytes of a chunk, which closing the file may write."""
        return self._buffer.nbytes

    def append(self, rows: np.ndarray) -> int:
        """Add rows; returns the bytes that went to disk."""
        nbytes = done = 0
        while done < len(rows):
            step = min(len(rows) - done, len(self._buffer) - self._held)
            self._buffer[self._held : self._held + step] = rows[done : done + step]
            self._held += step
            done += step
            if self._held == len(self._buffer):
                nbytes += self._write_chunk()
                self._written, self._held = self._written + self._held, 0
        return nbytes

    def truncate(self, nb_rows: int) -> None:
        """Forget the rows behind the first ``nb_rows``, also those on disk; the file is cut by `finish`."""
        self._held = max(min(nb_rows - self._written, self._held), 0)
        self._written = min(nb_rows, self._written)

    def finish(self) -> int:
        """Write what is in memory, cut the dataset to its rows; may be repeated. Returns the bytes written."""
        nbytes = 0
        if self._held:
            self._buffer[self._held :] = 0
            nbytes = self._write_chunk()
        with phil:
            self._dataset.set_extent((len(self), *self._dataset.shape[1:]))
        return nbytes

    def _write_chunk(self) -> int:
        chunk = self._codec.encode(self._buffer)
        with phil:
            end = self._written + self._held
            if self._dataset.shape[0] < end:
                self._dataset.set_extent((end, *self._dataset.shape[1:]))
            self._dataset.write_direct_chunk((self._written, *self._rest), chunk)
        return memoryview(chunk).nbytes
