"""What all pages share: one reader per scan and detector that somebody looks at, one fetch per picture."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from lima2_bliss.contract import Lima2Error, NotAvailableError
from lima2_bliss.monitor.charts import chart_message, chart_names, chart_state
from lima2_bliss.monitor.messages import RUNNING, Follow, ShowImage, ShowRegion
from lima2_bliss.monitor.model import DetectorView, ScanSummary
from lima2_bliss.monitor.pictures import Picture, encode

_log = logging.getLogger(__name__)

#: Readers kept at most; those that nobody looks at go first, and after a while.
MOST_WATCHED = 8
UNWATCHED_S = 60.0
#: A picture of the newest frame is made at most so often, for all pages together.
NEWEST_S = 0.05
_KNOWN_FRAME_S = 5.0
#: Messages of pictures kept, the one made last whatever its size.
_MOST_PICTURES = 32
PICTURE_BYTES = 64 << 20


#: A picture and its message.
_Made = tuple[Picture, bytes]


class ScanSource(Protocol):
    """The scans in Redis, kept up to date by themselves; ``revision`` grows when something changed."""

    revision: int
    trouble: str

    def sessions(self) -> Sequence[str]: ...
    def summaries(self, session: str | None = None) -> Sequence[ScanSummary]: ...
    def find(self, key: str) -> ScanSummary:
        """`NotAvailableError` when it is not, or no longer, in Redis."""

    def newest(self, session: str | None = None) -> ScanSummary | None:
        """The running scan with a detector; if none runs, the last one."""


class Watched(Protocol):
    """One detector of one scan: its view kept up to date, its frames on demand. Blocking calls, from any thread."""

    @property
    def view(self) -> DetectorView: ...

    def picture(self, wanted: ShowImage) -> Picture | None:
        """None when there is no such frame yet; an error says why one cannot be had."""

    def region(self, wanted: ShowRegion) -> Picture: ...
    def spots(self, index: int) -> np.ndarray:
        """Table of SPOT of one frame."""

    def close(self) -> None: ...


class Hub:
    """Hands out readers and pictures; all calls from the event loop."""

    def __init__(self, scans: ScanSource, watch: Callable[[ScanSummary, str], Watched]) -> None:
        self.scans = scans
        self._watch = watch
        self._watched: OrderedDict[tuple[str, str], Watched] = OrderedDict()
        self._used: dict[tuple[str, str], float] = {}
        self._opening: dict[tuple[str, str], asyncio.Future[Watched]] = {}
        self._pictures: OrderedDict[Any, tuple[float, asyncio.Future[_Made | None]]] = OrderedDict()
        self._texts: dict[tuple[str, str], tuple[int, str]] = {}
        self._charts: dict[tuple[str, str], dict[str, tuple[Any, str]]] = {}
        self._tidying: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="monitor")
        self._logged = ""
        self.fetches = 0
        self._count = threading.Lock()

    # --- readers --------------------------------------------------------------------------------------------------

    async def look(self, follow: Follow) -> Watched | None:
        """The detector that a page follows; None while there is none."""
        summary = self.scans.newest(follow.session) if follow.scan == RUNNING else self.scans.find(follow.scan)
        if summary is None or not summary.detectors:
            return None
        detector = follow.detector if follow.detector in summary.detectors else summary.detectors[0]
        return await self.watched(summary, detector)

    async def watched(self, summary: ScanSummary, detector: str) -> Watched:
        """The reader of one detector of a scan; `NotAvailableError` when the scan has no such detector."""
        if detector not in summary.detectors:
            raise NotAvailableError(
                f"scan {summary.key} has no detector {detector!r}; it has: {', '.join(summary.detectors) or 'none'}"
            )
        slot = (summary.key, detector)
        self._used[slot] = time.monotonic()
        self._drop_unused()
        if slot in self._watched:
            self._watched.move_to_end(slot)
            return self._watched[slot]
        if slot not in self._opening:
            self._opening[slot] = self._in_thread(self._watch, summary, detector)
        try:
            watched = await asyncio.shield(self._opening[slot])
        finally:
            self._opening.pop(slot, None)
        self._watched.setdefault(slot, watched)
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(UNWATCHED_S, self._tidy)
        while len(self._watched) > MOST_WATCHED:
            self._close(next(iter(self._watched)))
        return watched

    def _drop_unused(self) -> None:
        now = time.monotonic()
        for slot in [slot for slot in self._watched if now - self._used.get(slot, now) > UNWATCHED_S]:
            self._close(slot)
        self._used = {slot: then for slot, then in self._used.items() if now - then <= UNWATCHED_S}

    def _tidy(self) -> None:
        """Readers end also when no page is left to ask for another one."""
        self._drop_unused()
        loop = asyncio.get_running_loop()
        self._tidying = loop.call_later(UNWATCHED_S / 2, self._tidy) if self._watched else None

    def _close(self, slot: tuple[str, str]) -> None:
        watched = self._watched.pop(slot)
        self._used.pop(slot, None)
        self._texts.pop(slot, None)
        self._charts.pop(slot, None)
        self._pool.submit(watched.close)

    def view_text(self, watched: Watched) -> tuple[int, str]:
        """(revision, message) of a view; made once for all pages."""
        view = watched.view
        slot = (view.scan.key, view.detector)
        known = self._texts.get(slot)
        if known is None or known[0] != view.revision:
            known = self._texts[slot] = (view.revision, json.dumps(view_message(view), allow_nan=False))
        return known

    def chart_text(self, watched: Watched, name: str) -> tuple[Any, str]:
        """(state, message) of a chart, made once for all pages; the state is another when the chart is."""
        view = watched.view
        known = self._charts.setdefault((view.scan.key, view.detector), {})
        state = chart_state(view, name)
        if name not in known or known[name][0] != state:
            known[name] = (state, json.dumps(chart_message(view, name), allow_nan=False))
        return known[name]

    # --- pictures -------------------------------------------------------------------------------------------------

    async def picture(self, watched: Watched, wanted: ShowImage) -> tuple[int, bytes] | None:
        """(frame, message) of the picture that a page wants; None while there is none."""
        view = watched.view
        slot = (view.scan.key, view.detector, wanted.mode, wanted.index, wanted.source, wanted.max_px, wanted.mask)
        keep = _KNOWN_FRAME_S if wanted.mode == "frame" and wanted.source == "frame" else NEWEST_S
        made, task = self._pictures.get(slot, (0.0, None))
        if task is None or (task.done() and (time.monotonic() - made > keep or task.exception() is not None)):
            before = _result(task)
            task = self._in_thread(self._encoded, watched, wanted, before)
            self._pictures[slot] = (time.monotonic(), task)
            self._pictures.move_to_end(slot)
        made_now = await asyncio.shield(task)
        self._drop_pictures()
        return None if made_now is None else (made_now[0].index, made_now[1])

    def _drop_pictures(self) -> None:
        """The oldest go, while there are too many or too large ones."""
        sizes = [len(made[1]) if (made := _result(task)) else 0 for _, task in self._pictures.values()]
        while len(sizes) > _MOST_PICTURES or (len(sizes) > 1 and sum(sizes) > PICTURE_BYTES):
            sizes.pop(0)
            self._pictures.popitem(last=False)

    def _encoded(self, watched: Watched, wanted: ShowImage, before: _Made | None) -> _Made | None:
        """A picture and its message; those of before when the picture is still the same."""
        picture = watched.picture(wanted)
        if picture is None or (before is not None and before[0] is picture):
            return None if picture is None else before
        with self._count:
            self.fetches += 1
        return picture, encode(picture, mode=wanted.mode)

    async def region(self, watched: Watched, wanted: ShowRegion) -> bytes:
        """Message with a part of a frame."""
        return await self._in_thread(lambda: encode(watched.region(wanted), "region"))

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._pool, self._answer, call, *arguments)

    def _answer(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call gives; whatever goes wrong in reading a scan is said to those who asked, and logged once."""
        try:
            return call(*arguments)
        except Lima2Error:
            raise
        except Exception as error:
            if self._logged != (logged := str(error)):
                self._logged = logged
                _log.warning("a scan cannot be read", exc_info=True)
            raise NotAvailableError(f"the scan cannot be read now: {error}") from error

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run something that blocks."""
        return await self._in_thread(call, *arguments)

    def close(self) -> None:
        """End all readers; returns when they have ended."""
        if self._tidying is not None:
            self._tidying.cancel()
        for watched in self._watched.values():
            watched.close()
        self._watched.clear()
        self._pool.shutdown(cancel_futures=True)


def _result(task: asyncio.Future[_Made | None] | None) -> _Made | None:
    """What a task has made; None while it works, and when it could not."""
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def scan_message(scan: ScanSummary) -> dict[str, Any]:
    """A scan as pages get it."""
    return {
        "key": scan.key,
        "session": scan.session,
        "number": scan.number,
        "name": scan.name,
        "title": scan.title,
        "state": scan.state,
        "start": scan.start,
        "end": scan.end,
        "npoints": scan.npoints,
        "filename": scan.filename,
        "frames": scan.frames,
        "hits": scan.hits,
        "detectors": list(scan.detectors),
    }


def view_message(view: DetectorView) -> dict[str, Any]:
    """A view as pages get it; charts and image are messages of their own."""
    where = view.geometry
    return {
        "type": "view",
        "scan": scan_message(view.scan),
        "state": view.scan.state,
        "detector": view.detector,
        "detectors": list(view.scan.detectors),
        "frames": view.frames,
        "counts": None if view.counts is None else {"columns": list(view.counts.columns), "rows": view.counts.rows},
        "hits": [list(hit) for hit in view.hits[:50]],
        "best": [list(hit) for hit in view.best[:50]],
        "alarms": [{"level": alarm.level, "text": alarm.text} for alarm in view.alarms],
        "charts": chart_names(view),
        "geometry": None if where is None else vars(where),
    }
