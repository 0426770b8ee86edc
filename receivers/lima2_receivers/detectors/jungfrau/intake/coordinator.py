"""Opens places for frames, and gives frames out in order when they are complete or nothing more of them is expected."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig
from lima2_receivers.detectors.jungfrau.intake.frames import Arrived, Buffer, Target
from lima2_receivers.detectors.jungfrau.intake.state import (
    BLOCK,
    END,
    FIRST,
    FLOOR,
    HIGHEST,
    LIMIT,
    NO_END,
    PERIOD,
    WANTED,
    Shared,
    port_offset,
)
from lima2_receivers.detectors.jungfrau.intake.survey import (
    COMPLETE,
    EMPTY,
    PARTIAL,
    all_acknowledged,
    fill_missing,
    furthest,
    note_evidence,
    survey,
    wait_acknowledged,
)
from lima2_receivers.detectors.jungfrau.packets import HEADER, MISSING_PIXEL, PACKET_PIXELS

#: How long listeners are waited for between two looks at whether they are well [us].
ACK_WAIT_US = 20_000


class Coordinator:
    """The window of open frames of one acquisition; everything is called from one thread.

    ``healthy`` raises when a listener has failed.
    """

    def __init__(self, config: IntakeConfig, shared: Shared, target: Target, healthy: Callable[[], None]) -> None:
        self._config = config
        self._shared = shared
        self._target = target
        self._healthy = healthy
        self._control = shared.control
        self._window = config.window
        self._held: dict[int, Buffer | None] = {}
        self._spare: list[Buffer] = []
        self._evidence = np.zeros(config.window, "i8")
        self._seen = -1
        self._pressed_ns = 0
        self._starved_ns = 0
        self._statuses = np.zeros(config.window, "i8")
        reorder = min(config.reorder_frames, config.window - 1)  # or a port could wait for a place of its own frames
        self._waits = np.array([config.timeout_s * 1e9, config.push_s * 1e9, reorder]).astype("i8")
        self._offsets = np.array([port_offset(config, port) // 2 for port in range(len(config.ports))])
        self._nothing = np.zeros(len(config.ports), "i8")
        self._no_headers = np.zeros(len(config.ports), HEADER)
        self._no_mask = np.zeros((len(config.ports), config.packets // 8), "u1")
        self._full_mask = np.full_like(self._no_mask, 0xFF)
        self.complete = self.incomplete = self.lost = self.overrun = self.missing = 0

    @property
    def given(self) -> int:
        """Frames given out; the next one's place in the order."""
        return int(self._control[FLOOR])

    @property
    def starved(self) -> bool:
        """Packets wait for a buffer that the target does not have."""
        return self._starved_ns > 0

    def open_places(self) -> None:
        """Reserve places as far ahead as the window allows; give up frames for which none comes free in time."""
        control, shared = self._control, self._shared
        limit = int(control[LIMIT])
        top = min(min(all_acknowledged(shared), self.given) + self._window, int(control[END]))
        while limit < top:
            buffer = self._spare.pop() if self._spare else self._target.reserve()
            if buffer is None:
                if shared.progress[:, WANTED].max() < limit or not self._waited_for_buffer():
                    return
            else:
                self._starved_ns = 0
            place = limit % self._window
            shared.counts[:, place] = 0
            shared.marks[:, place] = 0
            shared.headers[:, place] = self._no_headers
            shared.bases[place] = 0 if buffer is None else buffer.data.__array_interface__["data"][0]
            self._held[limit] = buffer
            limit += 1
            control[LIMIT] = limit

    def _waited_for_buffer(self) -> bool:
        now = time.monotonic_ns()
        self._starved_ns = self._starved_ns or now
        return now - self._starved_ns >= self._config.overrun_wait_s * 1e9

    def give_out(self) -> bool:
        """Give out all frames that can be; whether there were any."""
        shared, now, floor = self._shared, time.monotonic_ns(), self.given
        self._seen = note_evidence(shared, self._evidence, self._seen, now)
        self._press(now, floor)
        count = survey(
            shared, self._evidence, self._seen, self._pressed_ns or NO_END, self._waits, self._statuses
        )  # fmt: skip
        if count:
            self._control[FLOOR] = floor + count
            statuses = self._statuses[:count].tolist()
            if any(status != COMPLETE for status in statuses):
                self._let_go(floor + count)
            for seq, status in enumerate(statuses, floor):
                self._hand_over(seq, status)
        return self._leap(floor + count) or count > 0

    def _press(self, now: int, floor: int) -> None:
        """Note since when frames a window ahead have been waiting."""
        if self._shared.progress[:, WANTED].max() >= floor + self._window:
            self._pressed_ns = self._pressed_ns or now
        elif self._pressed_ns and furthest(self._shared) < floor + self._window - 2:
            self._pressed_ns = 0

    def _let_go(self, floor: int) -> None:
        """Wait until no listener writes into frames before ``floor``."""
        while not wait_acknowledged(self._shared, floor, ACK_WAIT_US):
            self._healthy()

    def _leap(self, floor: int) -> bool:
        """When all that waits is far ahead and nothing is open: go there, and report what is between as lost."""
        limit = int(self._control[LIMIT])
        if floor < limit or not self._pressed_ns:
            return False
        wanted = self._shared.progress[:, WANTED]
        waiting = wanted[wanted >= floor]
        if not waiting.size or waiting.min() < floor + 2 * self._window:
            return False
        goal = int(waiting.min())
        self._control[FLOOR] = goal  # first, so that nothing is open meanwhile
        self._control[LIMIT] = goal
        self.report_lost(floor, goal)
        return True

    def report_lost(self, first: int, end: int) -> None:
        """Report frames that never had a place."""
        for seq in range(first, end):
            self.lost += 1
            self.missing += self._nothing.size * self._config.packets
            frame = Arrived(
                seq, self._number(seq), False, self._nothing, self._no_mask, self._no_headers, time.time_ns()
            )  # fmt: skip
            self._target.lost(frame)

    def _number(self, seq: int) -> int:
        first, period, block = (int(self._control[name]) for name in (FIRST, PERIOD, BLOCK))
        return -1 if first < 0 else first + seq // block * period + seq % block

    def _hand_over(self, seq: int, status: int) -> None:
        """Give a frame out. Its place is not used again before `open_places`."""
        shared, place, packets = self._shared, seq % self._window, self._config.packets
        counts = shared.counts[:, place].copy()
        if status != COMPLETE:  # the last packets may have come while listeners let go
            status = COMPLETE if (counts == packets).all() else PARTIAL if counts.any() else EMPTY
        buffer = self._held.pop(seq)
        if status == COMPLETE:
            mask, missing = self._full_mask, 0
        else:
            mask = np.packbits(shared.marks[:, place], axis=-1, bitorder="little")
            missing = int(counts.size * packets - counts.sum())
        stamp = int(shared.stamps[:, place].max(where=counts > 0, initial=0)) or time.time_ns()
        complete = status == COMPLETE
        headers = shared.headers[:, place].copy()
        frame = Arrived(seq, self._number(seq), complete, counts, mask, headers, stamp, buffer is None)
        self.missing += missing
        if buffer is None:
            self.overrun += 1
            self.lost += 1
            self._target.lost(frame)
        elif complete:
            self.complete += 1
            self._target.deliver(buffer, frame)
        elif status == PARTIAL and self._config.incomplete == "pass":
            self.incomplete += 1
            fill_missing(
                buffer.data.reshape(-1), self._offsets, shared.marks[:, place], PACKET_PIXELS, MISSING_PIXEL
            )  # fmt: skip
            self._target.deliver(buffer, frame)
        else:
            self._spare.append(buffer)
            self.incomplete += status == PARTIAL
            self.lost += status == EMPTY
            self._target.lost(frame)

    def flush(self, at_least: int) -> None:
        """Listeners have ended: give out what was seen, and report frames before ``at_least`` as lost."""
        floor, limit = self.given, int(self._control[LIMIT])
        end = min(max(int(self._shared.progress[:, HIGHEST].max()) + 1, at_least), int(self._control[END]))
        if end <= floor:
            return
        self._control[FLOOR] = end
        for seq in range(floor, min(end, limit)):
            self._hand_over(seq, PARTIAL)
        self.report_lost(max(floor, limit), end)

    def release(self) -> None:
        """Give back all places that hold no frame."""
        for buffer in [*self._held.values(), *self._spare]:
            if buffer is not None:
                buffer.release()
        self._held.clear()
        self._spare.clear()
