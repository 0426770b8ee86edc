"""The loop of a listener (compiled, without the GIL): from one socket into the frames until it is stopped."""

from __future__ import annotations

from lima2_receivers.detectors.jungfrau.intake.placing import place_pending, predict, sort_batch
from lima2_receivers.detectors.jungfrau.intake.state import (
    ACK,
    BATCHES,
    EMPTY_NS,
    FLOOR,
    LAST_NS,
    LIMIT,
    NO_END,
    OPENED,
    PENDING,
    PLACED,
    PLACED_NS,
    STALLS,
    STOP,
    TOUCHED_FIRST,
    TOUCHED_LAST,
    WANTED,
    Own,
    Shared,
)
from lima2_receivers.detectors.jungfrau.intake.system_calls import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EAGAIN,
    EINTR,
    ENOBUFS,
    ENOMEM,
    MSG_DONTWAIT,
    errno,
    now_ns,
    poll,
    recvmmsg,
    usleep,
    write,
)
from lima2_receivers.kernels.compilation import kernel

#: An idle listener looks this often whether something was decided meanwhile [ms].
IDLE_MS = 2


@kernel()
def follow(port: int, shared: Shared, mine: Own, limit: int) -> None:
    """Begin places that were opened since the last look."""
    window = mine.working.size
    for seq in range(max(mine.own[OPENED], limit - window), limit):
        mine.working[seq % window] = 0
    mine.own[OPENED] = limit


@kernel()
def publish(port: int, shared: Shared, mine: Own, floor: int) -> bool:
    """Tell the coordinator what was placed; whether the last packet of a frame was among it."""
    own, window = mine.own, mine.working.size
    stamp = now_ns(CLOCK_REALTIME, mine.spec)  # a call that the compiler moves no store across
    completed = False
    for seq in range(max(own[TOUCHED_FIRST], floor), own[TOUCHED_LAST] + 1):
        place = seq % window
        if mine.working[place] != shared.counts[port, place]:
            shared.stamps[port, place] = stamp
            shared.counts[port, place] = mine.working[place]
            completed |= mine.working[place] == mine.order.size
    own[TOUCHED_FIRST], own[TOUCHED_LAST] = NO_END, -1
    return completed


@kernel()
def listen(fd: int, wake_fd: int, port: int, offset: int, gather_us: int, shared: Shared, mine: Own) -> int:
    """Receive until STOP; 0, or the errno of a call that failed.

    ``wake_fd``: an eventfd of the coordinator, written when a frame's share is complete or a packet waits for a place.
    ``offset``: where this port's pixels begin in a frame [bytes]. ``gather_us``: pause when the queue is empty.
    """
    control, progress, own, counters = shared.control, shared.progress[port], mine.own, shared.counters[port]
    batch = mine.messages.size
    progress[PLACED_NS] = now_ns(CLOCK_MONOTONIC, mine.spec)  # silence counts from here
    while not control[STOP]:
        floor, limit = control[FLOOR], control[LIMIT]
        follow(port, shared, mine, limit)
        progress[ACK] = floor
        if own[PENDING]:
            wanted = place_pending(port, offset, shared, mine, floor, limit)
            progress[WANTED] = wanted
            if publish(port, shared, mine, floor):
                write(wake_fd, mine.word.ctypes.data, 8)
            if wanted >= 0:
                counters[STALLS] += 1
                write(wake_fd, mine.word.ctypes.data, 8)
                usleep(max(gather_us, 50))
                continue
        aimed = predict(port, offset, shared, mine, floor, limit, batch)
        before = now_ns(CLOCK_MONOTONIC, mine.spec)
        received = recvmmsg(fd, mine.messages.ctypes.data, aimed, MSG_DONTWAIT, 0)
        if received < 0:
            error = errno()
            if error not in (EAGAIN, EINTR, ENOMEM, ENOBUFS):
                return error
            received = 0
        if received:
            placed = counters[PLACED]
            sort_batch(port, shared, mine, floor, received)
            if own[PENDING]:
                progress[WANTED] = place_pending(port, offset, shared, mine, floor, limit)
            counters[BATCHES] += 1
            progress[LAST_NS] = before
            if counters[PLACED] > placed:
                progress[PLACED_NS] = before
            if publish(port, shared, mine, floor):
                write(wake_fd, mine.word.ctypes.data, 8)
        if received < aimed:
            if not own[PENDING]:
                progress[EMPTY_NS] = before
            if received == 0:
                poll(mine.pollfd.ctypes.data, 1, IDLE_MS)
            if gather_us:
                usleep(gather_us)
    return 0
