"""How an acquisition ends: once, with or without an error, told to whoever asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lima2_bliss.contract import Lima2Error

logger = logging.getLogger(__name__)


class RunEnding:
    """The error that ends an acquisition (the first one counts), and its end when all is done."""

    def __init__(self, owner: str) -> None:
        self.finished = threading.Event()
        self.error: Lima2Error | None = None
        self._owner = owner
        self._lock = threading.Lock()
        self._finish_callbacks: list[Callable[[], None]] = []
        self._error_callbacks: list[Callable[[Lima2Error], None]] = []

    def on_finished(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once at the end (at once if that was already)."""
        with self._lock:
            if not self.finished.is_set():
                self._finish_callbacks.append(callback)
                return
        callback()

    def on_error(self, callback: Callable[[Lima2Error], None]) -> None:
        """Call ``callback`` once with the error, if there is one (at once if there already is)."""
        with self._lock:
            error = self.error
            if error is None:
                self._error_callbacks.append(callback)
                return
        callback(error)

    def set_error(self, error: Lima2Error) -> None:
        """The acquisition has failed; a later error changes nothing."""
        with self._lock:
            if self.error is not None:
                return
            self.error = error
            callbacks, self._error_callbacks = self._error_callbacks, []
        for callback in callbacks:
            self._call(callback, error)

    def set_finished(self) -> None:
        """All is done."""
        with self._lock:
            self.finished.set()
            callbacks, self._finish_callbacks = self._finish_callbacks, []
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable, *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception:
            logger.exception("%s: a callback failed", self._owner)
