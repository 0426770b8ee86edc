"""What an intake has counted: packets by what became of them, frames by what they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.config import PortConfig
from lima2_receivers.detectors.jungfrau.intake.state import (
    DUPLICATE,
    FOREIGN,
    FOREIGN_MODULE,
    FOREIGN_NUMBER,
    FOREIGN_PACKET,
    FOREIGN_POSITION,
    FOREIGN_TYPE,
    FOREIGN_VERSION,
    LATE,
    MALFORMED,
    MISPLACED,
    PLACED,
    RECEIVED,
)
from lima2_receivers.detectors.jungfrau.packets import DETECTOR_TYPE, HEADER_VERSION


@dataclass(frozen=True)
class PacketCounts:
    """Datagrams of one port, or of all.

    ``received`` = ``placed`` + ``late`` + ``duplicate`` + ``foreign`` + ``malformed`` (while nothing is on its way).
    ``misplaced``: of those placed, the ones that had to be moved. ``late``: of frames that were given out before, or
    from before the first. ``kernel_dropped``: never received, because the socket's buffer was full.
    """

    received: int = 0
    placed: int = 0
    misplaced: int = 0
    late: int = 0
    duplicate: int = 0
    foreign: int = 0
    malformed: int = 0
    kernel_dropped: int = 0

    @classmethod
    def of(cls, counters: np.ndarray, kernel_dropped: int) -> PacketCounts:
        """From one listener's counters, or their sum."""
        return cls(
            received=int(counters[RECEIVED]),
            placed=int(counters[PLACED]),
            misplaced=int(counters[MISPLACED]),
            late=int(counters[LATE]),
            duplicate=int(counters[DUPLICATE]),
            foreign=int(counters[FOREIGN].sum()),
            malformed=int(counters[MALFORMED]),
            kernel_dropped=kernel_dropped,
        )


@dataclass(frozen=True, slots=True)
class PortProgress:
    """How far one port is: it ``reached`` so many frames of this receiver; packets that were ``placed``, ``late`` or
    ``strange`` (foreign or malformed); whether one is ``waiting`` for a place."""

    reached: int
    placed: int
    late: int = 0
    strange: int = 0
    waiting: bool = False


@dataclass(frozen=True)
class Counts:
    """Of all ports (``packets``) and of each (``ports``); frames given out so far.

    ``complete`` + ``incomplete`` + ``lost`` are all frames given out. ``lost``: no packet came, or (``overrun``) there
    was no buffer. ``missing``: packets that the frames given out lack. ``silence_s``: since the last good or bad
    datagram of each port (infinity: none came yet). ``strangers``: what the last foreign packet of a port was.
    """

    packets: PacketCounts
    ports: tuple[PacketCounts, ...]
    complete: int
    incomplete: int
    lost: int
    overrun: int
    missing: int
    silence_s: tuple[float, ...]
    strangers: tuple[str, ...]


_REASONS = {
    FOREIGN_TYPE: "detector type {detector_type} where {expected_type} (Jungfrau) is expected: another detector sends",
    FOREIGN_VERSION: "header version {version} where {expected_version} is expected: other firmware",
    FOREIGN_POSITION: "row {row}, column {column} where row {port.row}, column {port.column} is expected: "
    "another module's packets; check the order of the modules (hostname, detsize) and udp_dstport",
    FOREIGN_MODULE: "module id {module_id} where {port.module_id} is expected: modules or cables were swapped",
    FOREIGN_PACKET: "packet number {packet_number} where {packets} packets per port are expected: "
    "check numinterfaces of the detector",
    FOREIGN_NUMBER: "frame number {frame_number}, which is not one of this receiver's: check the round robin "
    "(udp_dstlist), the first frame number and the number of frames",
}


def describe_stranger(header: np.void, counters: np.ndarray, port: PortConfig, packets: int) -> str:
    """The last foreign packet of a port in words; empty when there was none. ``packets``: of a frame per port."""
    if not counters[FOREIGN].any():
        return ""
    values = {str(name): int(header[name]) for name in header.dtype.names or ()}
    reason = _reason(values, port, packets)
    text = _REASONS[reason].format(
        **values, port=port, packets=packets, expected_type=DETECTOR_TYPE, expected_version=HEADER_VERSION
    )
    return f"UDP port {port.port} gets {text}"


def _reason(values: dict[str, int], port: PortConfig, packets: int) -> int:
    checks = (
        (FOREIGN_TYPE, values["detector_type"] != DETECTOR_TYPE),
        (FOREIGN_VERSION, values["version"] != HEADER_VERSION),
        (FOREIGN_POSITION, (values["row"], values["column"]) != (port.row, port.column)),
        (FOREIGN_MODULE, port.module_id is not None and values["module_id"] != port.module_id),
        (FOREIGN_PACKET, values["packet_number"] >= packets),
    )
    return next((reason for reason, wrong in checks if wrong), FOREIGN_NUMBER)
