"""One detector of one scan as pages see it: its view, followed by a thread, and its frames, fetched when asked for."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from lima2_bliss.contract import DeviceTimeoutError, Lima2Error, NotAvailableError, NotYetAvailableError
from lima2_bliss.contract.records import SPOT
from lima2_bliss.monitor.collector import Collector
from lima2_bliss.monitor.messages import ShowImage, ShowRegion
from lima2_bliss.monitor.model import DetectorView, ScanSummary
from lima2_bliss.monitor.pictures import Picture, Where, binned, cut, without
from lima2_bliss.monitor.pixel_places import mask_of
from lima2_bliss.publishing.common_streams import IMAGE, PREVIEW, TIMESTAMP
from lima2_bliss.publishing.readers import DetectorData
from lima2_bliss.publishing.smx_streams import NB_PEAKS

_log = logging.getLogger(__name__)

#: Whole frames kept, for regions and for other sizes of a picture.
CACHE_BYTES = 64 << 20
#: Pictures kept, to tell that one is still the same.
_MOST_MADE = 2
#: Pages of other sizes get the same newest frame for so long.
_NEWEST_S = 0.05


class WatchedDetector:
    """``open_scan()`` gives a blissdata scan; called once for each reader of it. Calls may come from any thread."""

    def __init__(self, open_scan: Callable[[], Any], summary: ScanSummary, detector: str) -> None:
        self._collector = Collector(open_scan, summary, detector)
        self._scan = open_scan()
        self._data = DetectorData(self._scan, detector)
        self._masked: np.ndarray | None = None
        self._mask_known = False
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, tuple[np.ndarray, Where]] = OrderedDict()
        self._newest = (-math.inf, 0)
        self._made: OrderedDict[tuple[str, int, bool], Picture] = OrderedDict()
        self._collector.start()

    @property
    def view(self) -> DetectorView:
        """What is known by now."""
        return self._collector.view

    def close(self) -> None:
        """End the thread, release what is open."""
        self._collector.stop()
        with self._lock:
            self._data.close()

    # --- pictures -------------------------------------------------------------------------------------------------

    def picture(self, wanted: ShowImage) -> Picture | None:
        """The frame that a page wants, the same object as before when nothing is new; None when there is none yet.

        `NotAvailableError` when it can be had neither from the receivers nor from files.
        """
        with self._lock:
            index = self._index(wanted)
            if index is None or index < 0:
                return None
            slot = (wanted.source, wanted.max_px, wanted.mask)
            made: Picture | None = self._made.pop(slot, None)
            if made is None or made.index != index:
                made = self._make(wanted, index)
            if made is not None and made.index == index:
                self._made[slot] = made
                while len(self._made) > _MOST_MADE:
                    self._made.popitem(last=False)
            return made

    def _index(self, wanted: ShowImage) -> int | None:
        """The frame that a page wants, below 0 or None when there is none yet."""
        if wanted.source != "frame":
            if wanted.source not in self._data.names:
                raise NotAvailableError(f"the scan has no {wanted.source}; it comes with pipeline smx")
            return _length(self._data.stream(wanted.source)) - 1
        if wanted.mode == "frame":
            return wanted.index
        if wanted.mode == "hits":
            return self.view.newest_hit
        if self.view.scan.state != "ended" and IMAGE in self._data.names:
            asked, count = self._newest
            if time.monotonic() - asked > _NEWEST_S:
                # newer than what the view knows, which is read ten times a second
                count = _length(self._data.stream(IMAGE))
                self._newest = (time.monotonic(), count)
            if count:
                return count - 1
        return self.view.frames - 1

    def _make(self, wanted: ShowImage, index: int) -> Picture | None:
        if wanted.source != "frame":
            return self._accumulated(wanted.source, index, wanted.max_px)
        if wanted.mode == "frame":
            self._check(index)
            return self._frame(index, wanted.max_px, wanted.mask)
        try:
            return self._frame(index, wanted.max_px, wanted.mask)
        except NotYetAvailableError:
            return None
        except NotAvailableError as error:
            _log.debug("frame %d: %s", index, error)
            newest = self._preview(wanted.max_px)
            wrong = wanted.mode == "hits" and newest is not None and newest.index not in dict(self.view.hits)
            return None if wrong else newest

    def region(self, wanted: ShowRegion) -> Picture:
        """A part of a frame. `NotAvailableError` when it can be had neither from the receivers nor from files."""
        with self._lock:
            pixels, where = self._pixels(wanted.index)
            masked = self._mask(pixels) if wanted.mask else None
        if masked is not None:
            pixels = without(pixels, masked)
        part, binning, origin = cut(pixels, wanted.y0, wanted.x0, wanted.y1, wanted.x1, wanted.max_px)
        return Picture(wanted.index, part, _shape(pixels), where, binning, origin)

    def spots(self, index: int) -> np.ndarray:
        """Table `SPOT` of one frame; without rows when the scan looks for no spots."""
        with self._lock:
            self._check(index)
            return self._spots(index)

    def _check(self, index: int) -> None:
        if index >= self.view.frames:
            raise NotYetAvailableError(f"frame {index} is not there; the scan has {self.view.frames} so far")

    def _frame(self, index: int, max_px: int, mask: bool) -> Picture:
        pixels, where = self._pixels(index)
        if mask and (masked := self._mask(pixels)) is not None:
            pixels = without(pixels, masked)
        data, binning = binned(pixels, max_px)
        table = self._spots(index)
        spots = np.stack([table["y"], table["x"], table["intensity"]], axis=1)
        return Picture(index, data, _shape(pixels), where, binning, spots=spots, taken=self._taken(index))

    def _pixels(self, index: int) -> tuple[np.ndarray, Where]:
        """A whole frame, and where it came from."""
        if index in self._frames:
            self._frames.move_to_end(index)
            return self._frames[index]
        if IMAGE not in self._data.names:
            raise NotAvailableError("the scan has no images")
        try:
            # as of many frames: straight from a receiver, also where Tango is not in reach
            pixels = np.asarray(next(iter(self._data.frames_at([index], 0.0)))[1])
        except DeviceTimeoutError:
            raise NotYetAvailableError(f"frame {index} is not there yet") from None
        if pixels.ndim != 2:
            pixels = pixels.reshape(-1, *pixels.shape[-2:])[0]
        # frames of a scan that has ended are in files, or still in memory; which is not told
        where: Where = "file" if self.view.scan.state == "ended" and self.view.scan.filename else "memory"
        self._frames[index] = (pixels, where)
        while len(self._frames) > 1 and sum(kept.nbytes for kept, _ in self._frames.values()) > CACHE_BYTES:
            self._frames.popitem(last=False)
        return self._frames[index]

    def _mask(self, pixels: np.ndarray) -> np.ndarray | None:
        """Pixels that do not count; looked for once."""
        if not self._mask_known:
            self._masked = mask_of(self._scan.info, self.view.detector, _shape(pixels))
            self._mask_known = True
        return self._masked

    def _spots(self, index: int) -> np.ndarray:
        if NB_PEAKS not in self._data.names or "spots_x" not in self._data.names:
            return np.empty(0, SPOT)
        try:
            return self._data.spots(index, index + 1).table.astype(SPOT)
        except (Lima2Error, IndexError) as error:
            _log.debug("spots of frame %d: %s", index, error)
            return np.empty(0, SPOT)

    def _taken(self, index: int) -> float | None:
        if TIMESTAMP not in self._data.names:
            return None
        try:
            time = float(self._data.stream(TIMESTAMP)[index])
        except (IndexError, Lima2Error):
            return None
        return time if np.isfinite(time) else None

    def _preview(self, max_px: int) -> Picture | None:
        """The newest preview, when frames cannot be had: only Redis is in reach."""
        if PREVIEW not in self._data.names or (newest := self._data.last_preview()) is None:
            return None
        return self._small(newest[0], newest[1], "preview", max_px)

    def _accumulated(self, name: str, index: int, max_px: int) -> Picture | None:
        try:
            return self._small(index, np.asarray(self._data.stream(name)[index]), "stream", max_px)
        except IndexError:
            return None

    def _small(self, index: int, pixels: np.ndarray, where: Where, max_px: int) -> Picture:
        """A picture of a stream that is binned already."""
        info = self._data.stream(IMAGE).info if IMAGE in self._data.names else {"shape": pixels.shape}
        full = tuple(int(side) for side in info["shape"])[-2:]
        before = max(1, -(-full[1] // pixels.shape[1]))
        data, binning = binned(pixels, max_px)
        return Picture(index, data, (full[0], full[1]), where, before * binning)


def _length(stream: Any) -> int:
    """Points of a stream so far; 0 also when all have left Redis."""
    try:
        return len(stream)
    except IndexError:
        return 0


def _shape(pixels: np.ndarray) -> tuple[int, int]:
    return int(pixels.shape[0]), int(pixels.shape[1])
