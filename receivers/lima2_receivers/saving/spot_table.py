"""Spots of each frame as CXI peak lists: one zero-padded table of (frames, widest frame) for each quantity."""

from __future__ import annotations

from array import array

import h5py
import numpy as np
from h5py._objects import phil  # HDF5's lock: write_direct_chunk of h5py 3.11 does not take it

from lima2_bliss.contract.records import SPOT
from lima2_receivers.saving.compression import Codec
from lima2_receivers.saving.frame_records import put

#: Datasets of the tables and their types; peakSNR is intensity / sigma. x is the fast axis, pixel centres at integers.
TABLES = {
    "peakXPosRaw": np.dtype("f4"),
    "peakYPosRaw": np.dtype("f4"),
    "peakTotalIntensity": np.dtype("f4"),
    "peakSNR": np.dtype("f4"),
    "peakSigma": np.dtype("f4"),
    "peakSize": np.dtype("i4"),
}
#: Dataset and type of the number of spots of each frame.
COUNTS = "nPeaks"
COUNT_DTYPE = np.dtype("i4")

_CHUNK_ROWS, _CHUNK_COLUMNS = 64, 64


def quantities(spots: np.ndarray) -> dict[str, np.ndarray]:
    """The column of each table, from `SPOT` rows."""
    ratio = np.zeros(len(spots), "f4")
    np.divide(spots["intensity"], spots["sigma"], out=ratio, where=spots["sigma"] > 0)
    x, y, intensity, sigma, size = (spots[field] for field in ("x", "y", "intensity", "sigma", "size"))
    return dict(zip(TABLES, (x, y, intensity, ratio, sigma, size), strict=True))


def spots_of(tables: dict[str, np.ndarray], frame_index: int) -> np.ndarray:
    """`SPOT` rows of a frame from its rows of the tables, cut to its spots."""
    spots = np.zeros(len(tables["peakXPosRaw"]), SPOT)
    fields = {"x": "peakXPosRaw", "y": "peakYPosRaw", "intensity": "peakTotalIntensity", "sigma": "peakSigma"}
    for field, name in {**fields, "size": "peakSize"}.items():
        spots[field] = tables[name]
    spots["frame_idx"] = frame_index
    return spots


class SpotTable:
    """Fills the group ``path`` frame by frame; holds the spots of at most 64 frames in memory.

    Padding takes no space: chunks behind the widest frame of 64 are not written.
    """

    def __init__(self, path: str, nb_frames: int) -> None:
        self._path = path
        self._rows = min(_CHUNK_ROWS, nb_frames)
        self._counts = array("i")
        self._widest = 0
        self._block: list[np.ndarray] = []

    def create(self, file: h5py.File, codec: Codec) -> None:
        """The empty tables in a template."""
        group, chunks = file[self._path], (self._rows, _CHUNK_COLUMNS)
        for name, dtype in TABLES.items():
            group.create_dataset(name, (0, 0), dtype, maxshape=(None, None), chunks=chunks, **codec.options)

    def bind(self, file: h5py.File, codec: Codec) -> None:
        self._group = file[self._path]
        self._tables = {name: self._group[name].id for name in TABLES}
        self._codec = codec

    @property
    def width(self) -> int:
        """Spots of the frame that has most, at least 1."""
        return max(self._widest, 1)

    @property
    def nbytes_held(self) -> int:
        return sum(spots.nbytes for spots in self._block)

    def append(self, spots: np.ndarray) -> int:
        """Spots of the next frame; returns the bytes that went to disk."""
        self._counts.append(len(spots))
        self._widest = max(self._widest, len(spots))
        self._block.append(spots)
        if len(self._block) < self._rows:
            return 0
        nbytes = self._write_block()
        self._block = []
        return nbytes

    def truncate(self, nb_frames: int) -> None:
        """Forget the frames behind the first ``nb_frames``: at most the last one."""
        surplus = len(self._counts) - nb_frames
        if surplus > 0:
            del self._counts[nb_frames:]
            del self._block[max(len(self._block) - surplus, 0) :]
            self._widest = max(self._counts, default=0)

    def finish(self) -> int:
        """Write what is in memory, cut the tables to frames and width; may be repeated. Returns the bytes written."""
        nbytes = self._write_block() if self._block else 0
        with phil:
            for table in self._tables.values():
                table.set_extent((len(self._counts), self.width))
        put(self._group, COUNTS, np.array(self._counts, COUNT_DTYPE))
        return nbytes

    def _write_block(self) -> int:
        """One chunk for every 64 columns of each table, as far as the block has spots."""
        counts = np.array([len(spots) for spots in self._block])
        nb_columns = -(-counts.max() // _CHUNK_COLUMNS) * _CHUNK_COLUMNS
        first = len(self._counts) - len(self._block)
        spots = np.concatenate(self._block)
        rows = np.repeat(np.arange(len(counts)), counts)
        columns = np.arange(len(spots)) - np.repeat(np.cumsum(counts) - counts, counts)
        nbytes = 0
        for name, values in quantities(spots).items():
            padded = np.zeros((nb_columns // _CHUNK_COLUMNS, self._rows, _CHUNK_COLUMNS), TABLES[name])
            padded[columns // _CHUNK_COLUMNS, rows, columns % _CHUNK_COLUMNS] = values
            nbytes += self._write_chunks(self._tables[name], first, padded)
        return nbytes

    def _write_chunks(self, table: h5py.h5d.DatasetID, first: int, padded: np.ndarray) -> int:
        nbytes = 0
        chunks = [self._codec.encode(part) for part in padded]
        with phil:
            extents = (first + len(self._block), self.width)
            if table.shape[0] < extents[0] or table.shape[1] < extents[1]:
                table.set_extent(tuple(max(pair) for pair in zip(extents, table.shape, strict=True)))
            for place, chunk in enumerate(chunks):
                table.write_direct_chunk((first, place * _CHUNK_COLUMNS), chunk)
                nbytes += memoryview(chunk).nbytes
        return nbytes
