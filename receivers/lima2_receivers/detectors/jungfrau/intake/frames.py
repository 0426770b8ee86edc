"""What an intake gives out, and where it puts frames: a small protocol, and a plain ring of slots that follows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame that is done with.

    ``local``: place in this receiver's order, from 0; ``number``: frame number in the headers. ``packets`` (ports):
    how many came; ``mask`` (ports, packets / 8) uint8: which, bit p % 8 of byte p // 8 is packet p. ``headers``
    (ports) `packets.HEADER`: of the first packet of each port (zeros where none came). ``timestamp_ns``: CLOCK_REALTIME
    of the last packet (now, if none came). ``overrun``: it came while there was no buffer for it.
    """

    local: int
    number: int
    complete: bool
    packets: np.ndarray
    mask: np.ndarray
    headers: np.ndarray
    timestamp_ns: int
    overrun: bool = False

    @property
    def empty(self) -> bool:
        """No packet came at all."""
        return not self.packets.any()


class Buffer(Protocol):
    """A place for a frame, e.g. the engine's `FrameBuffer`."""

    @property
    def data(self) -> np.ndarray:
        """Pixels, contiguous uint16 of modules * 512 * 1024: the modules one below the other."""

    def release(self) -> object:
        """The place is not needed after all."""


class Target(Protocol):
    """Where frames go; called from the thread in `Intake.run`, frames in order."""

    def reserve(self) -> Buffer | None:
        """A free place, at once, or None. The intake holds up to its window of them."""

    def deliver(self, buffer: Buffer, frame: Arrived) -> None:
        """A frame with pixels: complete, or passed on with 0xFFFF where packets are missing."""

    def lost(self, frame: Arrived) -> None:
        """A frame without pixels: nothing of it came, or it was dropped as incomplete, or there was no buffer."""


class Slot:
    """A place in a `SlotRing`."""

    __slots__ = ("_ring", "data", "number")

    def __init__(self, ring: SlotRing, number: int, data: np.ndarray) -> None:
        self._ring = ring
        self.number = number
        self.data = data

    def release(self) -> None:
        """Give it back to the ring."""
        self._ring.free.append(self)


class SlotRing:
    """``slots`` places for frames of ``modules`` modules, for use without an engine.

    Frames go to ``on_frame(frame, slot)``, slot None for lost ones; who takes a slot releases it.
    """

    def __init__(self, slots: int, modules: int, on_frame: Callable[[Arrived, Slot | None], None]) -> None:
        self.memory = np.zeros((slots, modules, MODULE_ROWS, MODULE_COLUMNS), "<u2")
        self.free = deque(Slot(self, number, self.memory[number]) for number in range(slots))
        self._on_frame = on_frame

    def reserve(self) -> Slot | None:
        """A free slot, or None."""
        try:
            return self.free.popleft()
        except IndexError:
            return None

    def deliver(self, buffer: Slot, frame: Arrived) -> None:
        """Hand a frame with pixels on."""
        self._on_frame(frame, buffer)

    def lost(self, frame: Arrived) -> None:
        """Hand a frame without pixels on."""
        self._on_frame(frame, None)

    def fill(self, value: int) -> Self:
        """Write all memory once, so that no page is touched for the first time while receiving."""
        self.memory[...] = value
        return self
