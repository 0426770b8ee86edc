"""Telling others of changes: subscribers that are called, and waiters that look again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Changes:
    """Subscribers to changes of one thing; calling them is cheap, and a failing one harms nobody."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._subscribers: tuple[Callable[[], None], ...] = ()
        self._complained = False

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every change, from any thread; returns the unsubscribe function (harmless twice)."""
        with self._lock:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(other for other in self._subscribers if other is not callback)

        return unsubscribe

    def tell(self) -> None:
        """There was a change."""
        for callback in self._subscribers:
            try:
                callback()
            except Exception:
                if not self._complained:  # once: it would repeat with every frame
                    logger.exception("%s: a subscriber failed (said only once)", self._owner)
                self._complained = True
