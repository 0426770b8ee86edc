"""When the next frame is due: evenly, and after a delay only a bounded number of frames in a hurry."""

from __future__ import annotations


class Pace:
    """Times of frames ``period_s`` apart, 0 for as fast as possible.

    A frame may be sent late; those after it are then sent faster until the schedule is met again. Never more than
    ``max_behind_s`` is made up for: the rest moves the schedule, and is summed up in ``slipped_s``.
    """

    def __init__(self, period_s: float, max_behind_s: float = 0.1) -> None:
        self.slipped_s = 0.0
        self._period_s = period_s
        self._max_behind_s = max_behind_s
        self._due_s = 0.0

    def begin(self, now_s: float) -> None:
        """The next frame is due now, and the schedule begins with it."""
        self._due_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Time until the next frame is due; not above 0 when it is."""
        if not self._period_s:
            return 0.0
        behind = now_s - self._due_s - self._max_behind_s
        if behind > 0:
            self.slipped_s += behind
            self._due_s += behind
        return self._due_s - now_s

    def sent(self) -> None:
        """The frame that was due is sent."""
        self._due_s += self._period_s
