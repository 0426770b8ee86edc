"""Publishes the accumulated images: the newest hand-out of every receiver, binned and put together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.publishing.accumulated import BinnedImage, merged_mean, merged_sum
from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.live_task import LiveTask
from lima2_bliss.publishing.receiver_reader import RowConnection
from lima2_bliss.publishing.stream_definition import StreamDefinition

_log = logging.getLogger(__name__)

#: Shortest time between two images of one stream.
PERIOD_S = 1.0


class AccumulatedTask(LiveTask):
    """About one image a second of each accumulated stream, fewer when the byte budget or a full Redis asks for it, and
    the last hand-outs at the end. ``newest(source)`` is, for each receiver, the index of its newest image; -1: none."""

    def __init__(
        self,
        job: PublishJob,
        connect: Callable[[int], RowConnection],
        newest: Callable[[str], list[int]],
        warn: Callable[[str], None],
        period_s: float = PERIOD_S,
    ) -> None:
        targets = job.of_kind("accumulated")
        super().__init__(job, targets, connect, warn, period_s, "accumulated image")
        self._newest = newest
        self._definitions = [target.definition for target in targets]
        self._budget = ByteBudget(job.budget.accumulated_bytes, job.budget.window_s)
        nb_receivers = len(job.receivers)
        #: Indices of the images that were looked at, and what of them was fetched, by source.
        self._seen = {definition.source: [-1] * nb_receivers for definition in self._definitions}
        self._parts: dict[str, dict[int, BinnedImage]] = {definition.source: {} for definition in self._definitions}

    def _has_news(self) -> bool:
        return any(self._newest(source) != seen for source, seen in self._seen.items())

    def _publish(self, last: bool) -> None:
        for definition in self._definitions:
            newest = self._newest(definition.source)
            if newest == self._seen[definition.source] or self.memory_tight:
                continue
            if not self._budget.spend(definition.nbytes) and not last:
                continue
            self._fetch(definition, newest)
            parts = list(self._parts[definition.source].values())
            merged = merged_sum if definition.merge == "sum" else merged_mean
            if parts and self._write(definition.name, np.asarray(merged(parts), definition.dtype)):
                self.published += 1

    def _fetch(self, definition: StreamDefinition, newest: list[int]) -> None:
        """What each receiver has newer than what was fetched before. Only bins are kept, not the images."""
        seen, parts = self._seen[definition.source], self._parts[definition.source]
        height, width = definition.shape
        for rank, index in enumerate(newest):
            if index == seen[rank]:
                continue
            try:
                last_frame, image = self._receiver(rank).frame(self._job.uuid, definition.source, -1)
            except NotAvailableError as error:
                _log.debug("%s: no %s of receiver %d: %s", self._job.uuid, definition.source, rank, error)
            else:
                frames = self._job.dispatch().locate(last_frame)[1] + 1
                parts[rank] = BinnedImage.of(image[0], (height, width), frames)
            seen[rank] = index
