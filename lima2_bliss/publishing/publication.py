"""One acquisition being published: a reader thread per receiver, and one thread that merges and writes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, Lima2Error, ProtocolError
from lima2_bliss.contract.records import FRAME_EVENT_STREAM
from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.merger import MergedRows, RowMerger
from lima2_bliss.publishing.preview_task import PreviewTask
from lima2_bliss.publishing.publication_status import FINAL_STATES, PublicationState, PublicationStatus
from lima2_bliss.publishing.receiver_reader import ReceiverReader, RowConnection
from lima2_bliss.publishing.row_writer import RowWriter

_log = logging.getLogger(__name__)

#: Rows of one receiver that may wait in memory before its reader pauses (the receiver's log keeps the rest).
MAX_WAITING_BYTES = 64 << 20
#: Shortest time between two entries of the image stream: it is a status, only the newest counts.
IMAGE_PERIOD_S = 0.01
#: How often time limits are looked at when nothing happens.
_LOOK_S = 0.25
_LAST_PREVIEW_S = 1.5
_MAX_WARNINGS = 20


class Publication:
    """Publishes what ``job`` says from `start` until `finish`, `abort` or an error; see `status`.

    ``connect(rank)`` opens a connection to a receiver (called in the thread that uses it).
    """

    def __init__(self, job: PublishJob, connect: Callable[[int], RowConnection]) -> None:
        self.job = job
        self._merger = RowMerger(job.dispatch(), job.rows_per_frame)
        self._writer = RowWriter(job, self._warn, self._pause, self._memory_given_up)
        self._readers = [ReceiverReader(job, rank, connect, self) for rank in range(len(job.receivers))]
        self._preview = PreviewTask(job, connect, self._newest, self._warn) if job.of_kind("preview") else None
        self._has_image = bool(job.of_kind("image"))
        self._condition = threading.Condition()
        self._fresh: list[tuple[int, dict[str, np.ndarray]]] = []
        self._news = False
        self._statuses: list[PipelineStatus | None] = [None] * len(job.receivers)
        self._ended: dict[int, Lima2Error | None] = {}
        self._error: Lima2Error | None = None
        self._aborted: Lima2Error | None = None
        self._state: PublicationState = "waiting"
        self._revision = 0
        self._rows = 0
        self._complete = False
        self._warnings: list[str] = []
        self._lag_s = 0.0
        self._finish_at: float | None = None
        self._told_saved = 0
        self._progress_at = time.monotonic()
        self._image_sent = (-1, -1)
        self._image_due = 0.0
        self._thread = threading.Thread(target=self._run, name=f"publish-{job.uuid[:8]}", daemon=True)

    # --- from any thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read and write."""
        self._thread.start()
        for reader in self._readers:
            reader.start()
        if self._preview is not None:
            self._preview.start()

    def finish(self, saved: int | None = None) -> None:
        """End once all rows are written; ``saved`` frames of the acquisition can be read from the job's files."""
        with self._condition:
            self._finish_at = self._progress_at = time.monotonic()
            self._told_saved = max(saved or 0, self._told_saved)
            if self._state in ("waiting", "running"):
                self._state = "draining"
                self._revision += 1
            self._notify()

    def abort(self, why: str) -> None:
        """End now; what is written stays."""
        with self._condition:
            if self._aborted is None and not self._over:
                self._aborted = AcquisitionError(f"publishing of {self.job.uuid} was aborted: {why}")
            self._notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of all threads; True when they have ended."""
        until = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        ended = [reader.join(max(until - time.monotonic(), 0.0)) for reader in self._readers]
        if self._preview is not None:
            ended.append(self._preview.join(max(until - time.monotonic(), 0.0)))
        return all(ended) and not self._thread.is_alive()

    def status(self, full: bool = True) -> PublicationStatus:
        """State and counts now; the count of each stream only when ``full``."""
        with self._condition:
            published = self._writer.positions if full else {}
            if full and self._preview is not None:
                published |= self._preview.positions
            return PublicationStatus(
                uuid=self.job.uuid,
                revision=self._revision,
                state=self._state,
                expected=self.job.nb_frames,
                rows=self._rows,
                complete=self._complete,
                received=[self._merger.frames(rank) for rank in range(len(self._readers))],
                waiting=self._merger.waiting_frames,
                last_index_saved=self._image_sent[1],
                previews=0 if self._preview is None else self._preview.published,
                published=published,
                lag_s=round(self._lag_s, 6),
                warnings=list(self._warnings),
                error="" if self._error is None else self._error.to_json(),
            )

    def wait(self, rows: int, timeout_s: float, seen: int = -1) -> PublicationStatus:
        """The (short) status as soon as ``rows`` frames are published or there is an error, or after ``timeout_s``.

        With ``seen`` (a revision) also as soon as state, warnings or error differ from then.
        """

        def reached() -> bool:
            failed = self._over or self._error is not None
            return self._rows >= rows or failed or (seen >= 0 and self._revision > seen)

        with self._condition:
            self._condition.wait_for(reached, timeout_s)
            return self.status(full=False)

    def wait_end(self, timeout_s: float) -> PublicationStatus:
        """The (short) status when the publication has ended, or after ``timeout_s``."""
        with self._condition:
            self._condition.wait_for(lambda: self._over, timeout_s)
            return self.status(full=False)

    # --- from the threads of readers and preview ------------------------------------------------------------------

    def rows_came(self, rank: int, status: PipelineStatus, rows: dict[str, np.ndarray]) -> None:
        """Rows of a receiver, and how it is."""
        with self._condition:
            self._statuses[rank] = status
            if rows:
                self._fresh.append((rank, rows))
            self._notify()

    def receiver_ended(self, rank: int, error: Lima2Error | None) -> None:
        """A receiver has given all its rows, or has failed."""
        if error is not None:
            _log.error("%s: %s", self.job.uuid, error)
        with self._condition:
            self._ended[rank] = error
            self._progress_at = time.monotonic()
            self._fail(error)
            self._notify()

    def wait_for_room(self, rank: int) -> None:
        """Return when further rows of ``rank`` may come."""

        def room() -> bool:
            fresh = sum(chunk.nbytes for who, rows in self._fresh if who == rank for chunk in rows.values())
            return self._over or fresh + self._merger.waiting_bytes(rank) < MAX_WAITING_BYTES

        with self._condition:
            while not room():
                self._condition.wait(_LOOK_S)

    def _newest(self) -> int:
        return self._rows - 1

    def _warn(self, text: str) -> None:
        _log.warning("%s: %s", self.job.uuid, text)
        with self._condition:
            if text not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
                self._warnings.append(text)
                self._revision += 1
                self._condition.notify_all()

    # --- with the lock held ---------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self._state in FINAL_STATES

    def _notify(self) -> None:
        self._news = True
        self._condition.notify_all()

    def _fail(self, error: Lima2Error | None) -> None:
        if error is not None and self._error is None:
            self._error = error
            self._revision += 1

    # --- the writing thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: Lima2Error | None = None
        try:
            self._writer.attach()
            while not self._step():
                pass
            if self._preview is not None:
                self._preview.finish(_LAST_PREVIEW_S)
        except Lima2Error as caught:
            error = caught
            self._last_status()
        except Exception as caught:  # noqa: BLE001 - the session must learn of it, whatever it is
            _log.exception("%s: publishing failed", self.job.uuid)
            error = ProtocolError(f"publishing failed: {caught!r}; see the publisher's log")
        finally:
            for reader in self._readers:
                reader.stop()
            if self._preview is not None:
                self._preview.stop()
            self._writer.close()
        with self._condition:
            self._fail(error)
            self._fresh.clear()
            self._state = "done" if self._error is None else "failed"
            self._revision += 1
            self._notify()

    def _last_status(self) -> None:
        """After an abort the image stream shall still tell how many frames there are; once, if Redis allows."""
        try:
            self._publish_image(last=True)
        except Lima2Error as error:
            _log.warning("%s: last status of the image stream not written: %s", self.job.uuid, error)

    def _step(self) -> bool:
        """Write what there is; True when all is done."""
        merged = self._next_rows()
        if merged is not None:
            self._publish(merged)
        self._writer.check_memory()
        if self._preview is not None:
            self._preview.memory_tight = self._writer.memory_tight
        ended = self._look_at_end()
        self._publish_image(last=ended)
        return ended

    def _next_rows(self) -> MergedRows | None:
        with self._condition:
            self._condition.wait_for(lambda: self._news, self._patience_s())
            self._news = False
            if self._aborted is not None:
                raise self._aborted
            for rank, rows in self._fresh:
                self._merger.add(rank, rows)
            self._fresh.clear()
            merged = self._merger.take(self._writer.max_frames)
            if merged is not None and self._merger.contiguous > self._merger.merged:
                self._news = True
            return merged

    def _patience_s(self) -> float:
        if self._image_status() == self._image_sent:
            return _LOOK_S
        return min(max(self._image_due - time.monotonic(), 0.0), _LOOK_S)

    def _publish(self, merged: MergedRows) -> None:
        status = self._image_status(merged.first + merged.count)
        due = self._has_image and time.monotonic() >= self._image_due
        self._writer.write_rows(merged, _entry(status) if due else None)
        if self._writer.truncated:
            return
        if due:
            self._image_was_sent(status)
        last_ns = int(merged.rows[FRAME_EVENT_STREAM]["received_ns"][-1, 0]) if FRAME_EVENT_STREAM in merged.rows else 0
        with self._condition:
            self._rows = merged.first + merged.count
            self._progress_at = time.monotonic()
            self._lag_s = time.time() - last_ns / 1e9 if last_ns else 0.0
            if self._state == "waiting":
                self._state = "running"
                self._revision += 1
            self._condition.notify_all()
        if self._preview is not None:
            self._preview.nudge()

    def _image_status(self, rows: int | None = None) -> tuple[int, int]:
        """(last_index, last_index_saved) over the scan."""
        rows = self._rows if rows is None else rows
        saved = 0
        status = self._statuses[0]
        if self.job.saved == "receiver_files" and status is not None:
            saved = status.saved_contiguous
        elif self.job.saved == "master":
            saved = self._told_saved
        return self.job.first_frame + rows - 1, self.job.first_frame + min(saved, rows) - 1

    def _publish_image(self, last: bool) -> None:
        status = self._image_status()
        if self._has_image and status != self._image_sent and (last or time.monotonic() >= self._image_due):
            self._writer.write_image(_entry(status))
            self._image_was_sent(status)

    def _image_was_sent(self, status: tuple[int, int]) -> None:
        self._image_sent = status
        self._image_due = time.monotonic() + IMAGE_PERIOD_S

    def _look_at_end(self) -> bool:
        with self._condition:
            if self._writer.truncated:
                return True
            if self._news:
                return False
            limit = min((self._merger.limit(rank) for rank in self._ended), default=None)
            merged = self._merger.merged
            if (limit is not None and merged >= limit) or (self.job.nb_frames and merged >= self.job.nb_frames):
                if not self._complete:
                    self._complete = True
                    self._condition.notify_all()
                if self._error is None and self._finish_at is None:
                    return False
                beyond = self._merger.waiting_frames
                if self._error is None and beyond:
                    self._warn(f"rows of {beyond} frames beyond the common end (frame {merged}) are not published")
                return True
            if self._error is None and self._finish_at is None:
                return False
            if time.monotonic() - self._progress_at < self.job.limits.drain_timeout_s:
                return False
            self._fail(self._owing())
            return True

    def _owing(self) -> Lima2Error:
        names = [address.name for rank, address in enumerate(self.job.receivers) if rank not in self._ended]
        return DeviceTimeoutError(
            f"no rows for {self.job.limits.drain_timeout_s:g} s after the end, but {', '.join(names)} did not finish; "
            f"{self._rows} frames are published",
            receivers=", ".join(names),
        )

    def _pause(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._aborted is not None, seconds)
            if self._aborted is not None:
                raise self._aborted

    def _memory_given_up(self) -> bool:
        since = self._finish_at
        return since is not None and time.monotonic() - since > self.job.limits.memory_timeout_s


def _entry(status: tuple[int, int]) -> dict[str, int]:
    return {"last_index": status[0], "last_index_saved": status[1]}
