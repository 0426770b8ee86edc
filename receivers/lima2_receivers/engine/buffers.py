"""Frame buffers: a fixed number of reference-counted places for pixels. Never grows, never blocks without a limit."""

from __future__ import annotations

import threading
from typing import Self

import numpy as np

from lima2_bliss.contract import FrameInfo, StateError


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

    Memory is reserved at once but touched only when a place is used for the first time.
    """

    def __init__(self, info: FrameInfo, nb_buffers: int) -> None:
        if nb_buffers < 1:
            raise ValueError(f"a pool of {nb_buffers} buffers; at least 1 is needed")
        self.info = info
        self.total = nb_buffers
        self.condition = threading.Condition()
        self._memory = np.empty((nb_buffers, *info.shape), info.dtype)
        self._free = [FrameBuffer(self, place, self._memory[place]) for place in reversed(range(nb_buffers))]

    @property
    def free(self) -> int:
        """Places that nobody holds."""
        return len(self._free)

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    def acquire(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free place, held once; None when there is none within ``timeout_s``."""
        with self.condition:
            if not self._free and (timeout_s <= 0 or not self.condition.wait_for(lambda: self._free, timeout_s)):
                return None
            buffer = self._free.pop()
            buffer._references = 1
            return buffer

    def give_back(self, buffer: FrameBuffer) -> None:
        """One holder of ``buffer`` less."""
        with self.condition:
            if buffer._references < 1:
                raise StateError("frame buffer was released more often than retained")
            buffer._references -= 1
            if not buffer._references:
                self._free.append(buffer)
                self.condition.notify()
