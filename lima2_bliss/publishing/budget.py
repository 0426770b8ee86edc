"""Keeps what is published within a share of Redis memory: a bucket of bytes that fills up again with time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ByteBudget:
    """``capacity_bytes`` to spend at once, given back evenly over ``window_s``; never more than twice the capacity
    within any window."""

    def __init__(self, capacity_bytes: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity_bytes = capacity_bytes
        self.refill_per_s = capacity_bytes / window_s
        self._clock = clock
        self._left = float(capacity_bytes)
        self._at = clock()
        self._lock = threading.Lock()

    def spend(self, nbytes: int) -> bool:
        """Take ``nbytes``; False (and nothing taken) when they are not there."""
        with self._lock:
            now = self._clock()
            self._left = min(self._left + (now - self._at) * self.refill_per_s, float(self.capacity_bytes))
            self._at = now
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True
