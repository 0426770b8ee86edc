"""One long piece of work at a time beside the commands, and how it is doing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from lima2_bliss.contract import Lima2Error, StateError

log = logging.getLogger(__name__)


class BackgroundWork:
    """Runs functions in a thread, one after the other. `state` says how the last one did, as plain values for JSON."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._state: dict[str, Any] = {"state": "idle", "error": ""}

    def start(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Begin; what ``work`` returns becomes part of the state. `StateError` while another one runs."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise StateError(f"{self._state['work']} is still at work; look at calibrate_state until it is done")
            self._state = {"state": "running", "work": name, "error": ""}
            self._thread = threading.Thread(target=self._run, args=(name, work), name=f"jungfrau-{name}", daemon=True)
            self._thread.start()

    def _run(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        try:
            self._state = {"state": "done", "work": name, "error": "", **work()}
        except Exception as error:
            if not isinstance(error, Lima2Error):
                log.exception("%s failed", name)
            self._state = {"state": "failed", "work": name, "error": str(error) or repr(error)}

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """The state when the work is done, or after the time."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self.state

    @property
    def state(self) -> dict[str, Any]:
        """``state`` (`idle`, `running`, `done`, `failed`), ``work``, ``error``, and what the work gave."""
        return dict(self._state)
