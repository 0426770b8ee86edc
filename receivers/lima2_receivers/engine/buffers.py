"""Frame buffers: a fixed number of reference-counted places for pixels. Never grows, never blocks without a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameInfo, StateError

#: How long a node waits for a free place before it gives up [s].
TAKE_TIMEOUT_S = 20.0


class FrameBuffer:
    """A place for the pixels of one frame; goes back to its pool when the last holder releases it."""

    __slots__ = ("_pool", "_references", "data", "place")

    def __init__(self, pool: BufferPool, place: int, data: np.ndarray) -> None:
        self._pool = pool
        self._references = 0
        self.place = place
        self.data = data

    def retain(self) -> Self:
        """Hold it once more."""
        with self._pool.condition:
            if self._references < 1:
                raise StateError("frame buffer is free and cannot be retained")
            self._references += 1
        return self

    def release(self) -> None:
        """Hold it once less; the last one gives it back."""
        self._pool.give_back(self)


class BufferPool:
    """``nb_buffers`` places for frames of one shape and type; the place freed last is used first (warm in cache).

    Memory is reserved at once but touched only when a place is used for the first time. ``memory`` (bytes, at least
    as many as needed) is used instead of fresh memory when given. With ``later`` the pool has no memory, and so no
    free place, until `bind`.
    """

    def __init__(
        self, info: FrameInfo, nb_buffers: int, memory: np.ndarray | None = None, *, later: bool = False
    ) -> None:
        if nb_buffers < 1:
            raise ValueError(f"a pool of {nb_buffers} buffers; at least 1 is needed")
        self.info = info
        self.total = nb_buffers
        self.condition = threading.Condition()
        self.memory = np.empty(0, np.uint8)
        self.bound = False
        self._free: list[FrameBuffer] = []
        self._interrupted = False
        self._when_all_free: Callable[[BufferPool], None] | None = None
        if not later:
            self.bind(np.empty(self.nbytes, np.uint8) if memory is None else memory)

    def bind(self, memory: np.ndarray) -> None:
        """Use these bytes, at least `nbytes`, for the places; once."""
        if self.bound:
            raise StateError("a pool of frame buffers gets its memory once")
        places = memory[: self.nbytes].view(self.info.dtype).reshape(self.total, *self.info.shape)
        with self.condition:
            self.memory = memory
            self.bound = True
            self._free = [FrameBuffer(self, place, places[place]) for place in reversed(range(self.total))]
            self.condition.notify_all()

    @property
    def free(self) -> int:
        """Places that nobody holds."""
        return len(self._free)

    @property
    def nbytes(self) -> int:
        return self.info.nbytes * self.total

    def acquire(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free place, held once; None when there is none within ``timeout_s`` or the pool was interrupted."""
        with self.condition:
            if not self._free and timeout_s > 0:
                self.condition.wait_for(lambda: self._free or self._interrupted, timeout_s)
            if not self._free or self._interrupted:
                return None
            buffer = self._free.pop()
            buffer._references = 1
            return buffer

    def take(self, timeout_s: float = TAKE_TIMEOUT_S) -> FrameBuffer:
        """A free place, held once: what a node uses for its output. `AcquisitionError` when none comes free in time.

        Waiting is back-pressure: the ring in front of the pipeline fills while saving catches up.
        """
        buffer = self.acquire(timeout_s)
        if buffer is None:
            if self._interrupted:
                raise AcquisitionError("the acquisition was aborted while a node waited for a frame buffer")
            raise AcquisitionError(
                f"none of the {self.total} buffers for processed frames came free within {timeout_s:g} s: saving or a "
                "reader holds them all; make saving faster or give more buffers (buffers.nb_frames_buffer)"
            )
        return buffer

    def give_back(self, buffer: FrameBuffer) -> None:
        """One holder of ``buffer`` less."""
        with self.condition:
            if buffer._references < 1:
                raise StateError("frame buffer was released more often than retained")
            buffer._references -= 1
            if buffer._references:
                return
            self._free.append(buffer)
            self.condition.notify()
            done = self._take_callback()
        if done is not None:
            done(self)

    def interrupt(self) -> None:
        """Wake all who wait for a place and give out none any more: the acquisition is aborted or erased."""
        with self.condition:
            self._interrupted = True
            self.condition.notify_all()

    def retire(self, when_all_free: Callable[[BufferPool], None]) -> None:
        """Give out no place any more, and call ``when_all_free`` once, as soon as nobody holds one."""
        self.interrupt()
        with self.condition:
            self._when_all_free = when_all_free
            done = self._take_callback()
        if done is not None:
            done(self)

    def detach(self) -> np.ndarray:
        """The memory of a retired pool, which is of no use any more, for somebody else."""
        with self.condition:
            if not self._interrupted or not self._all_free:
                raise StateError("frame buffers are still in use; retire the pool first")
            memory, self.memory = self.memory, np.empty(0, np.uint8)
            self._free.clear()
            return memory

    @property
    def _all_free(self) -> bool:
        return not self.bound or len(self._free) == self.total

    def _take_callback(self) -> Callable[[BufferPool], None] | None:
        if self._when_all_free is None or not self._all_free:
            return None
        callback, self._when_all_free = self._when_all_free, None
        return callback
