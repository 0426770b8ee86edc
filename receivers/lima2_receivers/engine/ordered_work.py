"""Work on frames by several threads, committed in the order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from lima2_receivers.engine.memory import reorder_window

Item = TypeVar("Item")


class OrderedWork(Generic[Item]):
    """``threads`` workers run ``parallel(item)`` in any order; ``commit(item)`` sees the items one by one in order.

    At most `reorder_window` items are past the queue at the same time. An exception of either function ends the work
    and goes to ``on_error``. ``on_ended`` is called once, when the last worker is gone: after `close` all items are
    committed by then, after `abort` the rest went to ``discard``.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        parallel: Callable[[Item], Item],
        commit: Callable[[Item], None],
        discard: Callable[[Item], None],
        on_error: Callable[[BaseException], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._parallel = parallel
        self._commit = commit
        self._discard = discard
        self._on_error = on_error
        self._on_ended = on_ended
        self._window = reorder_window(threads)
        self._work = threading.Condition()
        self._queue: deque[tuple[int, Item]] = deque()
        self._early: dict[int, Item] = {}  # done before their turn
        self._next_put = 0
        self._next_commit = 0
        self._committing = False
        self._closed = False
        self._stopped = False
        self._running = 0
        self._ended = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}:worker-{number}", daemon=True) for number in range(threads)
        ]

    @property
    def waiting(self) -> int:
        """Items put but not yet committed."""
        return self._next_put - self._next_commit

    def start(self) -> None:
        """Start the workers; items put before are waiting for them."""
        with self._work:
            if self._stopped:
                return
            self._running = len(self._threads)
        for thread in self._threads:
            thread.start()

    def put(self, item: Item) -> None:
        """Add the next item; after `abort` it is discarded."""
        with self._work:
            if not self._stopped:
                self._queue.append((self._next_put, item))
                self._next_put += 1
                self._work.notify()
                return
        self._discard(item)

    def close(self) -> None:
        """No more items: finish those that are there."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    def abort(self) -> None:
        """Give up what is not committed; items in work are given up when their node returns."""
        with self._work:
            self._stopped = True
            dropped = [item for _, item in self._queue] + list(self._early.values())
            self._queue.clear()
            self._early.clear()
            ended = not self._running and self._end_once()
            self._work.notify_all()
        for item in dropped:
            self._discard(item)
        if ended:
            self._on_ended()

    def join(self, timeout_s: float) -> list[str]:
        """Wait for the workers, ``timeout_s`` each; names of those that are still busy."""
        started = [thread for thread in self._threads if thread.ident and thread is not threading.current_thread()]
        for thread in started:
            thread.join(timeout_s)
        return [thread.name for thread in started if thread.is_alive()]

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                sequence, item = taken
                self._finish(sequence, self._parallel(item))
        except BaseException as error:  # noqa: BLE001  whatever a node raises ends the acquisition, not the process
            self._on_error(error)
        finally:
            with self._work:
                self._running -= 1
                ended = not self._running and self._end_once()
            if ended:
                self._on_ended()

    def _end_once(self) -> bool:
        ended, self._ended = self._ended, True
        return not ended

    def _take(self) -> tuple[int, Item] | None:
        with self._work:
            while not self._stopped:
                if self._queue and self._queue[0][0] < self._next_commit + self._window:
                    return self._queue.popleft()
                if self._closed and not self._queue:
                    return None
                self._work.wait()
            return None

    def _finish(self, sequence: int, item: Item) -> None:
        """Commit ``item`` when it is its turn, and those that waited for it; else leave it to who has the turn."""
        with self._work:
            if not self._stopped:
                self._early[sequence] = item
                if self._committing:
                    return
                self._committing = True
            stopped = self._stopped
        if stopped:
            self._discard(item)
            return
        while True:
            with self._work:
                if self._stopped or self._next_commit not in self._early:
                    self._committing = False
                    return
                following = self._early.pop(self._next_commit)
            self._commit(following)
            with self._work:
                self._next_commit += 1
                if self._queue and len(self._threads) > 1:
                    self._work.notify_all()
