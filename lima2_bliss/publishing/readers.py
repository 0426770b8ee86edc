"""Reads back what a detector published in a scan: tables per ROI, profiles, rows as they come, frames, previews.

Works with blissdata 1.1.4 and 2.x::

    scan = DataStore(url).load_scan(key)
    detector = DetectorData(scan, "simulator")
    for batch in detector.follow(["roi1_sum", "frame_index"]):
        print(batch.first, batch["roi1_sum"])
    for index, frame in detector.frames():
        ...
    for spots in detector.follow_spots():
        print(len(spots.of_hits()), "hits with", len(spots.of_hits().table), "spots")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin  # noqa: F401 - frames may be compressed with its filters
import numpy as np

from lima2_bliss.contract import (
    DeviceTimeoutError,
    FrameFlags,
    NoLongerAvailableError,
    NotAvailableError,
    SparseFrame,
    SparseInfo,
)
from lima2_bliss.publishing.blissdata_access import EndOfStream, PointCursor
from lima2_bliss.publishing.common_streams import (
    FRAME_FLAGS,
    FRAME_INDEX,
    IMAGE,
    PREVIEW,
    PREVIEW_INDEX,
    STATISTICS,
    TIMESTAMP,
)
from lima2_bliss.publishing.lima_info import SPARSE_FILES
from lima2_bliss.publishing.smx_reader import SmxReader
from lima2_bliss.publishing.smx_streams import IS_HIT, NB_PEAKS, NB_SPARSE
from lima2_bliss.publishing.sparse_places import SparsePlaces, saved_place
from lima2_bliss.publishing.spots import Spots

_LOOK_S = 0.02


@dataclass(frozen=True)
class Batch:
    """Points of several streams for the same frames, from row ``first`` of the scan on."""

    first: int
    points: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.points[name]

    def __len__(self) -> int:
        return len(next(iter(self.points.values())))


class DetectorData:
    """The streams ``<detector>:...`` of a blissdata scan.

    ``sparse_file``: the file of the scan's sparse frames (a master, or that of the only receiver), for what Redis has
    no room for; without it, the one that the scan names. Use as context manager, or `close`, when it reads files.
    """

    def __init__(self, scan: Any, detector: str, sparse_file: str | Path | None = None) -> None:
        self.detector = detector
        self._streams: dict[str, Any] = {
            name.rpartition(":")[2]: stream for name, stream in scan.streams.items() if name.startswith(f"{detector}:")
        }
        if not self._streams:
            names = sorted({name.partition(":")[0] for name in scan.streams})
            raise NotAvailableError(
                f"the scan has no streams of detector {detector!r}; it has streams of: {', '.join(names) or 'nothing'}"
            )
        counts = self._streams.get(NB_SPARSE)
        where = sparse_file or (None if counts is None else counts.info.get(SPARSE_FILES))
        self._smx = SmxReader(self.stream, set(self._streams), SparsePlaces(where))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file of sparse frames, if one is open."""
        self._smx.close()

    @property
    def names(self) -> list[str]:
        """Names of the streams, without the detector's."""
        return sorted(self._streams)

    @property
    def roi_names(self) -> list[str]:
        """ROIs that have statistics."""
        return sorted(name[: -len("_sum")] for name in self._streams if name.endswith("_sum"))

    def stream(self, name: str) -> Any:
        """The blissdata stream of that name."""
        try:
            return self._streams[name]
        except KeyError:
            raise NotAvailableError(
                f"detector {self.detector} published no {name!r}; there is: {', '.join(self.names)}"
            ) from None

    def __getitem__(self, name: str) -> np.ndarray:
        """All points published so far."""
        stream = self.stream(name)
        return np.asarray(stream[0 : len(stream)])

    def roi_statistics(self, roi: str) -> np.ndarray:
        """Table of a ROI, one row per frame: ``frame_index``, ``frame_flags``, ``timestamp`` [s], and the statistics.

        Frames without pixels have NaN, and a flag.
        """
        if roi not in self.roi_names:
            raise NotAvailableError(f"no statistics of ROI {roi!r}; there are: {', '.join(self.roi_names) or 'none'}")
        columns = {name: name for name in (FRAME_INDEX, FRAME_FLAGS, TIMESTAMP) if name in self._streams}
        columns |= {name: f"{roi}_{name}" for name in STATISTICS if f"{roi}_{name}" in self._streams}
        points = {column: self[name] for column, name in columns.items()}
        rows = min(len(values) for values in points.values())
        table = np.empty(rows, [(column, values.dtype) for column, values in points.items()])
        for column, values in points.items():
            table[column] = values[:rows]
        return table

    def follow(self, names: Sequence[str], timeout_s: float = 30.0) -> Iterator[Batch]:
        """Points of these streams as they come, row by row together, until the scan (or the shortest stream) ends.

        `DeviceTimeoutError` when nothing comes for ``timeout_s``.
        """
        cursors = {name: PointCursor(self.stream(name)) for name in names}
        waiting: dict[str, list[np.ndarray]] = {name: [] for name in names}
        first, until = 0, time.monotonic() + timeout_s
        while True:
            slowest = min(cursors, key=lambda name: cursors[name].position)
            try:
                points = cursors[slowest].read(max(until - time.monotonic(), 0.001))
            except EndOfStream:
                return
            if points is None:
                if time.monotonic() >= until:
                    raise DeviceTimeoutError(f"no point of {self.detector}:{slowest} within {timeout_s:g} s")
                continue
            until = time.monotonic() + timeout_s
            waiting[slowest].append(points)
            together = min(cursor.position for cursor in cursors.values())
            if together > first:
                yield Batch(first, {name: _take(waiting[name], together - first) for name in names})
                first = together

    def hits(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Table of the frames from ``start`` to before ``stop`` (of those published so far): ``frame`` (index in the
        scan), ``frame_flags``, ``nb_peaks``, ``is_hit``, ``hit_rate``."""
        return self._smx.hits(start, stop)

    def follow_hits(self, timeout_s: float = 30.0) -> Iterator[np.ndarray]:
        """Parts of the table of `hits` as they come, until the scan ends."""
        for batch in self.follow(self._smx.hit_names, timeout_s):
            yield self._smx.hits(batch.first, batch.first + len(batch))

    def spots(self, start: int = 0, stop: int | None = None) -> Spots:
        """Spots of the frames from ``start`` to before ``stop`` (of those published so far).

        Those that Redis has no room for come from the files of sparse frames; an error says when there are none.
        """
        return self._smx.spots(start, stop)

    def follow_spots(self, timeout_s: float = 30.0) -> Iterator[Spots]:
        """Spots as they come, some frames at a time, until the scan ends."""
        for batch in self.follow([NB_PEAKS, IS_HIT], timeout_s):
            yield self._smx.spots(batch.first, batch.first + len(batch))

    def sparse_frame(self, index: int) -> SparseFrame:
        """Sparse frame by its index in the scan, from Redis as far as that had room, else from the files.

        `densify` makes an image of it. Background and spots that are neither published nor saved are empty.
        """
        return self._smx.sparse_frame(index)

    def sparse_info(self) -> SparseInfo:
        """Mask, radii and normalization that `densify` needs, from the file of the sparse frames."""
        return self._smx.info()

    def frames(
        self, start: int = 0, stop: int | None = None, timeout_s: float = 30.0
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of each frame from ``start`` on, as they come, until ``stop`` or the end of the scan.

        Frames come from the receivers' memory or, when they have left it, from the files.
        """
        image, index = self.stream(IMAGE), start
        rows = PointCursor(self.stream(FRAME_INDEX)) if FRAME_INDEX in self._streams else None
        until = time.monotonic() + timeout_s
        while stop is None or index < stop:
            sealed = image.is_sealed()
            available = len(image)
            while index < available and (stop is None or index < stop):
                yield index, self.frame(index)
                index += 1
                until = time.monotonic() + timeout_s
            if stop is not None and index >= stop:
                return
            if sealed and index >= len(image):
                return
            if time.monotonic() >= until:
                raise DeviceTimeoutError(f"frame {index} of {self.detector} did not come within {timeout_s:g} s")
            rows = _wait_for_news(rows)

    def frame(self, index: int) -> np.ndarray:
        """One frame by its index in the scan."""
        image = self.stream(IMAGE)
        if not 0 <= index < len(image):
            raise NotAvailableError(f"frame {index}: {len(image)} frames are published")
        info = image.info["lima_info"]
        try:
            pixels = np.asarray(image[index])
        except (IndexError, OSError, RuntimeError, AssertionError) as error:
            pixels = self._from_file(info, index, error)
        if not pixels.any():
            self._refuse_hole(info, index)
        return pixels

    def _refuse_hole(self, info: Mapping[str, Any], index: int) -> None:
        """`NotAvailableError` when a file says that frame ``index`` has no pixels: lost, or not to be saved."""
        if "file_path" not in info:
            return
        path, place = saved_place(info, index)
        try:
            with h5py.File(path, "r") as file:
                flags = FrameFlags(int(file[info["data_path"].rpartition("/")[0]]["frame_flags"][place]))
        except (OSError, KeyError, IndexError):
            return  # not written yet: the zeros came from a receiver's memory
        if flags & (FrameFlags.LOST | FrameFlags.VETOED):
            raise NotAvailableError(f"frame {index} of {self.detector} has no pixels ({flags.name})", flags=int(flags))

    def _from_file(self, info: Mapping[str, Any], index: int, error: Exception) -> np.ndarray:
        if "file_path" not in info:
            raise NoLongerAvailableError(
                f"frame {index} has left the memory of {self.detector}'s receivers and was not saved ({error})"
            ) from error
        path, place = saved_place(info, index)
        try:
            with h5py.File(path, "r") as file:
                return np.asarray(file[info["data_path"]][place])
        except (OSError, KeyError, IndexError) as failure:
            raise NoLongerAvailableError(
                f"frame {index} has left the memory of {self.detector}'s receivers, and file {path} is not there yet "
                f"({failure}); read it when the scan has ended"
            ) from failure

    def last_preview(self) -> tuple[int, np.ndarray] | None:
        """(frame index, binned image) of the newest preview, None before the first."""
        images, indices = self.stream(PREVIEW), self.stream(PREVIEW_INDEX)
        count = min(len(images), len(indices))
        return (int(indices[count - 1][0]), np.asarray(images[count - 1])) if count else None


def _take(chunks: list[np.ndarray], count: int) -> np.ndarray:
    points = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    chunks[:] = [points[count:]] if count < len(points) else []
    return points[:count]


def _wait_for_news(rows: PointCursor | None) -> PointCursor | None:
    """Until a row comes or a moment has passed; without the rows' stream (or at its end) just a moment."""
    if rows is not None:
        try:
            rows.read(0.2)
        except EndOfStream:
            return None
        return rows
    threading.Event().wait(_LOOK_S)
    return None
