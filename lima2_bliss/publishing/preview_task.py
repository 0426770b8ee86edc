"""The thread that publishes the live image: fetches the newest frame now and then, bins it, writes it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import ConnectionLostError, Lima2Error, NotAvailableError
from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.preview import make_preview
from lima2_bliss.publishing.receiver_reader import RowConnection
from lima2_bliss.publishing.stream_writer import StreamWriter
from lima2_bliss.publishing.streams import StreamDefinition

_log = logging.getLogger(__name__)


class PreviewTask:
    """At most ``preview_rate_hz`` previews, fewer when the byte budget or a full Redis asks for it, and the last frame
    at the end. Its failures are warnings: they never end the publication."""

    def __init__(
        self,
        job: PublishJob,
        connect: Callable[[int], RowConnection],
        newest: Callable[[], int],
        warn: Callable[[str], None],
    ) -> None:
        self._job = job
        self._connect = connect
        self._newest = newest
        self._warn = warn
        targets = job.of_kind("preview", "preview_index")
        self._names = {target.definition.kind: target.definition.name for target in targets}
        self._image: StreamDefinition = next(t.definition for t in targets if t.definition.kind == "preview")
        self._writer = StreamWriter(job.redis_url, targets, job.limits.redis_timeout_s)
        self._budget = ByteBudget(job.budget.preview_bytes, job.budget.window_s)
        self._condition = threading.Condition()
        self._attached = False
        self._last = -1
        self._finishing = False
        self._stopped = False
        self.memory_tight = False
        self.published = 0
        self._thread = threading.Thread(target=self._run, name=f"preview-{job.uuid[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """There is a newer frame."""
        with self._condition:
            self._condition.notify()

    def finish(self, timeout_s: float) -> None:
        """Publish the last frame if it is not yet, and end."""
        with self._condition:
            self._finishing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._warn(f"the last preview did not come within {timeout_s:g} s")
        self.stop()

    def stop(self) -> None:
        """End without a last preview."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; True when it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        connections: dict[int, RowConnection] = {}
        try:
            self._loop(connections)
        except Lima2Error as error:
            self._warn(f"previews ended: {error}")
        except Exception as error:  # noqa: BLE001 - a live image must never end a scan
            _log.exception("%s: previews ended", self._job.uuid)
            self._warn(f"previews ended: {error!r}")
        finally:
            for connection in connections.values():
                connection.__exit__(None, None, None)
            self._writer.close()

    def _loop(self, connections: dict[int, RowConnection]) -> None:
        next_at = 0.0
        while True:
            with self._condition:
                while not (self._stopped or self._finishing):
                    wait_s = next_at - time.monotonic()
                    if wait_s <= 0 and self._newest() > self._last:
                        break
                    self._condition.wait(wait_s if wait_s > 0 else None)
                if self._stopped or (self._finishing and self._newest() <= self._last):
                    return
                last_one = self._finishing
            next_at = time.monotonic() + 1 / self._job.preview_rate_hz
            self._publish_newest(connections)
            if last_one:
                return

    def _publish_newest(self, connections: dict[int, RowConnection]) -> None:
        newest = self._newest()
        self._last = newest
        if self.memory_tight or not self._budget.spend(self._image.nbytes):
            return
        rank, _local = self._job.dispatch().locate(newest)
        if rank not in connections:
            connections[rank] = self._connect(rank)
        try:
            index, frame = self._fetch(connections[rank], newest)
        except NotAvailableError as error:
            _log.debug("%s: no preview of frame %d: %s", self._job.uuid, newest, error)
            return
        image = make_preview(frame[0], self._shape)[np.newaxis]
        try:
            self._write(index, image)
        except ConnectionLostError as error:
            # one preview less; whether Redis comes back is found out by those who write the rows
            _log.warning("%s: preview of frame %d not written: %s", self._job.uuid, index, error)
            self._attached = False

    def _write(self, index: int, image: np.ndarray) -> None:
        if not self._attached:
            self._writer.attach()
            self._attached = True
        # the image alone first: when Redis has no room for it, neither is written
        if self._writer.write({self._names["preview"]: image}).no_memory:
            return
        self.published += 1
        if "preview_index" in self._names:
            self._writer.write({self._names["preview_index"]: np.array([[index]], np.int64)})

    def _fetch(self, connection: RowConnection, newest: int) -> tuple[int, np.ndarray]:
        try:
            return connection.frame(self._job.uuid, self._image.source, newest)
        except NotAvailableError:
            # already overwritten or a hole: take what that receiver has newest
            return connection.frame(self._job.uuid, self._image.source, -1)

    @property
    def positions(self) -> dict[str, int]:
        """Points of its streams."""
        return dict(self._writer.position)

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self._image.shape
        return height, width
