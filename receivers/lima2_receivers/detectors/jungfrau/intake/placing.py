"""From datagrams that lie where they were predicted to packets that lie where they belong (compiled).

A batch is received straight into the frames, each packet where the port's order puts the next one that is missing.
Then headers are looked at: a packet whose header says what was predicted is done. The others are moved, by way of
a bounce buffer, because where they belong another packet of the same batch may lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.state import (
    BLOCK,
    CANDIDATE,
    CURSOR_PLACE,
    CURSOR_SEQ,
    DUPLICATE,
    END,
    FIRST,
    FLOOR,
    FOREIGN_MODULE,
    FOREIGN_NUMBER,
    FOREIGN_PACKET,
    FOREIGN_POSITION,
    FOREIGN_TYPE,
    FOREIGN_VERSION,
    HIGHEST,
    LATE,
    LEARNED,
    MALFORMED,
    MAX_JUMP,
    MISPLACED,
    NOTED,
    NOTED_SEQ,
    PENDING,
    PERIOD,
    PLACED,
    RECEIVED,
    TOUCHED_FIRST,
    TOUCHED_LAST,
    Own,
    Shared,
)
from lima2_receivers.detectors.jungfrau.intake.system_calls import MSG_TRUNC, memcpy
from lima2_receivers.detectors.jungfrau.packets import (
    DATAGRAM_BYTES,
    DETECTOR_TYPE,
    HEADER_VERSION,
    PAYLOAD_BYTES,
)
from lima2_receivers.kernels.compilation import kernel


@kernel()
def judge(header: Any, expected: np.ndarray, packets: int) -> int:
    """Which counter a header that is not of this port goes to; 0 when it is of this port.

    ``expected``: row, column, module id (-1: any). Frame numbers are not looked at.
    """
    if header.detector_type != DETECTOR_TYPE:
        return FOREIGN_TYPE
    if header.version != HEADER_VERSION:
        return FOREIGN_VERSION
    if header.row != expected[0] or header.column != expected[1]:
        return FOREIGN_POSITION
    if expected[2] >= 0 and header.module_id != expected[2]:
        return FOREIGN_MODULE
    if header.packet_number >= packets:
        return FOREIGN_PACKET
    return 0


@kernel()
def sequence(number: np.uint64, control: np.ndarray) -> int:
    """Place of a frame number in this receiver's order; -1 before its first frame, -2 when it is not its own."""
    distance = np.int64(number) - control[FIRST]
    if distance < 0:
        return -1 if np.int64(number) >= 0 else -2
    turn = distance // control[PERIOD]
    within = distance - turn * control[PERIOD]
    seq = turn * control[BLOCK] + within
    if within >= control[BLOCK] or seq >= control[END] or seq - control[FLOOR] > control[MAX_JUMP]:
        return -2
    return seq


@kernel()
def predict(port: int, offset: int, shared: Shared, mine: Own, floor: int, limit: int, wanted: int) -> int:
    """Aim up to ``wanted`` messages at the places of the next packets; how many there are. Full places are left out."""
    window, packets = shared.marks.shape[1], shared.marks.shape[2]
    if mine.own[CURSOR_SEQ] < floor:
        mine.own[CURSOR_SEQ], mine.own[CURSOR_PLACE] = floor, 0
    seq, place, aimed = mine.own[CURSOR_SEQ], mine.own[CURSOR_PLACE], 0
    while aimed < wanted and seq < limit:
        base = shared.bases[seq % window]
        marks = shared.marks[port, seq % window]
        while place < packets and aimed < wanted:
            packet = mine.order[place]
            place += 1
            if marks[packet]:
                continue
            target = base + offset + packet * PAYLOAD_BYTES if base else mine.spill[aimed].ctypes.data
            mine.vectors[aimed, 1].base = target
            mine.predicted[aimed, 0], mine.predicted[aimed, 1] = seq, packet
            aimed += 1
        if place >= packets:
            seq, place = seq + 1, 0
    if aimed == 0:  # no open place is expected to be filled: see what comes
        mine.vectors[0, 1].base = mine.spill[0].ctypes.data
        mine.predicted[0, 0] = mine.predicted[0, 1] = -1
        aimed = 1
    return aimed


@kernel()
def learn(mine: Own, seq: int, packet: int) -> None:
    """Note the order of arrival; adopt that of the first complete frame, later one that two in a row have."""
    own, packets, noted = mine.own, mine.order.size, mine.noted
    if seq != own[NOTED_SEQ]:
        if seq < own[NOTED_SEQ]:
            return
        own[NOTED_SEQ], own[NOTED] = seq, 0
    if own[NOTED] == packets:  # more than a frame has: duplicates
        return
    noted[own[NOTED]] = packet
    own[NOTED] += 1
    if own[NOTED] < packets:
        return
    if (noted == mine.order).all():
        own[LEARNED], own[CANDIDATE] = 1, 0
    elif (np.bincount(noted, minlength=packets) != 1).any():  # a duplicate, and one is missing
        own[CANDIDATE] = 0
    elif not own[LEARNED] or (own[CANDIDATE] and (noted == mine.candidate).all()):
        mine.order[:] = noted
        for place in range(packets):
            mine.inverse[mine.order[place]] = place
        own[LEARNED], own[CANDIDATE] = 1, 0
        if own[CURSOR_SEQ] <= seq:
            own[CURSOR_SEQ], own[CURSOR_PLACE] = seq, packets
    else:
        mine.candidate[:] = noted
        own[CANDIDATE] = 1


