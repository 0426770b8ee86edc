"""Threads that share the parts of one frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

Part = TypeVar("Part")


class Workers:
    """So many threads, the caller's included. Several callers may share them: each at least works itself."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="smx") if threads > 1 else None

    def run(self, work: Callable[[Part], object], parts: Sequence[Part]) -> None:
        """Do ``work`` for each part, in any order, and come back when all are done; the first error is raised."""
        left = deque(parts)

        def take_parts() -> None:
            while True:
                try:
                    part = left.popleft()
                except IndexError:
                    return
                work(part)

        helping = []
        if self._pool is not None:
            helping = [self._pool.submit(take_parts) for _ in range(min(self.threads, len(parts)) - 1)]
        try:
            take_parts()
        finally:
            left.clear()
            for future in helping:
                if not future.cancel():  # it runs or is done; one that waits for a thread has nothing left to do
                    future.result()

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown()


def even_parts(size: int, number: int) -> list[tuple[int, int]]:
    """Cut 0 ... size into about so many ranges of equal length, none empty."""
    number = max(1, min(number, size))
    bounds = [size * k // number for k in range(number + 1)]
    return list(pairwise(bounds))
