"""``acq_state`` for clients that poll: every acquisition is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lima2_bliss.contract import AcqState

#: A client that polls every 50 ms must not miss that a receiver has left IDLE.
MIN_BUSY_S = 0.2


class ShownState:
    """Shows the states it is told; after leaving IDLE it does not show IDLE again before ``min_busy_s``."""

    def __init__(
        self,
        state: AcqState = AcqState.IDLE,
        min_busy_s: float = MIN_BUSY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._min_busy_s = min_busy_s
        self._state = state
        self._last_busy = state
        self._left_idle_at = -min_busy_s + clock()

    def follow(self, state: AcqState) -> None:
        """The state has changed."""
        with self._lock:
            if self._state is AcqState.IDLE and state is not AcqState.IDLE:
                self._left_idle_at = self._clock()
            if state is not AcqState.IDLE:
                self._last_busy = state
            self._state = state

    @property
    def state(self) -> AcqState:
        """The state to show now."""
        with self._lock:
            return self._last_busy if self._state is AcqState.IDLE and self._holding() else self._state

    def _holding(self) -> bool:
        return self._clock() - self._left_idle_at < self._min_busy_s
