"""Memory for frames: pools within one budget, and memory of erased acquisitions used again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_receivers.engine.buffers import BufferPool

logger = logging.getLogger(__name__)

#: Freed memory that this many prepares in a row did not use goes back to the system.
IDLE_PREPARES = 2

#: Places beyond the computed need, for readers that hold a frame while it leaves its store.
LEASE_PLACES = 16


def default_budget_bytes() -> int:
    """Half of the host's physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def reorder_window(threads: int) -> int:
    """Frames that may be on their way through parallel nodes, or done before their turn, at the same time."""
    return 2 * threads if threads > 1 else 1


def input_ring_size(fifo: int, depth: int) -> int:
    """Buffers of the ring that a source fills: ``fifo`` may wait while stores keep the last ``depth`` frames."""
    return fifo + depth + LEASE_PLACES


def processed_pool_size(depth: int, fifo: int, threads: int) -> int:
    """Buffers that a pipeline allocates for new pixels: store depth + frames waiting to be saved + frames in flight.

    With less than ``depth + window + 1`` the pipeline can stall: frames done before their turn would hold every
    place while the one whose turn it is waits for one.
    """
    return depth + fifo + reorder_window(threads) + 1 + LEASE_PLACES


def size_text(nbytes: int) -> str:
    """A number of bytes as people read it."""
    if nbytes >= 1 << 30:
        return f"{nbytes / (1 << 30):.1f} GiB"
    return f"{nbytes / (1 << 20):.1f} MiB"


class MemoryAccount:
    """The pools of one acquisition."""

    def __init__(self, manager: MemoryManager, uuid: str) -> None:
        self._manager = manager
        self.uuid = uuid
        self.pools: list[BufferPool] = []

    @property
    def nbytes(self) -> int:
        return sum(pool.memory.nbytes for pool in self.pools)

    def allocate(self, info: FrameInfo, nb_buffers: int) -> BufferPool:
        """A pool of ``nb_buffers`` frames; `ParameterError` when the budget does not allow it."""
        return self._manager._allocate(self, info, nb_buffers)

    def interrupt(self) -> None:
        """Nobody waits for a buffer any more."""
        for pool in self.pools:
            pool.interrupt()

    def release(self) -> None:
        """Give all memory back; what a reader still holds follows when he lets go. Harmless twice."""
        self._manager._release(self)


class MemoryManager:
    """Hands out the frame memory of one receiver within ``budget_bytes``.

    ``make_room`` is called without locks when the budget is short: it releases something old and returns True, or
    returns False when nothing can be released.
    """

    def __init__(self, budget_bytes: int | None = None, make_room: Callable[[], bool] = lambda: False) -> None:
        self.budget_bytes = default_budget_bytes() if budget_bytes is None else budget_bytes
        self.make_room = make_room
        self._lock = threading.RLock()
        self._accounts: dict[str, MemoryAccount] = {}
        self._retiring = 0  # bytes of released pools that a reader still holds
        self._idle: list[tuple[int, np.ndarray]] = []  # (prepares survived, memory)

    def account(self, uuid: str) -> MemoryAccount:
        """Open the account of acquisition ``uuid``."""
        with self._lock:
            self._accounts[uuid] = MemoryAccount(self, uuid)
            return self._accounts[uuid]

    @property
    def used_bytes(self) -> int:
        """Bytes held by acquisitions and their readers."""
        with self._lock:
            return self._retiring + sum(account.nbytes for account in self._accounts.values())

    @property
    def idle_bytes(self) -> int:
        """Bytes kept ready for the next prepare."""
        with self._lock:
            return sum(memory.nbytes for _, memory in self._idle)

    def settle(self) -> None:
        """A prepare is done: return memory that the last ones did not use to the system."""
        with self._lock:
            self._idle = [(age + 1, memory) for age, memory in self._idle if age + 1 < IDLE_PREPARES]

    def _allocate(self, account: MemoryAccount, info: FrameInfo, nb_buffers: int) -> BufferPool:
        nbytes = info.nbytes * nb_buffers
        while True:
            with self._lock:
                memory = self._fitting_idle(nbytes)
                if memory is None and self._shrink_idle(self.budget_bytes - self.used_bytes - nbytes):
                    memory = np.empty(nbytes, np.uint8)
                if memory is not None:
                    pool = BufferPool(info, nb_buffers, memory)
                    account.pools.append(pool)
                    return pool
            if not self.make_room():
                raise ParameterError(self._refusal(account, info, nb_buffers))

    def _fitting_idle(self, nbytes: int) -> np.ndarray | None:
        """The smallest idle memory that fits without wasting a quarter."""
        fitting = [i for i, (_, memory) in enumerate(self._idle) if nbytes <= memory.nbytes <= nbytes * 5 // 4]
        if not fitting:
            return None
        return self._idle.pop(min(fitting, key=lambda i: self._idle[i][1].nbytes))[1]

    def _shrink_idle(self, allowed: int) -> bool:
        """Let idle memory go, oldest first, until no more than ``allowed`` bytes are left."""
        if allowed < 0:
            return False
        self._idle.sort(key=lambda entry: entry[0])
        while self.idle_bytes > allowed:
            self._idle.pop()
        return True

    def _release(self, account: MemoryAccount) -> None:
        with self._lock:
            self._accounts.pop(account.uuid, None)
            pools, account.pools = account.pools, []
            self._retiring += sum(pool.memory.nbytes for pool in pools)
        for pool in pools:
            pool.retire(self._keep_idle)

    def _keep_idle(self, pool: BufferPool) -> None:
        with self._lock:
            memory = pool.detach()
            self._retiring -= memory.nbytes
            self._idle.append((0, memory))

    def _refusal(self, account: MemoryAccount, info: FrameInfo, nb_buffers: int) -> str:
        with self._lock:
            users = [f"{uuid}: {size_text(user.nbytes)}" for uuid, user in self._accounts.items() if user.nbytes]
            used = self.used_bytes
        return (
            f"{nb_buffers} buffers of {size_text(info.nbytes)} ({info.width} x {info.height} {info.dtype}) for "
            f"acquisition {account.uuid} exceed the memory budget of {size_text(self.budget_bytes)}, of which "
            f"{size_text(used)} are used ({'; '.join(users) or 'by none'}); ask for fewer buffers "
            "(fifo.nb_fifo_frames, buffers.*), erase older acquisitions, or raise the receiver's memory budget"
        )
