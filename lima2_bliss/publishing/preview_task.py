"""Publishes the live image: fetches the newest frame now and then, bins it, writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.live_task import LiveTask
from lima2_bliss.publishing.preview import make_preview
from lima2_bliss.publishing.receiver_reader import RowConnection
from lima2_bliss.publishing.stream_definition import StreamDefinition

_log = logging.getLogger(__name__)


class PreviewTask(LiveTask):
    """At most ``preview_rate_hz`` previews, fewer when the byte budget or a full Redis asks for it, and the last frame
    at the end. ``newest()`` is the index of the newest frame, -1 for none."""

    def __init__(
        self,
        job: PublishJob,
        connect: Callable[[int], RowConnection],
        newest: Callable[[], int],
        warn: Callable[[str], None],
    ) -> None:
        targets = job.of_kind("preview", "preview_index")
        super().__init__(job, targets, connect, warn, 1 / job.preview_rate_hz, "preview")
        self._newest = newest
        self._names = {target.definition.kind: target.definition.name for target in targets}
        self._image: StreamDefinition = next(t.definition for t in targets if t.definition.kind == "preview")
        self._budget = ByteBudget(job.budget.preview_bytes, job.budget.window_s)
        self._last = -1

    def _has_news(self) -> bool:
        return self._newest() > self._last

    def _publish(self, last: bool) -> None:
        newest = self._newest()
        self._last = newest
        if self.memory_tight or not self._budget.spend(self._image.nbytes):
            return
        rank, _local = self._job.dispatch().locate(newest)
        try:
            index, frame = self._fetch(self._receiver(rank), newest)
        except NotAvailableError as error:
            _log.debug("%s: no preview of frame %d: %s", self._job.uuid, newest, error)
            return
        height, width = self._image.shape
        # the image alone first: when Redis has no room for it, neither is written
        if not self._write(self._names["preview"], make_preview(frame[0], (height, width))):
            return
        self.published += 1
        if "preview_index" in self._names:
            self._write(self._names["preview_index"], np.array([index], np.int64))

    def _fetch(self, connection: RowConnection, newest: int) -> tuple[int, np.ndarray]:
        try:
            return connection.frame(self._job.uuid, self._image.source, newest)
        except NotAvailableError:
            # already overwritten or a hole: take what that receiver has newest
            return connection.frame(self._job.uuid, self._image.source, -1)
