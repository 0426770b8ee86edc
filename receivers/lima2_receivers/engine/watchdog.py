"""Ends what nobody watches: an endless acquisition whose client has died would fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Watchdog:
    """Calls ``bite`` once, from a thread of its own, when `pat` was not called for ``within_s``."""

    def __init__(self, within_s: float, bite: Callable[[], None], name: str) -> None:
        self._within_s = within_s
        self._bite = bite
        self._patted = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}:watchdog", daemon=True)
        self._thread.start()

    def pat(self) -> None:
        """Somebody is there."""
        self._patted = time.monotonic()

    def end(self) -> None:
        """Nothing is to be watched any more; harmless twice. Does not wait for a ``bite`` that has begun."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(max(0.001, self._patted + self._within_s - time.monotonic())):
            if time.monotonic() - self._patted >= self._within_s:
                self._bite()
                return
