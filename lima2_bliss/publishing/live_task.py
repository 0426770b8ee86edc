"""A thread that publishes images now and then, beside the rows: never in their way, never the end of a scan."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from lima2_bliss.contract import ConnectionLostError, Lima2Error
from lima2_bliss.publishing.job import PublishJob, StreamTarget
from lima2_bliss.publishing.receiver_reader import RowConnection
from lima2_bliss.publishing.stream_writer import StreamWriter

_log = logging.getLogger(__name__)


class LiveTask(ABC):
    """Calls `_publish` while `_has_news`, at most every ``period_s``, and once more at the end. Its failures are
    warnings. ``connect(rank)`` opens a connection to a receiver; ``what`` names the images in warnings."""

    def __init__(
        self,
        job: PublishJob,
        targets: Sequence[StreamTarget],
        connect: Callable[[int], RowConnection],
        warn: Callable[[str], None],
        period_s: float,
        what: str,
    ) -> None:
        self._job = job
        self._connect = connect
        self._warn = warn
        self._period_s = period_s
        self._what = what
        self._writer = StreamWriter(job.redis_url, targets, job.limits.redis_timeout_s)
        self._attached = False
        self._connections: dict[int, RowConnection] = {}
        self._condition = threading.Condition()
        self._finishing = False
        self._stopped = False
        self.memory_tight = False
        self.published = 0
        self._thread = threading.Thread(target=self._run, name=f"{what}-{job.uuid[:8]}", daemon=True)

    @abstractmethod
    def _has_news(self) -> bool:
        """True when there is something to publish."""

    @abstractmethod
    def _publish(self, last: bool) -> None:
        """Fetch and write what is newest; ``last``: nothing follows."""

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """There may be news."""
        with self._condition:
            self._condition.notify()

    def finish(self, timeout_s: float) -> None:
        """Publish the last image if it is not yet, and end."""
        with self._condition:
            self._finishing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._warn(f"the last {self._what} did not come within {timeout_s:g} s")
        self.stop()

    def stop(self) -> None:
        """End without a last image."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; True when it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def positions(self) -> dict[str, int]:
        """Points of its streams."""
        return dict(self._writer.position)

    def _run(self) -> None:
        try:
            self._loop()
        except Lima2Error as error:
            self._warn(f"{self._what} ended: {error}")
        except Exception as error:  # noqa: BLE001 - a live image must never end a scan
            _log.exception("%s: %s ended", self._job.uuid, self._what)
            self._warn(f"{self._what} ended: {error!r}")
        finally:
            for connection in self._connections.values():
                connection.__exit__(None, None, None)
            self._writer.close()

    def _loop(self) -> None:
        next_at = 0.0
        while True:
            with self._condition:
                while not (self._stopped or self._finishing):
                    wait_s = next_at - time.monotonic()
                    if wait_s <= 0 and self._has_news():
                        break
                    self._condition.wait(wait_s if wait_s > 0 else None)
                if self._stopped or (self._finishing and not self._has_news()):
                    return
                last = self._finishing
            began = time.monotonic()
            try:
                self._publish(last)
            except ConnectionLostError as error:
                if not self._redis_is_gone(error):
                    raise
            if last:
                return
            # large images: at most a fifth of the time
            next_at = began + max(self._period_s, 5 * (time.monotonic() - began))

    def _redis_is_gone(self, error: ConnectionLostError) -> bool:
        # one image less; whether Redis comes back is found out by those who write the rows
        gone = "url" in error.errinfo
        if gone:
            _log.warning("%s: %s not written: %s", self._job.uuid, self._what, error)
            self._attached = False
        return gone

    def _receiver(self, rank: int) -> RowConnection:
        if rank not in self._connections:
            self._connections[rank] = self._connect(rank)
        return self._connections[rank]

    def _write(self, name: str, point: np.ndarray) -> bool:
        """Write one point; False when Redis has no room for it."""
        if not self._attached:
            self._writer.attach()
            self._attached = True
        return not self._writer.write({name: point[np.newaxis]}).no_memory