@kernel()
def mark(port: int, shared: Shared, mine: Own, seq: int, packet: int, header: Any) -> None:
    """Note a packet that lies where it belongs. Calls with so many arrays cost: `sort_batch` avoids them."""
    place, own = seq % shared.marks.shape[1], mine.own
    shared.marks[port, place, packet] = 1
    if mine.working[place] == 0:
        shared.headers[port, place] = header
    mine.working[place] += 1
    shared.counters[port, PLACED] += 1
    own[TOUCHED_FIRST] = min(own[TOUCHED_FIRST], seq)
    own[TOUCHED_LAST] = max(own[TOUCHED_LAST], seq)
    if seq > shared.progress[port, HIGHEST]:
        shared.progress[port, HIGHEST] = seq
    after = mine.inverse[packet] + 1
    if seq > own[CURSOR_SEQ] or (seq == own[CURSOR_SEQ] and after > own[CURSOR_PLACE]):
        own[CURSOR_SEQ], own[CURSOR_PLACE] = seq, after


@kernel()
def sort_batch(port: int, shared: Shared, mine: Own, floor: int, received: int) -> None:
    """Look at the headers of a batch: mark what lies right, throw out what is strange, put the rest into the bounce."""
    packets, window, counters = shared.marks.shape[2], shared.marks.shape[1], shared.counters[port]
    marks, working, own, noted, control = shared.marks[port], mine.working, mine.own, mine.noted, shared.control
    messages, headers, predicted, expected = mine.messages, mine.headers, mine.predicted, mine.expected
    counters[RECEIVED] += received
    for message in range(received):
        about = messages[message]
        if about.length != DATAGRAM_BYTES or about.flags & MSG_TRUNC:
            counters[MALFORMED] += 1
            continue
        header = headers[message]
        strange = judge(header, expected, packets)
        seq = 0 if strange else sequence(header.frame_number, control)
        if strange or seq == -2:
            counters[strange or FOREIGN_NUMBER] += 1
            shared.strangers[port] = header
            continue
        if seq < floor:
            counters[LATE] += 1
            continue
        packet = np.int64(header.packet_number)
        if seq == own[NOTED_SEQ] and own[NOTED] < packets - 1:  # what `learn` does in the middle of a frame
            noted[own[NOTED]] = packet
            own[NOTED] += 1
        else:
            learn(mine, seq, packet)
        if seq != predicted[message, 0] or packet != predicted[message, 1]:
            place = own[PENDING]
            mine.pending[place, 0], mine.pending[place, 1] = seq, packet
            mine.pending_headers[place] = header
            memcpy(mine.bounce[place].ctypes.data, mine.vectors[message, 1].base, PAYLOAD_BYTES)
            own[PENDING] = place + 1
        elif marks[seq % window, packet]:
            counters[DUPLICATE] += 1
        elif seq == own[TOUCHED_LAST] and seq == own[CURSOR_SEQ] and working[seq % window]:  # `mark`, in short
            marks[seq % window, packet] = 1
            working[seq % window] += 1
            counters[PLACED] += 1
            own[CURSOR_PLACE] = max(own[CURSOR_PLACE], mine.inverse[packet] + 1)
        else:
            mark(port, shared, mine, seq, packet, header)


@kernel()
def place_pending(port: int, offset: int, shared: Shared, mine: Own, floor: int, limit: int) -> int:
    """Move packets from the bounce to where they belong; lowest seq of those whose frame is not open yet, or -1."""
    window, counters = shared.marks.shape[1], shared.counters[port]
    kept, lowest = 0, -1
    for place in range(mine.own[PENDING]):
        seq, packet = mine.pending[place, 0], mine.pending[place, 1]
        if seq < floor:
            counters[LATE] += 1
        elif seq >= limit:
            if kept != place:
                mine.pending[kept] = mine.pending[place]
                mine.pending_headers[kept] = mine.pending_headers[place]
                memcpy(mine.bounce[kept].ctypes.data, mine.bounce[place].ctypes.data, PAYLOAD_BYTES)
            kept += 1
            lowest = seq if lowest < 0 else min(lowest, seq)
        elif shared.marks[port, seq % window, packet]:
            counters[DUPLICATE] += 1
        else:
            base = shared.bases[seq % window]
            if base:
                memcpy(base + offset + packet * PAYLOAD_BYTES, mine.bounce[place].ctypes.data, PAYLOAD_BYTES)
            counters[MISPLACED] += 1
            mark(port, shared, mine, seq, packet, mine.pending_headers[place])
    mine.own[PENDING] = kept
    return lowest
