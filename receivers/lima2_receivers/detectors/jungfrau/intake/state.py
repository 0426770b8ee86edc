"""What listeners and coordinator share, and what each listener has of its own: plain arrays, for compiled code.

Frames are known by their place in this receiver's order, ``seq`` from 0. The frames from FLOOR to before LIMIT are
open: place ``seq % window`` of the arrays is theirs. No locks: every value has one writer. The coordinator writes
``control``, ``bases`` and, before it raises LIMIT over a place, zeros in that place; a listener writes its own row of
everything else. A place is used again only when every listener has confirmed (ACK) a floor above its old frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig
from lima2_receivers.detectors.jungfrau.intake.system_calls import IOVEC, MMSGHDR, POLLFD, TIMESPEC
from lima2_receivers.detectors.jungfrau.packets import (
    HEADER,
    HEADER_BYTES,
    MODULE_COLUMNS,
    MODULE_ROWS,
    PAYLOAD_BYTES,
)

MODULE_BYTES = MODULE_ROWS * MODULE_COLUMNS * 2

#: ``control``: STOP ends the listeners; END is the number of frames of the acquisition (NO_END: open). FIRST is the
#: frame number of seq 0: of every PERIOD numbers from there on, the first BLOCK are this receiver's.
STOP, FLOOR, LIMIT, FIRST, PERIOD, BLOCK, END, MAX_JUMP, NB_CONTROL = range(9)
NO_END = 1 << 62

#: ``progress`` per port: floor that it goes by; highest seq placed; seq of a packet that waits for its place (-1:
#: none); when its queue was last seen empty, when its last datagram was taken, and the
#: last that belongs to an open frame [ns, monotonic].
ACK, HIGHEST, WANTED, EMPTY_NS, LAST_NS, PLACED_NS, NB_PROGRESS = 0, 1, 2, 3, 4, 5, 8

#: ``counters`` per port. FOREIGN_*: packets that are not of this port, by what tells so.
(RECEIVED, PLACED, MISPLACED, LATE, DUPLICATE, MALFORMED, FOREIGN_TYPE, FOREIGN_VERSION, FOREIGN_POSITION,
 FOREIGN_MODULE, FOREIGN_PACKET, FOREIGN_NUMBER, BATCHES, STALLS, NB_COUNTERS) = (*range(14), 16)  # fmt: skip
FOREIGN = slice(FOREIGN_TYPE, FOREIGN_NUMBER + 1)

#: ``own`` of a listener: where the next packet is expected (seq, place in the order); the frame whose order of arrival
#: is noted, and how many packets of it; whether the order was learned, whether a candidate is noted; packets pending;
#: first and last frame that got packets since the last publication; up to which frame `working` is good.
(CURSOR_SEQ, CURSOR_PLACE, NOTED_SEQ, NOTED, LEARNED, CANDIDATE, PENDING, TOUCHED_FIRST, TOUCHED_LAST, OPENED,
 NB_OWN) = range(11)  # fmt: skip


class Shared(NamedTuple):
    """``bases`` (window): address of the frame in a place, 0 when its pixels are thrown away.

    Per port and place: ``counts`` packets placed (published), ``marks`` (packets) which, ``headers`` of the first one,
    ``stamps`` CLOCK_REALTIME of the last batch [ns].
    """

    control: np.ndarray
    bases: np.ndarray
    counts: np.ndarray
    marks: np.ndarray
    headers: np.ndarray
    stamps: np.ndarray
    progress: np.ndarray
    counters: np.ndarray
    strangers: np.ndarray


class Own(NamedTuple):
    """A listener's private arrays.

    ``expected``: row, column and module id (-1: any) of its headers. ``order`` (packets): packet numbers as they come;
    ``inverse``: place of a packet number in it. ``working`` (window): packets placed, not yet published. ``predicted``
    (batch, 2): (seq, packet) that each message is aimed at; ``pending`` (batch, 2): of those in ``bounce``. ``spill``:
    where messages go that have no place in a frame.
    """

    own: np.ndarray
    expected: np.ndarray
    order: np.ndarray
    inverse: np.ndarray
    noted: np.ndarray
    candidate: np.ndarray
    working: np.ndarray
    messages: np.ndarray
    vectors: np.ndarray
    headers: np.ndarray
    predicted: np.ndarray
    pending: np.ndarray
    pending_headers: np.ndarray
    bounce: np.ndarray
    spill: np.ndarray
    spec: np.ndarray
    pollfd: np.ndarray
    word: np.ndarray


def make_shared(config: IntakeConfig) -> Shared:
    """State of an intake that has nothing open."""
    ports, window = len(config.ports), config.window
    control = np.zeros(NB_CONTROL, "i8")
    control[PERIOD], control[BLOCK] = config.period, config.own_block
    control[END], control[MAX_JUMP] = NO_END, config.max_jump
    progress = np.zeros((ports, NB_PROGRESS), "i8")
    progress[:, [HIGHEST, WANTED]] = -1
    return Shared(
        control=control,
        bases=np.zeros(window, "i8"),
        counts=np.zeros((ports, window), "i8"),
        marks=np.zeros((ports, window, config.packets), "u1"),
        headers=np.zeros((ports, window), HEADER),
        stamps=np.zeros((ports, window), "i8"),
        progress=progress,
        counters=np.zeros((ports, NB_COUNTERS), "i8"),
        strangers=np.zeros(ports, HEADER),
    )


def make_own(config: IntakeConfig, port: int) -> Own:
    """State of the listener of port number ``port``; its message structures point to its own arrays for good."""
    batch, packets, given = config.listeners.batch, config.packets, config.ports[port]
    module_id = -1 if given.module_id is None else given.module_id
    headers = np.zeros(batch, HEADER)
    vectors = np.zeros((batch, 2), IOVEC)
    vectors["base"][:, 0] = headers.ctypes.data + HEADER_BYTES * np.arange(batch)
    vectors["length"] = HEADER_BYTES, PAYLOAD_BYTES
    messages = np.zeros(batch, MMSGHDR)
    messages["vectors"] = vectors.ctypes.data + vectors.strides[0] * np.arange(batch)
    messages["nb_vectors"] = 2
    own = np.zeros(NB_OWN, "i8")
    own[NOTED_SEQ], own[TOUCHED_FIRST], own[TOUCHED_LAST] = -1, NO_END, -1
    return Own(
        own=own,
        expected=np.array([given.row, given.column, module_id]),
        order=np.arange(packets),
        inverse=np.arange(packets),
        noted=np.zeros(packets, "i8"),
        candidate=np.zeros(packets, "i8"),
        working=np.zeros(config.window, "i8"),
        messages=messages,
        vectors=vectors,
        headers=headers,
        predicted=np.zeros((batch, 2), "i8"),
        pending=np.zeros((batch, 2), "i8"),
        pending_headers=np.zeros(batch, HEADER),
        bounce=np.zeros((batch, PAYLOAD_BYTES), "u1"),
        spill=np.zeros((batch, PAYLOAD_BYTES), "u1"),
        spec=np.zeros(1, TIMESPEC),
        pollfd=np.zeros(1, POLLFD),
        word=np.ones(1, "u8"),
    )


def port_offset(config: IntakeConfig, port: int) -> int:
    """Where the pixels of port number ``port`` begin in a frame [bytes]."""
    given = config.ports[port]
    return given.module * MODULE_BYTES + given.half * (MODULE_BYTES // config.interfaces)
