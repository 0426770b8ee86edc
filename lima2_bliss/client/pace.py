"""How soon the end of an acquisition may come, told from how fast frames come."""

from __future__ import annotations

import time


class Pace:
    """Says how long a follower may rest until ``target`` frames: no need to ask often while that is far."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] = (0.0, 0)

    def note(self, count: int) -> None:
        self._last = (time.monotonic(), count)
        if self._first is None:
            self._first = self._last

    def hold_s(self) -> float:
        """A quarter of the time that is left at the present rate; a short while when nothing is known."""
        assert self._first is not None
        elapsed, done = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if not self._target or elapsed <= 0 or done <= 0:
            return 0.002
        return max(0.0, (self._target - self._last[1]) * elapsed / done / 4)
