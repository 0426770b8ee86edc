"""What the image stream says: how many frames there are, and how many of them are in files."""

from __future__ import annotations

import time

from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.publishing.job import PublishJob

#: Shortest time between two entries of the image stream: it is a status, only the newest counts.
IMAGE_PERIOD_S = 0.01


class ImageProgress:
    """Entries ``{"last_index", "last_index_saved"}`` over the scan, each written once and not too often."""

    def __init__(self, job: PublishJob) -> None:
        self._job = job
        images = job.of_kind("image")
        self._source = images[0].definition.source if images else ""
        self._has_image = bool(images)
        self._sent = (-1, -1)
        self._due = 0.0
        #: Frames of the acquisition that `finish` said to be in files.
        self.told_saved = 0

    @property
    def last_index_saved(self) -> int:
        """The one written last; -1 before."""
        return self._sent[1]

    def wait_s(self, rows: int, receiver: PipelineStatus | None, longest_s: float) -> float:
        """How long until an entry has to be written, if nothing else happens."""
        if self._status(rows, receiver) == self._sent:
            return longest_s
        return min(max(self._due - time.monotonic(), 0.0), longest_s)

    def next_entry(self, rows: int, receiver: PipelineStatus | None, last: bool = False) -> dict[str, int] | None:
        """The entry to write with ``rows`` frames published; None when it is too early or says nothing new."""
        status = self._status(rows, receiver)
        if not self._has_image or status == self._sent or not (last or time.monotonic() >= self._due):
            return None
        return {"last_index": status[0], "last_index_saved": status[1]}

    def written(self, entry: dict[str, int]) -> None:
        """``entry`` is in Redis."""
        self._sent = (entry["last_index"], entry["last_index_saved"])
        self._due = time.monotonic() + IMAGE_PERIOD_S

    def _status(self, rows: int, receiver: PipelineStatus | None) -> tuple[int, int]:
        saved = 0
        if self._job.saved == "receiver_files" and receiver is not None:
            source = receiver.sources.get(self._source)
            saved = receiver.saved_contiguous if source is None else source.saved_contiguous
        elif self._job.saved == "master":
            saved = self.told_saved
        first = self._job.first_frame
        return first + rows - 1, first + min(saved, rows) - 1
