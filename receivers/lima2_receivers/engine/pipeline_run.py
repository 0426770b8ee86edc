"""One acquisition on one receiver: from the source's frames through the nodes to results, frame stores and files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from lima2_bliss.contract import (
    AcquisitionError,
    DeviceTimeoutError,
    FrameInfo,
    FrameMeta,
    Lima2Error,
    RoundRobin,
    StateError,
)
from lima2_bliss.contract.wire import PipelineStatus
from lima2_receivers.engine.buffers import FrameBuffer
from lima2_receivers.engine.changes import Changes
from lima2_receivers.engine.counts import FrameCounts
from lima2_receivers.engine.frame_events import ENGINE_STREAMS, add_event_rows
from lima2_receivers.engine.frame_intake import FrameIntake
from lima2_receivers.engine.frame_output import OutputSource
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.front import Front
from lima2_receivers.engine.memory import MemoryAccount, input_ring_size, reorder_window
from lima2_receivers.engine.named_error import named_error
from lima2_receivers.engine.node_steps import drop_buffer, run_nodes
from lima2_receivers.engine.ordered_work import OrderedWork
from lima2_receivers.engine.plugin import RAW_FRAME, FrameItem, FrameWriter, PipelineGraph, PipelineSetup
from lima2_receivers.engine.results_log import ResultsLog
from lima2_receivers.engine.run_ending import RunEnding
from lima2_receivers.engine.saving_thread import SavingThread

logger = logging.getLogger(__name__)

INPUT = "input_frame"
OUTPUT = "frame"

#: How long `erase` waits for each thread of a finished acquisition.
JOIN_TIMEOUT_S = 2.0


class PipelineRun:
    """Threads, queues, counts, results, stores and files of one acquisition. It is the `Sink` of the source.

    A processed frame is in log and store when subscribers hear of it, and is saved after that. Subscribers are called
    for every processed frame, every file that is complete, an error, and the end; a frame that was only received
    shows with the next of these (`status` is always up to date).
    """

    def __init__(
        self,
        receiver: str,
        pipeline: str,
        setup: PipelineSetup,
        graph: PipelineGraph,
        account: MemoryAccount,
        writers: Mapping[str, FrameWriter] | None = None,
        raw: FrameInfo | None = None,
        front: Front | None = None,
    ) -> None:
        self.receiver = receiver
        self.pipeline = pipeline
        self.uuid = setup.uuid
        self.setup = setup
        self.graph = graph
        self.log = ResultsLog([*{stream.name: stream for stream in (*ENGINE_STREAMS, *graph.results)}.values()])
        self.stores: Mapping[str, FrameStore] = {
            name: FrameStore(
                output.depth,
                name,
                setup.dispatch if name in (INPUT, RAW_FRAME) else RoundRobin(setup.dispatch.receivers),
                setup.rank,
            )
            for name, output in graph.outputs.items()
        }
        self._account = account
        self._made_at = time.monotonic()
        self._front = front
        raw = raw or setup.input
        shared = [
            output.depth + output.veto.keep_before
            for name, output in graph.outputs.items()
            if name in (INPUT, RAW_FRAME) or (front is None and output.info == raw)
        ]
        ahead = 0 if front is None else front.ahead + reorder_window(graph.threads)
        ring = account.allocate(raw, input_ring_size(graph.fifo, max(shared, default=0)) + ahead)
        self._counts = FrameCounts()
        self._noted: tuple[Mapping[str, int], Sequence[str]] = ({}, ())
        nb_frames = setup.acquisition.acq.nb_frames
        if nb_frames:
            self._counts.expected = setup.dispatch.count(setup.rank, nb_frames)
        self._state = "prepared"
        self._revision = 0
        self._source_done = False
        self._processing_done = False
        self._aborted = False
        self._erased = False
        self._changed = threading.Condition()
        self._changes = Changes(f"{receiver}:{self.uuid}")
        self._ending = RunEnding(f"{receiver}:{self.uuid}")
        self.on_finished = self._ending.on_finished
        self.on_error = self._ending.on_error
        name = f"{receiver}:{self.uuid[:8]}"
        threads = graph.threads if graph.parallel or front is not None else 1
        self._work = OrderedWork[FrameItem](
            name, threads, self._parallel, self._commit, drop_buffer, self.fail, self._work_ended
        )
        self._savers = {
            source: SavingThread(f"{name}:{source}", writer, self._saved, self.fail, self._saver_ended)
            for source, writer in (writers or {}).items()
        }
        self._saving = len(self._savers)
        self._outputs = {
            source: OutputSource(output, self.stores[source], self._savers.get(source))
            for source, output in graph.outputs.items()
            if source != INPUT
        }
        self._intake = FrameIntake(
            ring,
            self._counts,
            self._changed,
            self.stores.get(INPUT),
            self._savers.get(INPUT),
            self._put,
        )
        self._infos = {source: output.info.to_json() for source, output in graph.outputs.items()}
        self._infos.setdefault(INPUT, setup.input.to_json())

    # --- what the source calls (`Sink`) ---------------------------------------------------------------------------

    def reserve(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free ring buffer to write a frame into; None when the ring is full."""
        return self._intake.reserve(timeout_s)

    def deliver(self, buffer: FrameBuffer, meta: FrameMeta) -> None:
        """Hand over a complete frame (takes over the caller's reference to the buffer)."""
        self._intake.deliver(buffer, meta)

    def lost(self, meta: FrameMeta) -> None:
        """Report a frame without pixels; it becomes a marked hole everywhere."""
        self._intake.lost(meta)

    def note(self, counts: Mapping[str, int], warnings: Sequence[str]) -> None:
        """What the source counted so far beside frames, and what users should know."""
        with self._changed:
            self._noted = dict(counts), list(warnings)
            self._revision += 1
        self._changes.tell()

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        with self._changed:
            if self._state != "prepared":
                raise StateError(f"acquisition {self.uuid} is {self._state} and cannot start")
            self._state = "running"
            self._revision += 1
        for saver in self._savers.values():
            saver.start()
        self._work.start()
        self._changes.tell()

    def close_input(self, total_local: int | None = None) -> None:
        """The source has ended: finish what is there. Frames missing up to ``total_local`` become holes."""
        if total_local is not None:
            for local in range(self._counts.arrived, total_local):
                if self._aborted:
                    break
                self.lost(FrameMeta(self.setup.dispatch.global_index(self.setup.rank, local), local))
        self._intake.close(f"acquisition {self.uuid} has all its frames")
        with self._changed:
            self._source_done = True
            self._revision += 1
            self._changed.notify_all()
        self._work.close()
        self._changes.tell()

    def abort(self, error: Lima2Error | None = None) -> None:
        """End now: what is not processed is dropped, what is processed is saved, files are closed. Harmless twice."""
        with self._changed:
            if self._aborted or self._state in ("finished", "failed"):
                return
            self._aborted = True
            self._source_done = True
            self._revision += 1
            self._changed.notify_all()
        self._intake.close(f"acquisition {self.uuid} was aborted")
        self._account.interrupt()
        if error is not None:
            self._ending.set_error(error)
        self._changes.tell()
        self._work.abort()

    def fail(self, error: BaseException) -> None:
        """Abort because of ``error``, which then names the receiver; what follows from an earlier abort is ignored."""
        if self._aborted:
            logger.debug("%s acquisition %s: after its abort: %s", self.receiver, self.uuid, error)
            return
        error = named_error(error, self.receiver, receiver=self.receiver, uuid=self.uuid)
        logger.error("%s acquisition %s failed: %s", self.receiver, self.uuid, error)
        self.abort(error)

    def erase(self) -> None:
        """Give all memory back; `StateError` while the acquisition is not finished. Harmless twice."""
        if not self.finished.is_set():
            raise StateError(
                f"acquisition {self.uuid} on {self.receiver} is not finished ({self._state}); stop or reset it first"
            )
        with self._changed:
            if self._erased:
                return
            self._erased = True
        busy = self._work.join(JOIN_TIMEOUT_S)
        for saver in self._savers.values():
            busy += saver.join(JOIN_TIMEOUT_S)
        if busy:
            logger.error("%s: threads %s did not end", self.receiver, ", ".join(busy))
        for store in self.stores.values():
            store.close()
        self._account.release()
        self.graph.close()
        if self._front is not None:
            self._front.close()
        self._changes.tell()

    def _work_ended(self) -> None:
        try:
            self._pass_on_last()
            for output in self._outputs.values():
                output.end()
        except BaseException as error:  # noqa: BLE001  it must end all the same
            self.fail(error)
        with self._changed:
            self._processing_done = True
            self._revision += 1
            self._changed.notify_all()
        self._changes.tell()
        if not self._savers:
            self._finish()
        for saver in self._savers.values():
            saver.close()

    def _pass_on_last(self) -> None:
        """What the nodes still have after the last frame; after an abort there are no buffers for it."""
        if self._front is not None and not self._aborted:
            self._front.last()
        last = None if self._aborted else self.graph.last()
        if last is None:
            return
        try:
            for source, (holder, meta) in last.more.items():
                self._outputs[source].keep(holder, meta)
            self._save_more(last)
        finally:
            drop_buffer(last)

    def _saver_ended(self) -> None:
        with self._changed:
            self._saving -= 1
            last = not self._saving
        if last:
            self._finish()

    def _finish(self) -> None:
        with self._changed:
            self._state = "failed" if self.error is not None else "finished"
            self._revision += 1
            self._changed.notify_all()
        self._changes.tell()
        self._ending.set_finished()

    # --- frames on their way ---------------------------------------------------------------------------------------

    def _put(self, item: FrameItem) -> None:
        if self._front is not None:
            self._front.keep_raw(item)
        self._work.put(item)

    def _parallel(self, item: FrameItem) -> FrameItem:
        if self._front is not None:
            item = self._front.image_of(item)
        following = run_nodes(self.graph.parallel, item)
        if following is None:
            raise AcquisitionError("a parallel node took up a frame; only ordered nodes may return None")
        return following

    def _commit(self, item: FrameItem) -> None:
        if self._front is not None:
            self._front.commit_raw(item, self._outputs[RAW_FRAME])
        following = run_nodes(self.graph.ordered, item)
        if following is not None:
            try:
                self._record(following)
            except BaseException:
                drop_buffer(following)
                raise
        with self._changed:
            self._counts.consumed += 1
            if following is not None:
                if following.meta.flags:
                    self._counts.invalid += 1
                else:
                    self._counts.processed += 1
                    self._counts.hits += bool(following.meta.hit)
            self._revision += 1
            self._changed.notify_all()
        self._changes.tell()
        if following is None:
            return
        try:
            self._save_more(following)
            if OUTPUT in self._outputs:
                buffer, following.buffer = following.buffer, None
                self._outputs[OUTPUT].save(buffer, following.meta)
        finally:
            drop_buffer(following)

    def _record(self, item: FrameItem) -> None:
        """Log and store an output frame."""
        add_event_rows(item)
        self.log.append(item.rows)
        output = self._outputs.get(OUTPUT)
        if output is not None:
            output.keep(item.buffer, item.meta)
        for source, (holder, meta) in item.more.items():
            self._outputs[source].keep(holder, meta)

    def _save_more(self, item: FrameItem) -> None:
        """Save what the further frame sources gave with a frame."""
        while item.more:
            source, (holder, meta) = item.more.popitem()
            self._outputs[source].save(holder, meta)

    def _saved(self, files_changed: bool) -> None:
        with self._changed:
            if files_changed:
                self._revision += 1
            self._changed.notify_all()
        if files_changed:
            self._changes.tell()

    @property
    def finished(self) -> threading.Event:
        """Set when every frame is processed and saved and the files are closed, or all that can be after an error."""
        return self._ending.finished

    @property
    def error(self) -> Lima2Error | None:
        """What made the acquisition fail."""
        return self._ending.error

    @property
    def received(self) -> int:
        """Frames with pixels that the source has delivered."""
        return self._counts.received

    @property
    def source_done(self) -> bool:
        """True when no more frames come."""
        return self._source_done

    # --- looking at it -----------------------------------------------------------------------------------------------

    @property
    def has_all(self) -> bool:
        """True when no more frames are to come, whether or not the source has returned."""
        return self._source_done or 0 < self._counts.expected <= self._counts.arrived

    @property
    def memory_bytes(self) -> int:
        """Memory for frames that it holds."""
        return self._account.nbytes

    @property
    def age_s(self) -> float:
        """Time since it was prepared [s]."""
        return time.monotonic() - self._made_at

    def ring_fill(self) -> tuple[int, int]:
        """Places of the source's ring that are held, and all of them."""
        return self._intake.ring_fill()

    def status(self) -> PipelineStatus:
        """State and counts, all of the same moment."""
        with self._changed:
            store = self.stores.get(OUTPUT)
            saver = self._savers.get(OUTPUT) or next(iter(self._savers.values()), None)
            files, saved_contiguous = (0, 0) if saver is None else saver.writer.complete
            return PipelineStatus(
                uuid=self.uuid,
                pipeline=self.pipeline,
                revision=self._revision,
                state=self._state,
                source_done=self._source_done,
                processing_done=self._processing_done,
                error="" if self.error is None else self.error.to_json(),
                counts=self._counts.snapshot(
                    saved=0 if saver is None else saver.writer.saved,
                    vetoed=self._outputs[OUTPUT].vetoed if OUTPUT in self._outputs else 0,
                    stored=0 if store is None else store.stored,
                ),
                last_index=-1 if store is None else store.last_index,
                frame_info=self._infos.get(OUTPUT, {}),
                input_frame_info=self._infos[INPUT],
                files=files,
                saved_contiguous=saved_contiguous,
                sources={source: output.status() for source, output in self._outputs.items()},
                intake={**self._noted[0], **({} if self._front is None else self._front.counts())},
                warnings=list(self._noted[1]),
            )

    def wait(self, predicate: Callable[[PipelineStatus], bool], timeout_s: float) -> PipelineStatus:
        """The first status for which ``predicate`` holds; `DeviceTimeoutError` after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not predicate(status := self.status()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeviceTimeoutError(f"acquisition {self.uuid} did not get there in {timeout_s:g} s: {status}")
                self._changed.wait(left)
            return status

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` (cheap!) after every change, from any thread; returns the unsubscribe function."""
        return self._changes.subscribe(callback)
