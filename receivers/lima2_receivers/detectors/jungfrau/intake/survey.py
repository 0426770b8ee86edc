"""Which frames can be given out, in order: the coordinator's look at what the listeners have placed (compiled)."""

from __future__ import annotations

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.state import (
    ACK,
    EMPTY_NS,
    END,
    FLOOR,
    HIGHEST,
    LIMIT,
    NO_END,
    PLACED_NS,
    WANTED,
    Shared,
)
from lima2_receivers.detectors.jungfrau.intake.system_calls import poll, read, usleep
from lima2_receivers.kernels.compilation import kernel

#: What can be said of a frame: nothing yet, all packets there, some, none.
OPEN, COMPLETE, PARTIAL, EMPTY = range(4)

#: ``waits`` of a survey, see there.
TIMEOUT, PUSH, REORDER = range(3)

ACK_STEP_US = 50


@kernel()
def all_acknowledged(shared: Shared) -> int:
    """Floor that every listener goes by."""
    return shared.progress[:, ACK].min()


@kernel()
def furthest(shared: Shared) -> int:
    """Highest frame of which a packet was seen; -1 before the first."""
    return max(shared.progress[:, HIGHEST].max(), shared.progress[:, WANTED].max())


@kernel()
def note_evidence(shared: Shared, evidence: np.ndarray, seen: int, now: int) -> int:
    """Note in ``evidence`` (window) when frames were first known to have been sent [ns]; up to which it is noted."""
    window = evidence.size
    last = min(furthest(shared), shared.control[LIMIT] - 1)
    for seq in range(max(seen + 1, last + 1 - window), last + 1):
        evidence[seq % window] = now
    return max(seen, last)


@kernel()
def given_up(port: int, seq: int, shared: Shared, since: int, pressed: int, waits: np.ndarray) -> bool:
    """Whether nothing more of frame ``seq`` is expected on a port that lacks packets of it.

    ``since`` [ns]: when the frame was known to have been sent; ``pressed`` [ns]: since when newer frames need its
    place (NO_END: they do not). ``waits``: as `survey` has it.
    """
    progress = shared.progress[port]
    if max(progress[HIGHEST], progress[WANTED]) > seq + waits[REORDER]:
        return True
    empty = progress[EMPTY_NS]
    return empty > since + waits[TIMEOUT] or (empty > pressed and empty > progress[PLACED_NS] + waits[PUSH])


@kernel()
def survey(
    shared: Shared, evidence: np.ndarray, seen: int, pressed: int, waits: np.ndarray, statuses: np.ndarray
) -> int:
    """How many frames from FLOOR on can be given out; ``statuses`` says what they are.

    ``evidence``, ``seen``: see `note_evidence`. ``waits``: TIMEOUT and PUSH [ns], REORDER (frames).
    """
    floor, window = shared.control[FLOOR], evidence.size
    end = min(shared.control[LIMIT], shared.control[END])
    ports, packets = shared.counts.shape[0], shared.marks.shape[2]
    reached = furthest(shared)
    for seq in range(floor, end):
        place, full, some, over = seq % window, True, False, True
        since = evidence[place] if seq <= seen else NO_END
        pushed = pressed if reached >= seq + window else NO_END
        for port in range(ports):
            count = shared.counts[port, place]
            some |= count > 0
            if count < packets:
                full = False
                over &= given_up(port, seq, shared, since, pushed, waits)
        if full:
            statuses[seq - floor] = COMPLETE
        elif over:
            statuses[seq - floor] = PARTIAL if some else EMPTY
        else:
            return seq - floor
    return max(end - floor, 0)


@kernel()
def wait_acknowledged(shared: Shared, floor: int, wait_us: int) -> bool:
    """Wait until every listener goes by ``floor``, for at most ``wait_us``."""
    for _ in range(wait_us // ACK_STEP_US + 1):
        if all_acknowledged(shared) >= floor:
            return True
        usleep(ACK_STEP_US)
    return False


@kernel()
def wait_wake(pollfd: np.ndarray, word: np.ndarray, wait_ms: int) -> bool:
    """Wait until a listener has news, or ``wait_ms``."""
    woken = poll(pollfd.ctypes.data, 1, wait_ms) > 0
    if woken:
        read(pollfd[0].fd, word.ctypes.data, 8)
    return woken


@kernel()
def fill_missing(pixels: np.ndarray, offsets: np.ndarray, marks: np.ndarray, packet_pixels: int, value: int) -> None:
    """Set the pixels of missing packets: ``pixels`` flat, ``offsets`` of ports in it, ``marks`` (ports, packets)."""
    for port in range(marks.shape[0]):
        for packet in range(marks.shape[1]):
            if not marks[port, packet]:
                begin = offsets[port] + packet * packet_pixels
                pixels[begin : begin + packet_pixels] = value
