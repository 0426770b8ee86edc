"""How fast images come, seen from their number told now and then."""

from __future__ import annotations

import time
from collections import deque

#: Told more often than this is not kept [s].
_STEP_S = 0.2


class ImageRate:
    """Rate of an acquisition's images: now, over the last ``window_s``, and over all of it."""

    def __init__(self, window_s: float = 4.0) -> None:
        self._window_s = window_s
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None
        self._kept: deque[tuple[float, int]] = deque(maxlen=int(window_s / _STEP_S) + 2)

    def note(self, images: int, at: float | None = None) -> None:
        """So many images are there ``at`` this time [s, monotonic]; now, if it is not given."""
        if images < 1 or (self._last is not None and images <= self._last[1]):
            return
        point = (time.monotonic() if at is None else at, images)
        self._last = point
        if self._first is None:
            self._first = point
        if not self._kept or point[0] - self._kept[-1][0] >= _STEP_S:
            self._kept.append(point)

    @property
    def duration_s(self) -> float:
        """Time from the first image to the last [s]."""
        return 0.0 if self._first is None or self._last is None else self._last[0] - self._first[0]

    @property
    def mean(self) -> float | None:
        """Images per second from the first one to the last; None while there is nothing to tell it from."""
        return _rate(self._first, self._last)

    def present(self, now: float | None = None) -> float | None:
        """Images per second lately; it falls while none come. None before the second one."""
        if self._last is None:
            return None
        now = time.monotonic() if now is None else now
        recent = [point for point in self._kept if point[0] >= now - self._window_s]
        # images may be further apart than the window is long: then the last two count
        start = recent[0] if recent else self._kept[-1]
        if start[1] == self._last[1] and len(self._kept) > 1:
            start = self._kept[-2]
        rate = _rate(start, self._last)
        if rate is None:
            return None
        if now - self._last[0] > 2 / rate + _STEP_S:
            return _rate(start, (now, self._last[1]))  # overdue
        return rate if self._last[0] - start[0] >= _STEP_S else None  # too soon to tell


def _rate(start: tuple[float, int] | None, end: tuple[float, int] | None) -> float | None:
    if start is None or end is None or end[0] <= start[0]:
        return None
    return (end[1] - start[1]) / (end[0] - start[0])
