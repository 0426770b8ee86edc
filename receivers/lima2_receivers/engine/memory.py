"""Memory for frames: pools within one budget, and memory of erased acquisitions used again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.host_memory import default_budget_bytes

logger = logging.getLogger(__name__)

#: Freed memory that this many prepares in a row did not use goes back to the system.
IDLE_PREPARES = 2

#: Places beyond the computed need, for readers that hold a frame while it leaves its store.
LEASE_PLACES = 16


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
    if nbytes < 1 << 20:
        return f"{nbytes / (1 << 10):.1f} KiB"
    return f"{nbytes / (1 << 20):.1f} MiB"


class MemoryAccount:
    """The pools of one acquisition. With ``at_once`` each has its memory when it is made, else with `commit`."""

    def __init__(self, manager: MemoryManager, uuid: str, at_once: bool = True) -> None:
        self._manager = manager
        self._at_once = at_once
        self.uuid = uuid
        self.pools: list[BufferPool] = []

    @property
    def nbytes(self) -> int:
        """Memory that it has."""
        return sum(pool.memory.nbytes for pool in self.pools)

    def allocate(self, info: FrameInfo, nb_buffers: int) -> BufferPool:
        """A pool of ``nb_buffers`` frames; `ParameterError` when the budget does not allow it."""
        pool = BufferPool(info, nb_buffers, later=True)
        self.pools.append(pool)
        if self._at_once:
            try:
                self.commit()
            except ParameterError:
                self.pools.remove(pool)
                raise
        return pool

    def commit(self) -> None:
        """Give all pools their memory; `ParameterError` when the budget does not allow all of it together."""
        self._manager._commit(self)

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
    returns False when nothing can be released. ``releasable`` says how many bytes it could release in all: where that
    would not do, nothing is released in vain.
    """

    def __init__(
        self,
        budget_bytes: int | None = None,
        make_room: Callable[[], bool] = lambda: False,
        releasable: Callable[[], int] | None = None,
    ) -> None:
        self.budget_bytes = default_budget_bytes() if budget_bytes is None else budget_bytes
        self.make_room = make_room
        self.releasable = releasable
        self._lock = threading.RLock()
        self._accounts: dict[str, MemoryAccount] = {}
        self._retiring = 0  # bytes of released pools that a reader still holds
        self._idle: list[tuple[int, np.ndarray]] = []  # (prepares survived, memory)

    def account(self, uuid: str, at_once: bool = True) -> MemoryAccount:
        """Open the account of acquisition ``uuid``."""
        with self._lock:
            self._accounts[uuid] = MemoryAccount(self, uuid, at_once)
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

    def _commit(self, account: MemoryAccount) -> None:
        pools = [pool for pool in account.pools if not pool.bound]
        needed = sum(pool.nbytes for pool in pools)
        while not self._bind(pools, needed):
            releasable = self.budget_bytes if self.releasable is None else self.releasable()
            possible = needed <= self.budget_bytes - self.used_bytes + releasable
            if not possible or not self.make_room():
                raise self._refusal(account, needed)

    def _bind(self, pools: list[BufferPool], needed: int) -> bool:
        """Give these pools memory, idle one where it fits; False when the budget has no room for ``needed`` bytes."""
        with self._lock:
            room = self.budget_bytes - self.used_bytes
            if needed > room:
                return False
            for pool in sorted(pools, key=lambda pool: -pool.nbytes):
                needed -= pool.nbytes
                memory = self._fitting_idle(pool.nbytes, room - needed)
                room -= pool.nbytes if memory is None else memory.nbytes
                if memory is None:
                    memory = np.empty(pool.nbytes, np.uint8)
                pool.bind(memory)
            self._shrink_idle(room)
        return True

    def _fitting_idle(self, nbytes: int, most: int) -> np.ndarray | None:
        """The smallest idle memory that fits without wasting a quarter, of no more than ``most`` bytes."""
        most = min(most, nbytes * 5 // 4)
        fitting = [i for i, (_, memory) in enumerate(self._idle) if nbytes <= memory.nbytes <= most]
        if not fitting:
            return None
        return self._idle.pop(min(fitting, key=lambda i: self._idle[i][1].nbytes))[1]

    def _shrink_idle(self, allowed: int) -> None:
        """Let idle memory go, oldest first, until no more than ``allowed`` bytes are left."""
        self._idle.sort(key=lambda entry: entry[0])
        while self.idle_bytes > allowed:
            self._idle.pop()

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

    def _refusal(self, account: MemoryAccount, needed: int) -> ParameterError:
        with self._lock:
            users = [f"{uuid}: {size_text(user.nbytes)}" for uuid, user in self._accounts.items() if user.nbytes]
            users += [f"readers of erased ones: {size_text(self._retiring)}"] if self._retiring else []
            used = self.used_bytes
        pools = ", ".join(
            f"{pool.total} of {size_text(pool.info.nbytes)} ({pool.info.width} x {pool.info.height} {pool.info.dtype})"
            for pool in account.pools
        )
        fewer = "ask for fewer buffers (fifo.nb_fifo_frames, buffers.*) or raise the receiver's memory_budget_mb"
        if needed <= self.budget_bytes:
            fewer = f"wait until these have ended, {fewer}"
        return ParameterError(
            f"the buffers for acquisition {account.uuid} need {size_text(needed)} ({pools}), more than there is: of the"
            f" memory budget of {size_text(self.budget_bytes)}, {size_text(used)} are used"
            f" ({'; '.join(users) or 'by none'}); {fewer}",
            memory_needed=needed,
            memory_free=max(self.budget_bytes - used, 0),
            memory_budget=self.budget_bytes,
        )
