"""Reads back what the SMX pipeline published: spots, sparse frames and hits, from Redis or from the saved files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from lima2_bliss.contract import NoLongerAvailableError, NotAvailableError, SparseFrame, SparseInfo
from lima2_bliss.contract.records import SPOT
from lima2_bliss.publishing.row_places import RowPlaces
from lima2_bliss.publishing.smx_streams import (
    BACKGROUND_AVG,
    BACKGROUND_STD,
    IS_HIT,
    NB_PEAKS,
    NB_SPARSE,
    SPARSE_INDEX,
    SPARSE_INTENSITY,
    SPOT_COLUMNS,
)
from lima2_bliss.publishing.sparse_places import SparsePlaces
from lima2_bliss.publishing.spots import SPOT_POINT, Spots

_SPOTS = tuple(f"spots_{column}" for column in SPOT_COLUMNS)
_SPARSE = (SPARSE_INDEX, SPARSE_INTENSITY)

#: A row of the hit table: place in the scan, `FrameFlags`, spots, hit or not, share of hits lately.
HIT_POINT = np.dtype(
    [("frame", "<i8"), ("frame_flags", "<u4"), ("nb_peaks", "<i4"), ("is_hit", "?"), ("hit_rate", "<f4")]
)


class SmxReader:
    """``stream(name)`` gives a stream of the detector or raises; frames are counted over the scan."""

    def __init__(self, stream: Callable[[str], Any], names: set[str], files: SparsePlaces) -> None:
        self._stream = stream
        self._names = names
        self._files = files
        self._places: dict[str, RowPlaces] = {}

    @property
    def hit_names(self) -> list[str]:
        """Streams that the hit table is made of."""
        return [name for name in HIT_POINT.names or () if name in {*self._names, NB_PEAKS, IS_HIT}]

    def info(self) -> SparseInfo:
        """Mask, radii and normalization of the sparse frames, from their file."""
        file, _place = self._files.file(0, "the geometry of sparse frames is in their file alone")
        return file.info

    def hits(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """`HIT_POINT` rows of the frames from ``start`` to before ``stop`` (those published so far)."""
        names = self.hit_names
        frames = min(len(self._stream(name)) for name in names)
        stop = frames if stop is None else min(stop, frames)
        table = np.zeros(max(stop - start, 0), HIT_POINT)
        table["frame"] = np.arange(start, start + len(table))
        table["hit_rate"] = np.nan
        for name in names:
            table[name] = np.asarray(self._stream(name)[start : start + len(table)]).reshape(-1)
        return table

    def spots(self, start: int = 0, stop: int | None = None) -> Spots:
        """Spots of the frames from ``start`` to before ``stop`` (those published so far)."""
        counted, published = self._look(NB_PEAKS, _SPOTS)
        there = min(counted, len(self._stream(IS_HIT)))
        stop = there if stop is None else stop
        if not 0 <= start <= stop <= there:
            raise NotAvailableError(f"spots of frames {start} to {stop}: {there} frames are published")
        published = min(max(published, start), stop)
        try:
            spots = self._published_spots(start, published)
        except IndexError:
            spots, published = self._published_spots(start, start), start  # trimmed
        return spots + self._saved_spots(published, stop) if published < stop else spots

    def sparse_frame(self, index: int) -> SparseFrame:
        """Sparse frame ``index`` of the scan: from Redis as far as that had room, else from the files.

        Without files, a background and spots that are not published are empty. Errors say why there is no frame.
        """
        there, published = self._look(NB_SPARSE, _SPARSE)
        if not 0 <= index < there:
            raise NotAvailableError(f"sparse frame {index}: {there} frames are published")
        why = f"sparse frame {index} is not in Redis: there was room for {published} frames"
        if index < published:
            try:
                return self._published_frame(index)
            except IndexError:
                why = f"sparse frame {index} has left Redis"
        file, place = self._files.file(index, why)
        frame = file.frame(place)
        frame.spots["frame_idx"] = index
        return frame

    def close(self) -> None:
        """Release the open file."""
        self._files.close()

    def _look(self, counts: str, streams: tuple[str, ...]) -> tuple[int, int]:
        """(frames that are counted, those of them of which all rows are in these flat streams)."""
        if counts not in self._places:
            self._places[counts] = RowPlaces(self._stream(counts))
        places = self._places[counts]
        try:
            counted = places.look()
        except NoLongerAvailableError:
            return len(self._stream(counts)), 0
        if not set(streams) <= self._names:
            return counted, 0
        return counted, places.frames_within(min(len(self._stream(name)) for name in streams))

    def _points(self, name: str, start: int, stop: int) -> np.ndarray:
        if stop <= start:
            return np.empty(0)
        try:
            # channels of some displays have points of one element instead of numbers
            return np.asarray(self._stream(name)[start:stop]).reshape(-1)
        except (KeyError, OSError) as error:  # blissdata looked for it in the scan file
            raise IndexError(f"points {start} to {stop} of {name} have left Redis, and no file has them") from error

    def _published_spots(self, start: int, stop: int) -> Spots:
        places = self._places[NB_PEAKS]
        first, end = places.rows(start, stop)
        counts = places.counts(start, stop)
        frames = np.arange(start, stop)
        table = np.zeros(end - first, SPOT_POINT)
        table["frame"] = np.repeat(frames, counts)
        for column in SPOT_COLUMNS:
            table[column] = self._points(f"spots_{column}", first, end)
        return Spots(frames, counts, self._points(IS_HIT, start, stop) != 0, table)

    def _saved_spots(self, start: int, stop: int) -> Spots:
        why = f"spots of frames {start} to {stop - 1} are not in Redis"
        parts = []
        for index in range(start, stop):
            file, place = self._files.file(index, why)
            rows = file.spots(place)
            table = np.zeros(len(rows), SPOT_POINT)
            for column in SPOT_COLUMNS:
                table[column] = rows[column]
            table["frame"] = index
            parts.append(table)
        counts = np.array([len(part) for part in parts], np.int64)
        return Spots(np.arange(start, stop), counts, self._points(IS_HIT, start, stop) != 0, np.concatenate(parts))

    def _published_frame(self, index: int) -> SparseFrame:
        first, end = self._places[NB_SPARSE].rows(index, index + 1)
        background, spots = [np.empty(0, np.float32)] * 2, np.empty(0, SPOT)
        with suppress(NotAvailableError):
            background = [self._background(name, index) for name in (BACKGROUND_AVG, BACKGROUND_STD)]
        with suppress(NotAvailableError):
            spots = self._spots_of(index)
        return SparseFrame(
            index=self._points(SPARSE_INDEX, first, end).astype(np.int32),
            intensity=self._points(SPARSE_INTENSITY, first, end).astype(np.float32),
            background_avg=background[0],
            background_std=background[1],
            spots=spots,
            is_hit=IS_HIT in self._names and bool(np.all(self._stream(IS_HIT)[index])),
        )

    def _background(self, name: str, index: int) -> np.ndarray:
        if name in self._names and index < len(self._stream(name)):
            return np.asarray(self._stream(name)[index], np.float32)
        file, place = self._files.file(index, f"the background of frame {index} is not in Redis")
        return np.asarray(getattr(file.frame(place), name))

    def _spots_of(self, index: int) -> np.ndarray:
        table = self.spots(index, index + 1).table
        spots = np.zeros(len(table), SPOT)
        spots["frame_idx"] = index
        for column in SPOT_COLUMNS:
            spots[column] = table[column]
        return spots
