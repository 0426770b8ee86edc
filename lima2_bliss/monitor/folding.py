"""Folds the rows of a detector's streams into its view: strip charts, hits, best frames, rates, histogram of spots."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from lima2_bliss.contract import FrameFlags
from lima2_bliss.monitor.model import Alarm, Bars, DetectorView, Geometry, Hit
from lima2_bliss.monitor.series import Series
from lima2_bliss.publishing.common_streams import FRAME_FLAGS, TIMESTAMP
from lima2_bliss.publishing.smx_streams import HIT_RATE, IS_HIT, NB_PEAKS

#: Hits and best frames kept.
MOST_HITS = 500
MOST_BEST = 50
#: ROIs that get a chart.
MOST_ROIS = 8
_BINS = 60
#: A frame rate is told over at least this time [s].
_PACE_S = 0.25
_ARRIVALS_S = 0.5
_LOST = int(FrameFlags.LOST | FrameFlags.OVERRUN)
_BAD = int(FrameFlags.INCOMPLETE | FrameFlags.FAILED)


class Fold:
    """Takes rows of streams in order and keeps a view up to date; one thread.

    ``clock`` gives seconds since 1970. Without ``timestamped``, there are no times of frames: then they have the time
    when their rows come, as long as the scan runs. Streams may come at different paces: what needs two of them waits
    for both.
    """

    def __init__(self, view: DetectorView, clock: Callable[[], float] = time.time, *, timestamped: bool = True) -> None:
        self._view = view
        self._clock = clock
        self._ends: dict[str, int] = {}
        self._waiting: dict[str, list[np.ndarray]] = {NB_PEAKS: [], IS_HIT: []}
        self._folded = 0
        self._hits: deque[Hit] = deque(maxlen=MOST_HITS)
        self._best: list[tuple[int, int]] = []
        self._lost = self._bad = 0
        self._time: float | None = None
        self._timestamped = timestamped
        self._arrived: tuple[float, int] | None = None
        self._piece: tuple[int, float] | None = None
        self._spots: dict[str, list[np.ndarray]] = {"spots_y": [], "spots_x": []}
        self._histogram = np.zeros(_BINS, np.int64)

    @staticmethod
    def wanted(names: set[str]) -> list[str]:
        """Of a detector's streams those that `take` has a use for."""
        rois = sorted(name for name in names if name.endswith("_sum"))[:MOST_ROIS]
        alone = [name for name in (HIT_RATE, FRAME_FLAGS, TIMESTAMP) if name in names]
        pairs = [pair for pair in ((NB_PEAKS, IS_HIT), ("spots_y", "spots_x")) if names.issuperset(pair)]
        return [*alone, *(name for pair in pairs for name in pair), *rois]

    def take(self, rows: Mapping[str, np.ndarray]) -> None:
        """The next rows of some streams, by name."""
        for name, values in rows.items():
            first = self._ends.get(name, 0)
            self._ends[name] = first + len(values)
            if name in self._waiting:
                self._waiting[name].append(values.reshape(-1))
            elif name in self._spots:
                self._spots[name].append(values.reshape(-1))
            elif name == TIMESTAMP:
                self._times(first, values)
            elif name == FRAME_FLAGS:
                self._flags(values)
            else:
                self._series(name).add(first, values)
        self._fold_hits()
        self._fold_spots()
        frames = [end for name, end in self._ends.items() if name not in self._spots]
        self._view.frames = max(self._view.frames, *frames, 0)
        if rows:
            self._view.revision += 1

    def _series(self, name: str) -> Series:
        series = self._view.series.get(name)
        if series is None:
            series = Series()
            self._view.series = {**self._view.series, name: series}
        return series

    def level(self, index: int, value: float) -> None:
        """Mean background of a frame, not before the last one given."""
        self._series("background_level").add(index, np.array([value]))

    def _times(self, first: int, times: np.ndarray) -> None:
        """Frame rate over each batch, and how old its newest frame is when it comes."""
        good = times[np.isfinite(times)]
        if not len(good):
            return
        self._pace(first, np.fmax.accumulate(np.where(np.isfinite(times), times, good[0])))
        self._time = float(good[-1])
        self._view.times.add(first, times)
        if self._view.scan.state == "running":
            age = (self._clock() - self._time) * 1e3
            self._series("latency").add(first + len(times) - 1, np.array([age]))

    def _pace(self, first: int, times: np.ndarray) -> None:
        """Frame rate over each piece of at least `_PACE_S`; times of several receivers are not quite in step."""
        start, begin = self._piece if self._piece is not None else (first, float(times[0]))
        while (place := int(np.searchsorted(times, begin + _PACE_S))) < len(times):
            end, now = first + place, float(times[place])
            self._series("frame_rate").add(start, np.full(end - start, (end - start) / (now - begin)))
            start, begin = end, now
        self._piece = (start, begin)

    def arrived(self, frames: int) -> None:
        """So many frames are there by now: frame rate, where frames have no times of their own.

        Those of the first time may have been there for long.
        """
        if self._timestamped or self._view.scan.state != "running":
            return
        now = self._clock()
        if self._arrived is None:
            self._arrived = now, frames
        before, first = self._arrived
        if frames > first and now - before >= _ARRIVALS_S:
            self._arrived = now, frames
            self._series("frame_rate").add(first, np.full(frames - first, (frames - first) / (now - before)))
            self._view.times.add(first, np.linspace(before, now, frames - first, endpoint=False))

    def _flags(self, flags: np.ndarray) -> None:
        self._lost += int(np.count_nonzero(flags & _LOST))
        self._bad += int(np.count_nonzero(flags & _BAD))

    def alarms(self) -> tuple[Alarm, ...]:
        """What frames tell: lost and damaged ones."""
        alarms = []
        if self._lost:
            alarms.append(Alarm("bad", f"{self._lost} frames lost"))
        if self._bad:
            alarms.append(Alarm("warn", f"{self._bad} frames incomplete or not processed"))
        return tuple(alarms)

    def _fold_hits(self) -> None:
        peaks, flags = (np.concatenate(parts) if parts else np.empty(0) for parts in self._waiting.values())
        both = min(len(peaks), len(flags))
        if not both:
            return
        self._waiting = {NB_PEAKS: [peaks[both:]], IS_HIT: [flags[both:]]}
        peaks, hit = peaks[:both], flags[:both] > 0
        self._series(NB_PEAKS).add(self._folded, np.where(hit, peaks, np.nan))
        found = np.flatnonzero(hit)
        if len(found):
            hits = [(int(self._folded + i), int(peaks[i])) for i in found[-MOST_HITS:]]
            self._hits.extend(hits)
            self._view.hits = tuple(reversed(self._hits))
            self._view.newest_hit = hits[-1][0]
            top = found[np.argsort(-peaks[found], kind="stable")[:MOST_BEST]]
            self._best = heapq.nlargest(
                MOST_BEST, [*self._best, *((int(peaks[i]), -int(self._folded + i)) for i in top)]
            )
            self._view.best = tuple((-place, spots) for spots, place in self._best)
        self._folded += both

    def _fold_spots(self) -> None:
        ys, xs = (np.concatenate(parts) if parts else np.empty(0) for parts in self._spots.values())
        both = min(len(ys), len(xs))
        where = self._view.geometry
        if not both:
            return
        self._spots = {"spots_y": [ys[both:]], "spots_x": [xs[both:]]}
        if where is None:
            return
        inverse = inverse_spacing(ys[:both], xs[:both], where)
        self._histogram += np.histogram(inverse, bins=_BINS, range=(0, _widest(where)))[0]
        centres = (np.arange(_BINS) + 0.5) * (_widest(where) / _BINS)
        self._view.resolution = Bars(centres, self._histogram.copy(), "1/d [1/nm]")


def inverse_spacing(y: np.ndarray, x: np.ndarray, where: Geometry) -> np.ndarray:
    """1/d [1/nm] of places on the detector [px]: 2 sin(theta) / wavelength, with 2 theta the angle to the beam."""
    radius = np.hypot(y - where.beam_y, x - where.beam_x) * where.pixel_m
    sine: np.ndarray = np.sin(np.arctan(radius / where.distance_m) / 2)
    return 2 * sine / where.wavelength_nm


def _widest(where: Geometry) -> float:
    """Highest 1/d that is shown: of twice the angle of 45 degrees at most."""
    return float(2 * np.sin(np.pi / 8) / where.wavelength_nm)
