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

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lima2_bliss.contract import (
    DeviceTimeoutError,
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
from lima2_bliss.publishing.frame_reader import FrameReader
from lima2_bliss.publishing.lima_info import SPARSE_FILES
from lima2_bliss.publishing.smx_reader import SmxReader
from lima2_bliss.publishing.smx_streams import IS_HIT, NB_PEAKS, NB_SPARSE
from lima2_bliss.publishing.sparse_places import SparsePlaces
from lima2_bliss.publishing.spots import Spots


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
    no room for; without it, the one that the scan names. Use as context manager, or `close`, when it reads frames.
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
        self._frame_reader: FrameReader | None = None
        self._smx = SmxReader(self.stream, set(self._streams), SparsePlaces(where))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file of sparse frames, if one is open, and the connections to the receivers."""
        self._smx.close()
        if self._frame_reader is not None:
            self._frame_reader.close()

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
        try:
            return np.asarray(stream[0 : len(stream)])
        except (IndexError, KeyError, OSError) as error:
            raise NoLongerAvailableError(
                f"points of {self.detector}:{name} have left Redis, and are not in the scan file ({error})"
            ) from error

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
        self, start: int = 0, stop: int | None = None, timeout_s: float = 30.0, *, skip_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of each frame from ``start`` on, as they come, until ``stop`` or the end of the scan.

        Frames come from the receivers' memory, many at once, or, when they have left it, from the files.
        ``skip_missing`` leaves out those that are nowhere (lost, not to be saved, or gone) in place of an error.
        """
        return self._frames().frames(start, stop, timeout_s, skip_missing)

    def frames_at(
        self, indices: Iterable[int], timeout_s: float = 30.0, *, skip_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of the frames with these indices, in their order; those to come are waited for."""
        return self._frames().at(indices, timeout_s, skip_missing)

    def follow_hit_frames(self, timeout_s: float = 30.0) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of the hits as they come, until the scan ends; hits without pixels are left out."""
        for rows in self.follow_hits(timeout_s):
            yield from self.frames_at(rows["frame"][rows["is_hit"] > 0], timeout_s, skip_missing=True)

    def frame(self, index: int) -> np.ndarray:
        """One frame by its index in the scan."""
        return self._frames().one(index)

    def _frames(self) -> FrameReader:
        if self._frame_reader is None:
            self._frame_reader = FrameReader(self.detector, self.stream(IMAGE), self._streams.get(FRAME_INDEX))
        return self._frame_reader

    def last_preview(self) -> tuple[int, np.ndarray] | None:
        """(frame index, binned image) of the newest preview, None before the first."""
        images, indices = self.stream(PREVIEW), self.stream(PREVIEW_INDEX)
        count = min(len(images), len(indices))
        return (int(indices[count - 1][0]), np.asarray(images[count - 1])) if count else None


def _take(chunks: list[np.ndarray], count: int) -> np.ndarray:
    points = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    chunks[:] = [points[count:]] if count < len(points) else []
    return points[:count]
