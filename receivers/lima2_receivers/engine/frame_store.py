"""The frame store: the last frames of one source, by global index, for whoever wants to look."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lima2_bliss.contract import (
    FrameFlags,
    FrameMeta,
    NoLongerAvailableError,
    NotAvailableError,
    NotYetAvailableError,
    RoundRobin,
)
from lima2_receivers.engine.memory import LEASE_PLACES
from lima2_receivers.engine.plugin import Holder, SparseHolder


class FrameStore:
    """The last ``depth`` frames (holes included) of source ``name`` on receiver ``rank``; it retains their buffers.

    Frames are put in order. ``max_leases`` frames are lent in place at the same time; further readers get copies,
    so that readers can never take all places away from the source.
    """

    def __init__(
        self,
        depth: int,
        name: str = "frame",
        dispatch: RoundRobin = RoundRobin(),
        rank: int = 0,
        max_leases: int = LEASE_PLACES,
    ) -> None:
        self.depth = depth
        self.name = name
        self._dispatch = dispatch
        self._rank = rank
        self._max_leases = max_leases
        self._leases = 0
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, tuple[Holder | None, FrameMeta]] = OrderedDict()
        self._last_index = -1
        self._closed = False

    @property
    def last_index(self) -> int:
        """Global index of the newest frame, holes included; -1 when there is none yet."""
        return self._last_index

    @property
    def stored(self) -> int:
        """Frames that are in the store, holes included."""
        return len(self._frames)

    def indices(self) -> list[int]:
        """Global indices of the frames with pixels that can be had now, oldest first."""
        with self._lock:
            return [index for index, (buffer, _) in self._frames.items() if buffer is not None]

    def put(self, buffer: Holder | None, meta: FrameMeta) -> None:
        """Add the next frame, or a hole; the oldest one goes when the store is full."""
        evicted = None
        with self._lock:
            if self._closed:
                return
            self._frames[meta.index] = (None if buffer is None else buffer.retain(), meta)
            self._last_index = meta.index
            if len(self._frames) > self.depth:
                _, (evicted, _) = self._frames.popitem(last=False)
        if evicted is not None:
            evicted.release()

    @contextmanager
    def lease(self, index: int = -1) -> Iterator[tuple[Any, FrameMeta]]:
        """Pixels (channels, height, width) and description of frame ``index`` (-1: the newest with pixels).

        Pixels are read-only and valid inside the ``with`` block only; a source of sparse frames gives a `SparseFrame`.
        """
        with self._lock:
            buffer, meta = self._find(index)
            buffer.retain()
        if isinstance(buffer, SparseHolder):
            yield buffer.data, meta
            return
        with self._lock:
            in_place = self._leases < self._max_leases
            self._leases += in_place
        if not in_place:
            try:
                pixels = buffer.data.copy()
            finally:
                buffer.release()
            pixels.flags.writeable = False
            yield pixels, meta
            return
        try:
            pixels = buffer.data.view()
            pixels.flags.writeable = False
            yield pixels, meta
        finally:
            with self._lock:
                self._leases -= 1
            buffer.release()

    def close(self) -> None:
        """Forget all frames. Harmless twice."""
        with self._lock:
            self._closed = True
            frames, self._frames = self._frames, OrderedDict()
        for buffer, _ in frames.values():
            if buffer is not None:
                buffer.release()

    def _find(self, index: int) -> tuple[Holder, FrameMeta]:
        if self._closed:
            raise NoLongerAvailableError(f"{self.name} {index}: the acquisition was erased")
        if index == -1:
            for buffer, meta in reversed(self._frames.values()):
                if buffer is not None:
                    return buffer, meta
            raise NotYetAvailableError(f"{self.name}: no frame with pixels yet")
        if index < 0:
            raise NotAvailableError(f"{self.name} {index}: indices count from 0; -1 is the newest")
        receiver, _ = self._dispatch.locate(index)
        if receiver != self._rank:
            raise NotAvailableError(f"{self.name} {index} is on receiver {receiver}, not on receiver {self._rank}")
        if index > self._last_index:
            raise NotYetAvailableError(f"{self.name} {index} is not there yet; the newest is {self._last_index}")
        if index not in self._frames:
            oldest = next(iter(self._frames))
            raise NoLongerAvailableError(
                f"{self.name} {index} is no longer in memory; the oldest of the {self.depth} kept is {oldest}"
            )
        buffer, meta = self._frames[index]
        if buffer is None:
            flags = FrameFlags(meta.flags)
            raise NotAvailableError(f"{self.name} {index} has no pixels ({flags.name})", flags=int(flags))
        return buffer, meta
