"""Running a source: its thread, its end in time, and what its exception means."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lima2_bliss.contract import DeviceTimeoutError, Lima2Error
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.engine.plugin import Source

logger = logging.getLogger(__name__)


class SourceRunner:
    """Runs ``source`` for one acquisition after the other; ``on_ended`` is called when it has returned."""

    def __init__(self, receiver: str, source: Source, stop_timeout_s: float, on_ended: Callable[[], None]) -> None:
        self._receiver = receiver
        self._source = source
        self._stop_timeout_s = stop_timeout_s
        self._on_ended = on_ended
        self._lock = threading.Lock()
        self._run: PipelineRun | None = None  # the one that receives now
        self._thread: threading.Thread | None = None
        self._watch: threading.Timer | None = None

    def start(self, run: PipelineRun) -> None:
        """Receive for ``run`` in a thread of its own."""
        self._run = run
        name = f"{self._receiver}:{run.uuid[:8]}:source"
        self._thread = threading.Thread(target=self._receive, args=(run,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the source to end at its cut; an error of the acquisition if it has not ended in time."""
        with self._lock:
            run = self._run
            if run is None:
                return
            if self._watch is None:
                self._watch = threading.Timer(self._stop_timeout_s, self._overdue, (run,))
                self._watch.name = f"{self._receiver}:{run.uuid[:8]}:stop-watch"
                self._watch.daemon = True
                self._watch.start()
        self._source.stop()

    def stop_soon(self) -> None:
        """Ask the source to end because its acquisition failed; from any thread, never raises."""
        if self._run is None or threading.current_thread() is self._thread:
            return
        try:
            self._source.stop()
        except Exception:
            logger.exception("%s: the source could not be stopped", self._receiver)

    def end(self, error: Lima2Error, timeout_s: float) -> None:
        """Abort the acquisition that receives, if any, and wait until the source has returned.

        One that has all its frames, and only waits for its source to return, goes on.
        """
        with self._lock:
            run, thread = self._run, self._thread
        if run is not None:
            if not run.has_all:
                run.abort(error)
            self._source.stop()
        if thread is not None:
            thread.join(timeout_s)
            if thread.is_alive():
                raise DeviceTimeoutError(
                    f"receiver {self._receiver}: its source did not end within {timeout_s:g} s; "
                    "reset again or restart the receiver process"
                )

    def _receive(self, run: PipelineRun) -> None:
        try:
            self._source.run(run)
            run.close_input()
        except BaseException as error:  # noqa: BLE001  whatever the source raises ends in FAULT
            run.fail(error)
        with self._lock:
            self._run = None
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        self._on_ended()

    def _overdue(self, run: PipelineRun) -> None:
        if self._run is run:
            run.fail(DeviceTimeoutError(f"the source did not end within {self._stop_timeout_s:g} s after Stop"))
