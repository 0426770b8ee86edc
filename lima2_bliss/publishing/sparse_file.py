"""Sparse frames, spots and hits out of a file that a pipeline saved, or of the master over several."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin  # noqa: F401 - datasets may be compressed with its filters
import numpy as np

from lima2_bliss.contract import FrameFlags, NotAvailableError, SparseFrame, SparseInfo
from lima2_bliss.contract.records import SPOT

#: Dataset of the peak lists for each column of the spots.
_PEAKS = {
    "y": "peakYPosRaw",
    "x": "peakXPosRaw",
    "intensity": "peakTotalIntensity",
    "sigma": "peakSigma",
    "size": "peakSize",
}


class SparseFile:
    """The sparse frames of an HDF5 file; frames count from 0 in the file. Use it as context manager, or `close` it.

    It reads what lima2-bliss saves, and the sparse files of pyFAI (then without flags, and spots if they are there).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise NotAvailableError(
                f"{path} cannot be read ({error}); a file appears under its name when it is complete", path=path
            ) from error
        try:
            self._entry = self._file[self._file.attrs["default"]]
            self._sparse = self._entry[self._entry.attrs["pyFAI_sparse_frames"]]
            self._pointers = self._sparse["frame_ptr"][:].astype(np.int64)
        except KeyError:
            self._file.close()
            raise NotAvailableError(
                f"{path} has no sparse frames; give a file that they were saved in", path=path
            ) from None
        self._detector = self._find_detector()
        self._flags = self._per_frame(self._detector, "frame_flags", np.dtype("u4"))
        #: bool for each frame: a hit or not.
        self.is_hit = self._per_frame(self._detector, "is_hit", np.dtype("u1")) != 0
        #: int32 spots of each frame.
        self.nb_peaks = self._per_frame(self._entry.get("peaks"), "nPeaks", np.dtype("i4"))
        self._info: SparseInfo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; harmless twice."""
        self._file.close()

    def __len__(self) -> int:
        """Frames in the file."""
        return len(self._pointers) - 1

    @property
    def info(self) -> SparseInfo:
        """What all its frames have in common."""
        if self._info is None:
            self._info = self._read_info()
        return self._info

    def frame(self, index: int) -> SparseFrame:
        """Frame ``index`` of the file; `NotAvailableError` when it is not in it or was not to be saved (vetoed)."""
        start, end = self._span(index)
        return SparseFrame(
            index=self._sparse["index"][start:end].astype(np.int32),
            intensity=self._sparse["intensity"][start:end],
            background_avg=self._background("background_avg", index),
            background_std=self._background("background_std", index),
            spots=self.spots(index),
            is_hit=bool(self.is_hit[index]),
        )

    def spots(self, index: int) -> np.ndarray:
        """`SPOT` rows of frame ``index``; ``frame_idx`` is that index. Errors as for `frame`."""
        self._span(index)
        count = int(self.nb_peaks[index])
        spots = np.zeros(count, SPOT)
        spots["frame_idx"] = index
        tables = self._entry.get("peaks", {})
        for column, name in _PEAKS.items():
            if count and name in tables:
                spots[column] = tables[name][index, :count]
        return spots

    def _span(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise NotAvailableError(
                f"frame {index} is not in {self.path}, which has {len(self)} frames", path=self.path
            )
        if FrameFlags.VETOED in FrameFlags(int(self._flags[index])):
            raise NotAvailableError(
                f"frame {index} of {self.path} was not saved: it was vetoed (veto_sparse)", path=self.path
            )
        return int(self._pointers[index]), int(self._pointers[index + 1])

    def _background(self, name: str, index: int) -> np.ndarray:
        return np.asarray(self._sparse[name][index], np.float32) if name in self._sparse else np.empty(0, np.float32)

    def _read_info(self) -> SparseInfo:
        given = self._sparse
        mask = given["mask"][:]
        dtype = given["intensity"].dtype
        radius = given["radius"][:] if "radius" in given else np.empty(0, np.float32)
        missing = 0 if dtype.kind in "iu" else np.nan
        return SparseInfo(
            shape=mask.shape,
            dtype=dtype,
            radius=radius,
            mask=mask,
            unit=str(given["mask"].attrs.get("unit", "r_m")),
            normalization=given["normalization"][:] if "normalization" in given else None,
            dummy=float(given["dummy"][()] if "dummy" in given else missing),
        )

    def _per_frame(self, group: Any, name: str, dtype: np.dtype) -> np.ndarray:
        values = np.zeros(len(self), dtype)
        if group is not None and name in group:
            there = group[name][: len(self)]
            values[: len(there)] = there
        return values

    def _find_detector(self) -> h5py.Group | None:
        for instrument in self._groups(self._entry, "NXinstrument"):
            for detector in self._groups(instrument, "NXdetector"):
                return detector
        return None

    @staticmethod
    def _groups(parent: h5py.Group, nx_class: str) -> list[h5py.Group]:
        groups = [each for name in parent if isinstance(each := parent.get(name), h5py.Group)]
        return [group for group in groups if _text(group.attrs.get("NX_class")) == nx_class]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
