"""Reading sparse files and their masters, for analysis: frames with background and spots, as they were computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np

from lima2_bliss.contract import FrameFlags, NotAvailableError, SparseFrame, SparseInfo
from lima2_receivers.saving.spot_table import COUNTS, TABLES, spots_of

#: Flags of a frame that has no pixels in the file.
HOLE = FrameFlags.LOST | FrameFlags.FAILED | FrameFlags.OVERRUN | FrameFlags.VETOED


def open_sparse(path: str | Path) -> SparseFrames:
    """The sparse frames of a receiver file or of a master; `NotAvailableError` when it has none.

    >>> with open_sparse("scan_sparse_master.h5") as frames:
    ...     for frame in frames:
    ...         if frame is not None and frame.is_hit: ...
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise NotAvailableError(f"{path} cannot be read as HDF5: {error}") from error
    try:
        return SparseFrames(file)
    except KeyError:
        file.close()
        raise NotAvailableError(f"{path} has no sparse frames: give a file that a pipeline saved them in") from None


class SparseFrames(Sequence["SparseFrame | None"]):
    """Frame ``i`` is a `SparseFrame`, or None when it was not saved (vetoed) or is lost: `flags` tells which.

    ``flags``: uint32, `FrameFlags` of each frame. ``frame_index``: int64, global index of each, None if it was not
    saved. ``is_hit``: uint8. ``nb_peaks``: int32. It is a context manager.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        entry = file[file.attrs["default"]]
        self._sparse = entry[entry.attrs["pyFAI_sparse_frames"]]
        # kept open: to open a virtual dataset takes longer than to read a frame from it
        rows = ("index", "intensity", "background_avg", "background_std")
        self._rows = [self._sparse[name] for name in rows]
        self._tables = {name: entry["peaks"][name] for name in TABLES}
        detector = of_class(of_class(entry, "NXinstrument"), "NXdetector")
        self._pointers = self._sparse["frame_ptr"][:]
        self.flags: np.ndarray = detector["frame_flags"][:]
        self.is_hit: np.ndarray = detector["is_hit"][:]
        self.frame_index: np.ndarray | None = detector["frame_index"][:] if "frame_index" in detector else None
        self.nb_peaks: np.ndarray = entry["peaks"][COUNTS][:]

    def __len__(self) -> int:
        return len(self._pointers) - 1

    @overload
    def __getitem__(self, place: int) -> SparseFrame | None: ...

    @overload
    def __getitem__(self, place: slice) -> list[SparseFrame | None]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self._read(each) for each in range(len(self))[place]]
        return self._read(range(len(self))[place])

    def info(self) -> SparseInfo:
        """What all frames have in common: mask, radii, normalization."""
        given = self._sparse
        mask = given["mask"][:]
        normalization = given["normalization"][:] if "normalization" in given else None
        radius, unit = given["radius"], given["radius"].attrs["unit"]
        dummy = float(given["dummy"][()])
        return SparseInfo(mask.shape, given["intensity"].dtype, radius[:], mask, unit, normalization, dummy)

    def close(self) -> None:
        """Close the file; harmless twice."""
        self._file.close()

    def __enter__(self) -> SparseFrames:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, place: int) -> SparseFrame | None:
        if FrameFlags(int(self.flags[place])) & HOLE:
            return None
        begin, end = self._pointers[place : place + 2]
        count = self.nb_peaks[place]
        tables = {name: table[place, :count] for name, table in self._tables.items()}
        index, intensity, average, deviation = self._rows
        return SparseFrame(
            index[begin:end].astype("i4"),
            intensity[begin:end],
            average[place],
            deviation[place],
            spots_of(tables, place if self.frame_index is None else int(self.frame_index[place])),
            bool(self.is_hit[place]),
        )


def of_class(parent: h5py.Group, nx_class: str) -> h5py.Group:
    """The first group of a NeXus class; KeyError when there is none."""
    for name in parent:
        if isinstance(parent[name], h5py.Group) and parent[name].attrs.get("NX_class") == nx_class:
            return parent[name]
    raise KeyError(nx_class)
