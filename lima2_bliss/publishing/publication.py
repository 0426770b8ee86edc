"""One acquisition being published: a reader thread per receiver, and one thread that merges and writes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

import numpy as np

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, Lima2Error, ProtocolError
from lima2_bliss.contract.records import FRAME_EVENT_STREAM
from lima2_bliss.contract.wire import PipelineStatus
from lima2_bliss.publishing.accumulated_task import AccumulatedTask
from lima2_bliss.publishing.image_progress import ImageProgress
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.live_task import LiveTask
from lima2_bliss.publishing.merger import MergedRows, RowMerger
from lima2_bliss.publishing.preview_task import PreviewTask
from lima2_bliss.publishing.publication_status import FINAL_STATES, PublicationState, PublicationStatus
from lima2_bliss.publishing.receiver_reader import ReceiverReader, RowConnection
from lima2_bliss.publishing.row_writer import RowWriter

_log = logging.getLogger(__name__)

#: Rows of one receiver that may wait in memory before its reader pauses (the receiver's log keeps the rest).
MAX_WAITING_BYTES = 64 << 20
#: How often time limits are looked at when nothing happens.
_LOOK_S = 0.25
_LAST_IMAGES_S = 1.5
_MAX_WARNINGS = 20


class Publication:
    """Publishes what ``job`` says from `start` until `finish`, `abort` or an error; see `status`.

    ``connect(rank)`` opens a connection to a receiver (called in the thread that uses it). ``given_up`` are keys of
    streams that earlier acquisitions of the scan gave up.
    """

    def __init__(
        self, job: PublishJob, connect: Callable[[int], RowConnection], given_up: set[str] | None = None
    ) -> None:
        self.job = job
        self._merger = RowMerger(job.dispatch(), *job.rows_to_read())
        self._optional = job.optional_rows()
        given_up = set() if given_up is None else given_up
        self._writer = RowWriter(job, self._warn, self._pause, self._memory_given_up, given_up)
        self._readers = [ReceiverReader(job, rank, connect, self) for rank in range(len(job.receivers))]
        self._live: list[LiveTask] = []
        if job.of_kind("preview"):
            self._live.append(PreviewTask(job, connect, self._newest, self._warn))
        if job.of_kind("accumulated"):
            self._live.append(AccumulatedTask(job, connect, self._newest_of, self._warn))
        self._image = ImageProgress(job)
        self._condition = threading.Condition()
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
        self._progress_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"publish-{job.uuid[:8]}", daemon=True)

    # --- from any thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read and write."""
        self._thread.start()
        for reader in self._readers:
            reader.start()
        for task in self._live:
            task.start()

    def finish(self, saved: int | None = None) -> None:
        """End once all rows are written; ``saved`` frames of the acquisition can be read from the job's files."""
        with self._condition:
            self._finish_at = self._progress_at = time.monotonic()
            self._image.told_saved = max(saved or 0, self._image.told_saved)
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
        ended += [task.join(max(until - time.monotonic(), 0.0)) for task in self._live]
        return all(ended) and not self._thread.is_alive()

    def status(self, full: bool = True) -> PublicationStatus:
        """State and counts now; the count of each stream only when ``full``."""
        with self._condition:
            published = self._writer.positions if full else {}
            for task in self._live if full else ():
                published |= task.positions
            return PublicationStatus(
                uuid=self.job.uuid,
                revision=self._revision,
                state=self._state,
                expected=self.job.nb_frames,
                rows=self._rows,
                complete=self._complete,
                received=[self._merger.frames(rank) for rank in range(len(self._readers))],
                waiting=self._merger.waiting_frames,
                last_index_saved=self._image.last_index_saved,
                previews=sum(task.published for task in self._live if isinstance(task, PreviewTask)),
                stopped=dict(self._writer.stopped),
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

    def rows_came(
        self, rank: int, status: PipelineStatus, rows: dict[str, np.ndarray], gone: Collection[str]
    ) -> set[str]:
        """Rows of a receiver, and how it is; the streams to ask it for next."""
        with self._condition:
            self._statuses[rank] = status
            for name in gone:
                self._merger.drop(name)
            self._merger.add(rank, rows)
            self._notify()
            return self._merger.lagging(rank)

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
            if self._over or self._merger.waiting_bytes(rank) < MAX_WAITING_BYTES:
                return True
            # everyone waits for its next frame, which may be larger than all the room there is
            return self._merger.limit(rank) <= self._merger.merged

        with self._condition:
            while not room():
                self._condition.wait(_LOOK_S)

    def _newest(self) -> int:
        return self._rows - 1

    def _newest_of(self, source: str) -> list[int]:
        sources = [None if status is None else status.sources.get(source) for status in self._statuses]
        return [-1 if status is None else status.last_index for status in sources]

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
            for task in self._live:
                task.finish(_LAST_IMAGES_S)
        except Lima2Error as caught:
            error = caught
            self._last_status()
        except Exception as caught:  # noqa: BLE001 - the session must learn of it, whatever it is
            _log.exception("%s: publishing failed", self.job.uuid)
            error = ProtocolError(f"publishing failed: {caught!r}; see the publisher's log")
        finally:
            for reader in self._readers:
                reader.stop()
            for task in self._live:
                task.stop()
            self._writer.close()
        with self._condition:
            self._fail(error)
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
        self._drop_stopped()
        for task in self._live:
            task.memory_tight = self._writer.memory_tight
            task.nudge()
        ended = self._look_at_end()
        self._publish_image(last=ended)
        return ended

    def _next_rows(self) -> MergedRows | None:
        with self._condition:
            self._condition.wait_for(lambda: self._news, self._patience_s())
            self._news = False
            if self._aborted is not None:
                raise self._aborted
            merged = self._merger.take(self._writer.max_frames)
            if merged is not None and self._merger.contiguous > self._merger.merged:
                self._news = True
            return merged

    def _patience_s(self) -> float:
        return self._image.wait_s(self._rows, self._statuses[0], _LOOK_S)

    def _drop_stopped(self) -> None:
        """Rows that are not published any more are neither asked for nor waited for."""
        going_on = {family.source for family in self._writer.families}
        with self._condition:
            for name in self._optional - going_on:
                self._merger.drop(name)

    def _publish(self, merged: MergedRows) -> None:
        entry = self._image.next_entry(merged.first + merged.count, self._statuses[0])
        self._writer.write_rows(merged, entry)
        if self._writer.truncated:
            return
        if entry is not None:
            self._image.written(entry)
        last_ns = int(merged.rows[FRAME_EVENT_STREAM]["received_ns"][-1, 0]) if FRAME_EVENT_STREAM in merged.rows else 0
        with self._condition:
            self._rows = merged.first + merged.count
            self._progress_at = time.monotonic()
            self._lag_s = time.time() - last_ns / 1e9 if last_ns else 0.0
            if self._state == "waiting":
                self._state = "running"
                self._revision += 1
            self._condition.notify_all()

    def _publish_image(self, last: bool) -> None:
        entry = self._image.next_entry(self._rows, self._statuses[0], last)
        if entry is not None:
            self._writer.write_image(entry)
            self._image.written(entry)

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
