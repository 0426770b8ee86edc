"""The frames of a scan's image stream for a reader: one, many at once, or as they come, from memory or files.

Works with blissdata 1.1.4 and 2.x. Many at once come straight from all receivers (`BulkFrames`) if the stream says
where they are; what is not found that way is asked of blissdata, one by one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - frames may be compressed with its filters
import numpy as np

from lima2_bliss.contract import DeviceTimeoutError, FrameFlags, NoLongerAvailableError, NotAvailableError
from lima2_bliss.publishing.blissdata2_frames import BulkFrames
from lima2_bliss.publishing.blissdata_access import EndOfStream, PointCursor
from lima2_bliss.publishing.frame_places import frame_places
from lima2_bliss.publishing.sparse_places import saved_place

_LOOK_S = 0.02
#: Frames that are read at once [bytes].
AT_ONCE_BYTES = 32 << 20


class FrameReader:
    """The image stream of ``detector``; ``rows`` is a numeric stream with a point per frame, to wait on, or None."""

    def __init__(self, detector: str, image: Any, rows: Any = None) -> None:
        self._detector = detector
        self._image = image
        self._rows = rows
        self._info: Mapping[str, Any] = image.info
        shape, dtype = tuple(self._info["shape"]), np.dtype(self._info["dtype"])
        places = frame_places(dict(self._info))
        self._bulk = None if places is None else BulkFrames(places, shape, dtype)
        self._at_once = max(1, AT_ONCE_BYTES // max(int(np.prod(shape)) * dtype.itemsize, 1))

    def close(self) -> None:
        """Disconnect from the receivers; harmless twice."""
        if self._bulk is not None:
            self._bulk.close()

    def count(self) -> int:
        """Frames published so far; of a scan that has ended and that Redis has trimmed, those in files."""
        try:
            count = len(self._image)
        except IndexError:
            count = 0
        if count == 0 and self._bulk is not None and self._image.is_sealed():
            return self._bulk.count()
        return count

    def frames(
        self, start: int, stop: int | None, timeout_s: float, skip_missing: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of each frame from ``start`` on, as they come, until ``stop`` or the end of the scan."""
        index, news = start, _News(self._rows)
        until = time.monotonic() + timeout_s
        while stop is None or index < stop:
            sealed = self._image.is_sealed()
            available = self.count()
            last = available if stop is None else min(available, stop)
            if index < last:
                yield from self._read(range(index, last), skip_missing)
                index, until = last, time.monotonic() + timeout_s
                continue
            if sealed:
                return
            self._check(index, until, timeout_s)
            news.wait()

    def at(
        self, indices: Iterable[int], timeout_s: float, skip_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, image) of the frames asked for, in that order; those to come are waited for."""
        wanted, news = iter(indices), _News(self._rows)
        while part := [int(index) for index in islice(wanted, self._at_once)]:
            until = time.monotonic() + timeout_s
            while max(part) >= self.count() and not self._image.is_sealed():
                self._check(max(part), until, timeout_s)
                news.wait()
            yield from self._read(part, skip_missing)

    def one(self, index: int) -> np.ndarray:
        """One frame by its index in the scan."""
        count = self.count()
        if not 0 <= index < count:
            raise NotAvailableError(f"frame {index}: {count} frames are published")
        try:
            pixels = np.asarray(self._image[index])
        except (IndexError, OSError, RuntimeError, AssertionError) as error:
            pixels = self._from_file(index, error)
        if not pixels.any():
            self._refuse_hole(index)
        return pixels

    def _check(self, index: int, until: float, timeout_s: float) -> None:
        if time.monotonic() >= until:
            raise DeviceTimeoutError(f"frame {index} of {self._detector} did not come within {timeout_s:g} s")

    def _read(self, indices: Sequence[int], skip_missing: bool) -> Iterator[tuple[int, np.ndarray]]:
        for first in range(0, len(indices), self._at_once):
            part = indices[first : first + self._at_once]
            images: Sequence[np.ndarray | None] = [None] * len(part)
            if self._bulk is not None and min(part) >= 0:
                found, missing = self._bulk.read(part)
                left_out = set(missing)
                images = [None if place in left_out else image for place, image in enumerate(found)]
            for index, image in zip(part, images, strict=True):
                try:
                    yield index, self._checked(index, image)
                except NotAvailableError:
                    if not skip_missing:
                        raise

    def _checked(self, index: int, image: np.ndarray | None) -> np.ndarray:
        if image is None:
            return self.one(index)
        if not image.any():
            self._refuse_hole(index)
        return image

    def _refuse_hole(self, index: int) -> None:
        """`NotAvailableError` when a file says that frame ``index`` has no pixels: lost, or not to be saved."""
        info = self._info["lima_info"]
        if "file_path" not in info:
            return
        # the receiver's file is there before the master file
        path, place = (self._bulk and self._bulk.file_of(index)) or saved_place(info, index)
        try:
            with h5py.File(path, "r") as file:
                flags = FrameFlags(int(file[info["data_path"].rpartition("/")[0]]["frame_flags"][place]))
        except (OSError, KeyError, IndexError):
            return  # not written yet: the zeros came from a receiver's memory
        if flags & (FrameFlags.LOST | FrameFlags.VETOED):
            raise NotAvailableError(f"frame {index} of {self._detector} has no pixels ({flags.name})", flags=int(flags))

    def _from_file(self, index: int, error: Exception) -> np.ndarray:
        info = self._info["lima_info"]
        if "file_path" not in info:
            raise NoLongerAvailableError(
                f"frame {index} has left the memory of {self._detector}'s receivers and was not saved ({error})"
            ) from error
        path, place = saved_place(info, index)
        try:
            with h5py.File(path, "r") as file:
                return np.asarray(file[info["data_path"]][place])
        except (OSError, KeyError, IndexError) as failure:
            raise NoLongerAvailableError(
                f"frame {index} has left the memory of {self._detector}'s receivers, and file {path} is not there yet "
                f"({failure}); read it when the scan has ended"
            ) from failure


class _News:
    """Waits for the next row of a stream, or for a moment when there is none to wait on."""

    def __init__(self, rows: Any) -> None:
        self._cursor = None if rows is None else PointCursor(rows)

    def wait(self) -> None:
        """Until a row comes or a moment has passed."""
        if self._cursor is not None:
            try:
                self._cursor.read(0.2)
                return
            except (EndOfStream, IndexError):
                self._cursor = None
        threading.Event().wait(_LOOK_S)
