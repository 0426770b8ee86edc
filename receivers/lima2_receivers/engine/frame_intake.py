"""Where the source's frames come in: order and counts are checked before anything else sees a frame."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lima2_bliss.contract import AcquisitionError, FrameFlags, FrameMeta, Lima2Error
from lima2_receivers.engine.buffers import BufferPool, FrameBuffer
from lima2_receivers.engine.counts import FrameCounts
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.engine.saving_thread import SavingThread

#: Marked holes that may wait for the pipeline; frames with pixels are bounded by the ring.
MAX_WAITING_HOLES = 1 << 17


class FrameIntake:
    """The `Sink` of one acquisition: counts each frame, keeps it as raw frame, and passes it on with ``forward``.

    ``changed`` guards ``counts``. Frames must come in local order without gaps, and none after `close`.
    """

    def __init__(
        self,
        ring: BufferPool,
        counts: FrameCounts,
        changed: threading.Condition,
        store: FrameStore | None,
        saver: SavingThread | None,
        forward: Callable[[FrameItem], None],
    ) -> None:
        self._ring = ring
        self._counts = counts
        self._changed = changed
        self._store = store
        self._saver = saver
        self._forward = forward
        self._closed = ""

    def close(self, reason: str) -> None:
        """Refuse all further frames, for ``reason``."""
        self._closed = self._closed or reason

    def reserve(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free ring buffer to write a frame into; None when the ring is full."""
        buffer = self._ring.acquire(timeout_s)
        if buffer is None:
            self._refuse_closed()
        return buffer

    def ring_fill(self) -> tuple[int, int]:
        """Places of the ring that are held, and all of them."""
        return self._ring.total - self._ring.free, self._ring.total

    def deliver(self, buffer: FrameBuffer, meta: FrameMeta) -> None:
        """Hand over a complete frame (takes over the caller's reference to the buffer, also when refused)."""
        try:
            self._arrived(meta, received=True)
            self._keep(buffer, meta)
        except Lima2Error:
            buffer.release()
            raise
        self._forward(FrameItem(meta, buffer))

    def lost(self, meta: FrameMeta) -> None:
        """Report a frame without pixels; it becomes a marked hole everywhere."""
        if not meta.flags:
            meta.flags = FrameFlags.LOST
        if self._counts.waiting > MAX_WAITING_HOLES:
            raise AcquisitionError(
                f"{MAX_WAITING_HOLES} lost frames wait for the pipeline: it does not keep up or hangs"
            )
        self._arrived(meta, received=False)
        self._keep(None, meta)
        self._forward(FrameItem(meta, None))

    def _arrived(self, meta: FrameMeta, received: bool) -> None:
        self._refuse_closed()
        counts = self._counts
        with self._changed:
            if meta.local != counts.arrived:
                raise AcquisitionError(
                    f"source gave local frame {meta.local} (global {meta.index}) where {counts.arrived} was due"
                )
            if 0 <= counts.expected <= meta.local:
                raise AcquisitionError(f"source gave local frame {meta.local}, but only {counts.expected} are expected")
            if received:
                counts.received += 1
            else:
                counts.lost += 1
                counts.overrun += bool(meta.flags & FrameFlags.OVERRUN)
            self._changed.notify_all()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise AcquisitionError(f"no more frames: {self._closed}; the source must end")

    def _keep(self, buffer: FrameBuffer | None, meta: FrameMeta) -> None:
        """Keep and save the raw frame, where that is asked for."""
        if self._store is None and self._saver is None:
            return
        own = FrameMeta(meta.index, meta.local, meta.timestamp_ns, meta.flags)  # nodes may renumber theirs
        if self._store is not None:
            self._store.put(buffer, own)
        if self._saver is not None:
            self._saver.put(None if buffer is None else buffer.retain(), own)
