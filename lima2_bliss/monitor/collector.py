"""The thread that follows the streams of one detector in one scan, and keeps its view up to date."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import redis
from blissdata.redis_engine.scan import ScanState

from lima2_bliss.monitor.background_axis import BackgroundAxis
from lima2_bliss.monitor.describing import (
    axis_grids,
    bad_end,
    described,
    fifo_places,
    final_counts,
    frames_per_point,
    geometry,
    hit_map_axes,
)
from lima2_bliss.monitor.folding import Fold
from lima2_bliss.monitor.followed import Followed
from lima2_bliss.monitor.hit_map import HitMaps
from lima2_bliss.monitor.live_counts import LiveCounts
from lima2_bliss.monitor.model import Alarm, Curve, DetectorView, ScanSummary
from lima2_bliss.monitor.scans import summary_of
from lima2_bliss.monitor.series import Series
from lima2_bliss.publishing.common_streams import IMAGE, TIMESTAMP
from lima2_bliss.publishing.frame_places import frame_places
from lima2_bliss.publishing.smx_streams import BACKGROUND_AVG, BACKGROUND_STD, IS_HIT

_log = logging.getLogger(__name__)

#: How often the streams are read, and what is looked at less often.
READ_S = 0.1
LOOK_S = 0.3
_AGAIN_S = 1.0
#: Background levels read of a scan that is opened late.
_PAST_LEVELS = 100


class Collector:
    """``open_scan()`` gives a blissdata scan of its own; again after Redis was away. Ends with the scan, or `stop`."""

    def __init__(self, open_scan: Callable[[], Any], summary: ScanSummary, detector: str) -> None:
        self.view = DetectorView(summary, detector)
        self._open_scan = open_scan
        self._detector = detector
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"monitor-{detector}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the thread has ended."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
                return
            except (redis.RedisError, OSError) as error:
                self._tell("bad", f"Redis does not answer ({error}); what is shown is old")
                self._stop.wait(_AGAIN_S)
            except Exception as error:  # noqa: BLE001 - the page says it; other scans go on
                _log.exception("scan %s of %s cannot be followed", self.view.scan.key, self._detector)
                self._tell("bad", f"the scan cannot be followed: {error}")
                return

    def _tell(self, level: Any, text: str) -> None:
        self.view.alarms = (Alarm(level, text),)
        self.view.revision += 1

    def _follow(self) -> None:
        """Read on from the beginning until the scan has ended and everything is read."""
        scan = self._open_scan()
        with _Reader(scan, self.view, self._detector) as reader:
            while not self._stop.is_set():
                more = reader.read()
                if not more and reader.closed():
                    reader.look()
                    return
                if not reader.behind:
                    self._stop.wait(READ_S)


class _Reader:
    """One pass over a scan: what is read, and how far."""

    def __init__(self, scan: Any, view: DetectorView, detector: str) -> None:
        self._scan = scan
        self._view = view
        part = f":{detector}:"
        streams = {name.rpartition(":")[2]: stream for name, stream in scan.streams.items() if part in f":{name}"}
        axes = {name: stream for name, stream in scan.streams.items() if name.startswith("axis:")}
        self._detector = detector
        view.info, view.geometry = described(scan.info, detector), geometry(scan.info, detector)
        view.series, view.times, view.hits, view.best, view.resolution = {}, Series(), (), (), None
        view.frames, view.newest_hit = 0, None
        self._fold = Fold(view, timestamped=TIMESTAMP in streams)
        mapped = hit_map_axes(scan.info, list(axes)) if IS_HIT in streams else []
        self._maps = HitMaps(mapped, axis_grids(scan.info, mapped))
        wanted = {name: streams[name] for name in Fold.wanted(set(streams))}
        followed = {**wanted, **{name: axes[name] for name in self._maps.axes}}
        self._followed = Followed(followed)
        self._newest_background = (-1, False)
        self._streams = streams
        places = frame_places(dict(streams[IMAGE].info)) if IMAGE in streams else None
        self._counts = None if places is None or self.ended() else LiveCounts(places, fifo_places(scan.info, detector))
        self._looked = 0.0
        self._level_known = False
        self._axis = BackgroundAxis(scan, detector, view.geometry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._counts is not None:
            self._counts.close()

    def read(self) -> bool:
        """Take what has come; False when all streams are at their end."""
        if not self._followed.ended:
            self._take(self._followed.read())
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self.look()
        return not self._followed.ended

    @property
    def behind(self) -> bool:
        """Whether there is more to read at once."""
        return self._followed.behind and not self._followed.ended

    def _take(self, rows: dict[str, np.ndarray]) -> None:
        axes = {name: rows.pop(name) for name in self._maps.axes if name in rows}
        if rows:
            self._maps.hits(rows.get(IS_HIT))
            self._fold.take(rows)
        for name, positions in axes.items():
            self._maps.positions(name, positions)

    def ended(self) -> bool:
        """Whether the scan is over."""
        return self._view.scan.state == "ended"

    def closed(self) -> bool:
        """Whether the scan is over, and has said all that it has to."""
        return bool(self._scan.state >= ScanState.CLOSED)

    def look(self) -> None:
        """What is looked at now and then: the scan's state, the newest background, counts, alarms."""
        view = self._view
        if self._scan.update(block=False) or view.scan.state != summary_of(self._scan).state:
            view.scan = replace(summary_of(self._scan), detectors=view.scan.detectors)
            view.info, view.geometry = described(self._scan.info, self._detector), view.geometry
        self._background()
        self._count()
        view.hit_map = self._maps.map(frames_per_point(self._scan.info, self._detector))
        view.revision += 1

    def _count(self) -> None:
        """Frames, counts of receivers, and what is wrong."""
        view, alarms = self._view, self._fold.alarms()
        if IMAGE in self._streams:
            view.frames = max(view.frames, _length(self._streams[IMAGE]))
        self._fold.arrived(view.frames)
        if self._counts is not None and not self.ended():
            counts, more = self._counts.read()
            view.counts, alarms = counts or view.counts, (*alarms, *more)
        view.counts = final_counts(self._scan.info, self._detector) or view.counts
        view.alarms = (*bad_end(self._scan.info), *alarms)

    def _background(self) -> None:
        std, avg = (self._newest(name) for name in (BACKGROUND_STD, BACKGROUND_AVG))  # the one that may be behind first
        if std is not None and avg is not None and std[0] < avg[0]:
            avg = self._newest(BACKGROUND_AVG, std[0]) or avg
        if avg is None or self._newest_background == (avg[0], self.ended()):
            return
        index, mean = avg
        self._newest_background = (index, self.ended())
        if not self._level_known:
            self._level_known = True
            self._past_levels(index)
        band = None if std is None or std[0] != index else std[1]
        places, title = self._axis.places(len(mean), self.ended())
        lo, hi = (None, None) if band is None else (mean - band, mean + band)
        self._view.background = Curve(places, mean, lo, hi, title, "counts")
        if np.isfinite(mean).any():
            self._fold.level(index, float(np.nanmean(mean)))

    def _past_levels(self, end: int) -> None:
        """Some of the background levels before frame ``end``, when the scan is opened late."""
        stream = self._streams[BACKGROUND_AVG]
        for index in np.unique(np.linspace(0, end, _PAST_LEVELS, endpoint=False).astype(int)) if end else ():
            try:
                mean = np.asarray(stream[int(index)], float)
            except (IndexError, KeyError, OSError):  # trimmed
                continue
            if np.isfinite(mean).any():
                self._fold.level(int(index), float(np.nanmean(mean)))

    def _newest(self, name: str, last: int | None = None) -> tuple[int, np.ndarray] | None:
        """(index, point) of the newest point of a stream, or of ``last``; None before the first."""
        stream = self._streams.get(name)
        if stream is None:
            return None
        count = _length(stream) if last is None else last + 1
        try:
            return (count - 1, np.asarray(stream[count - 1], float)) if count else None
        except IndexError:  # trimmed
            return None


def _length(stream: Any) -> int:
    """Points of a stream so far."""
    try:
        return len(stream)
    except IndexError:  # trimmed, or not there yet
        return 0
