"""The saving thread of one frame source: writes frames in order, behind the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from lima2_bliss.contract import FrameMeta, Lima2Error, SavingError
from lima2_receivers.engine.plugin import FrameWriter, Holder

#: Entries that may wait; frames with pixels are bounded by their buffers long before, so these are holes.
MAX_WAITING = 1 << 17


class SavingThread:
    """Calls ``writer.write`` for each frame put, and ``writer.close`` at the end, in a thread of its own.

    ``on_progress(files_changed)`` after each frame; ``on_error(error)`` at most once, what waits is then discarded;
    ``on_ended`` once, when the files are closed.
    """

    def __init__(
        self,
        name: str,
        writer: FrameWriter,
        on_progress: Callable[[bool], None],
        on_error: Callable[[Lima2Error], None],
        on_ended: Callable[[], None],
    ) -> None:
        self.writer = writer
        self._on_progress = on_progress
        self._on_error = on_error
        self._on_ended = on_ended
        self._more = threading.Condition()
        self._queue: deque[tuple[Holder | None, FrameMeta]] = deque()
        self._closed = False
        self._failed = False
        self._files = 0
        self._thread = threading.Thread(target=self._run, name=f"{name}:saving", daemon=True)

    @property
    def waiting(self) -> int:
        """Frames that are not written yet."""
        return len(self._queue)

    def start(self) -> None:
        self._thread.start()

    def put(self, buffer: Holder | None, meta: FrameMeta) -> None:
        """Save this frame next; takes over the caller's reference to the buffer, also when it is refused."""
        with self._more:
            failed, too_many = self._failed, len(self._queue) >= MAX_WAITING
            if not failed and not too_many:
                self._queue.append((buffer, meta))
                self._more.notify()
                return
        if buffer is not None:
            buffer.release()
        if not failed:
            raise SavingError(f"{MAX_WAITING} frames wait to be saved: saving does not keep up or hangs")

    def close(self) -> None:
        """No more frames: write those that are there and close the files. Starts the thread if it never ran."""
        with self._more:
            closed, self._closed = self._closed, True
            self._more.notify()
        if not closed and not self._thread.ident:
            self._thread.start()

    def join(self, timeout_s: float) -> list[str]:
        """Wait for the end; the thread's name if it is still busy."""
        if not self._thread.ident or self._thread is threading.current_thread():
            return []
        self._thread.join(timeout_s)
        return [self._thread.name] if self._thread.is_alive() else []

    def _run(self) -> None:
        try:
            while (entry := self._take()) is not None:
                self._write(*entry)
        except BaseException as error:  # noqa: BLE001  a writer's bug must end the acquisition, not the process
            self._fail(error, "frames")
        try:
            self.writer.close()
        except BaseException as error:  # noqa: BLE001
            self._fail(error, "the last file")
        self._on_ended()

    def _take(self) -> tuple[Holder | None, FrameMeta] | None:
        with self._more:
            while not self._queue:
                if self._closed:
                    return None
                self._more.wait()
            return self._queue.popleft()

    def _write(self, buffer: Holder | None, meta: FrameMeta) -> None:
        try:
            self.writer.write(None if buffer is None else buffer.data, meta)
        finally:
            if buffer is not None:
                buffer.release()
        files, _ = self.writer.complete
        changed, self._files = files != self._files, files
        self._on_progress(changed)

    def _fail(self, error: BaseException, what: str) -> None:
        with self._more:
            first = not self._failed
            self._failed = True
            dropped = [buffer for buffer, _ in self._queue if buffer is not None]
            self._queue.clear()
        for buffer in dropped:
            buffer.release()
        if not isinstance(error, Lima2Error):
            error = SavingError(f"saving of {what} failed: {type(error).__name__}: {error}")
        if first:
            self._on_error(error)
