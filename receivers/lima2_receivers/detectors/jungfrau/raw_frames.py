"""Raw frames of a Jungfrau: the modules as they are read, one below the other, and what their packets said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lima2_bliss.contract import FrameInfo
from lima2_receivers.detectors.jungfrau.packets import (
    HEADER,
    MODULE_COLUMNS,
    MODULE_ROWS,
    PACKET_ROWS,
    packets_per_port,
)

if TYPE_CHECKING:
    from lima2_receivers.detectors.jungfrau.intake import Arrived

#: Names of what comes with each frame (P ports, module after module; K packets of each):
#: `packets.HEADER` (P,) of the first packet of each port, zeros where none came;
PACKET_HEADERS = "packet_headers"
#: uint8 (P, K / 8): bit p % 8 of byte p // 8 is 1 when packet p came;
PACKET_MASK = "packet_mask"
#: uint16 (P,): how many packets came.
PACKETS = "packets"
#: All of them.
RAW_EXTRAS = (PACKET_HEADERS, PACKET_MASK, PACKETS)

#: Type of the pixels: gain stage in the two highest bits.
PIXEL = np.dtype("<u2")


def raw_info(modules: int, interfaces: int) -> FrameInfo:
    """Raw frames (1, modules * 512, 1024) uint16 with their extras; ``interfaces``: ports of a module."""
    ports = modules * interfaces
    return FrameInfo(
        1,
        modules * MODULE_ROWS,
        MODULE_COLUMNS,
        PIXEL,
        extras=(
            (PACKET_HEADERS, HEADER, (ports,)),
            (PACKET_MASK, np.dtype("u1"), (ports, packets_per_port(interfaces) // 8)),
            (PACKETS, np.dtype("u2"), (ports,)),
        ),
        notes=tuple(notes(interfaces).items()),
    )


def notes(interfaces: int) -> dict[str, str]:
    """What files say of the pixels and of each extra; ``interfaces``: ports of a module."""
    count = packets_per_port(interfaces)
    halves = "" if interfaces == 1 else "; of a module's two ports the first has the upper 256 rows"
    return {
        "data": f"payload of the UDP packets, byte for byte: port after port, {count} packets of each in the order of "
        f"their numbers, {PACKET_ROWS} rows of {MODULE_COLUMNS} pixels in each packet; ports module after module"
        f"{halves}. Two highest bits of a pixel: gain stage (0: G0, 1: G1, 3: G2); 65535: the packet is missing",
        PACKET_HEADERS: "header of the first packet of each port that came, zeros where none did; exp_length and "
        "timestamp [100 ns]; row, column: of the port in the detector's grid of ports",
        PACKET_MASK: f"which packets of each port came: packet p is bit p % 8 of byte p // 8, p from 0 to {count - 1}",
        PACKETS: "how many packets of each port came",
    }


def extras_of(arrived: Arrived) -> dict[str, np.ndarray]:
    """The extras of a frame that the intake gave out; arrays of its own, not to be changed."""
    return {
        PACKET_HEADERS: arrived.headers,
        PACKET_MASK: arrived.mask,
        PACKETS: arrived.packets.astype("u2"),
    }
