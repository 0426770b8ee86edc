"""The number of this receiver's first frame, learned from the wire: packets are looked at, not taken."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig
from lima2_receivers.detectors.jungfrau.intake.placing import judge
from lima2_receivers.detectors.jungfrau.intake.state import LAST_NS, LATE, MALFORMED, RECEIVED, Own, Shared
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES, HEADER, HEADER_BYTES

#: How often a silent wire is left to look whether to go on waiting [s].
STEP_S = 0.05


def learn_first(
    sockets: Sequence[socket.socket],
    config: IntakeConfig,
    shared: Shared,
    owns: Sequence[Own],
    first_number: int | None,
    ended: Callable[[], bool],
) -> int | None:
    """Frame number of seq 0, at least ``first_number``; None when ``ended`` said so and no packet waits.

    The lowest number among the first packets of all ports, so that no port's first frame is cut off; once one port
    has sent, the others are waited for ``settle_s`` at most. Strange packets are taken out and counted.
    """
    numbers: dict[int, int] = {}
    deadline = float("inf")
    while len(numbers) < len(sockets) and time.monotonic() < deadline:
        over = ended()
        unknown = [port for port in range(len(sockets)) if port not in numbers]
        wait = 0.0 if over else max(min(STEP_S, deadline - time.monotonic()), 0.0)
        select.select([sockets[port] for port in unknown], [], [], wait)
        for port in unknown:
            number = _peek(sockets[port], port, config, shared, owns[port], first_number or 0)
            if number is not None:
                numbers[port] = number
                deadline = min(deadline, time.monotonic() + config.settle_s)
        if over and not numbers:
            return None
    lowest = min(numbers.values())
    if first_number is None:
        return lowest
    return first_number + (lowest - first_number) % config.period


def _peek(each: socket.socket, port: int, config: IntakeConfig, shared: Shared, mine: Own, least: int) -> int | None:
    """Frame number, ``least`` or more, of the first good packet that waits in a socket."""
    room = bytearray(HEADER_BYTES)
    header = np.frombuffer(room, HEADER)
    counters = shared.counters[port]
    while True:
        try:
            length = each.recv_into(room, HEADER_BYTES, socket.MSG_PEEK | socket.MSG_TRUNC)
        except BlockingIOError:
            return None
        number = int(header[0]["frame_number"])
        strange = MALFORMED if length != DATAGRAM_BYTES else judge(header[0], mine.expected, config.packets)
        if not strange and number >= least:
            return number
        each.recv_into(room)
        counters[RECEIVED] += 1
        counters[strange or LATE] += 1
        shared.progress[port, LAST_NS] = time.monotonic_ns()
        if strange and strange != MALFORMED:
            shared.strangers[port] = header[0]
