"""Which ports a detector has, where they send to, and in which order each sends the packets of a frame."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import centre_out, packets_per_port, port_position

#: Orders of packets on the wire. ``centre_out`` is that of real modules, ``ascending`` that of PSI's virtual detector.
Order = Literal["centre_out", "ascending", "descending"]
#: Where the ports of a detector send the frames of one receiver: (host, UDP port) by port.
Addresses = Sequence[tuple[str, int]]
#: Entries that a detector's table of destinations has.
MAX_RECEIVERS = 32
#: Id of the first module, if none are given; PSI's virtual modules have it too.
FIRST_MODULE_ID = 1234


@dataclass(frozen=True)
class WireLayout:
    """A grid of modules with 1 or 2 interfaces each. Port ``module * interfaces + interface``; modules run down first.

    ``module_ids`` are the 16-bit ids that the modules send; default: 1234, 1235, ...
    """

    modules_x: int = 1
    modules_y: int = 1
    interfaces: int = 1
    order: Order = "centre_out"
    module_ids: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.modules_x < 1 or self.modules_y < 1:
            raise ParameterError(f"modules = {self.modules_x} x {self.modules_y}: at least 1 x 1")
        if self.interfaces not in (1, 2):
            raise ParameterError(f"interfaces = {self.interfaces}: a module has 1 or 2")
        if self.order not in get_args(Order):
            raise ParameterError(f"order = {self.order!r}: one of {', '.join(get_args(Order))}")
        if not self.module_ids:
            ids = range(FIRST_MODULE_ID, FIRST_MODULE_ID + self.modules)
            object.__setattr__(self, "module_ids", tuple(ids))
        if len(self.module_ids) != self.modules:
            raise ParameterError(f"{len(self.module_ids)} module ids given for {self.modules} modules; give one each")
        if not all(0 <= number < 1 << 16 for number in self.module_ids):
            raise ParameterError(f"module ids {list(self.module_ids)}: each is from 0 to 65535")

    @property
    def modules(self) -> int:
        """Modules of the detector."""
        return self.modules_x * self.modules_y

    @property
    def ports(self) -> int:
        """Ports of the detector: every interface of every module."""
        return self.modules * self.interfaces

    @property
    def packets(self) -> int:
        """Packets of one frame on one port."""
        return packets_per_port(self.interfaces)

    def position(self, port: int) -> tuple[int, int]:
        """(row, column) of a port in its headers."""
        return port_position(*divmod(port, self.interfaces), self.interfaces, self.modules_y)

    def packet_order(self, interface: int) -> np.ndarray:
        """Packet numbers (int64) of one frame as they follow each other on an interface, 0 or 1, of any module."""
        ascending = np.arange(self.packets)
        if self.order == "ascending":
            return ascending
        if self.order == "descending":
            return ascending[::-1].copy()
        if self.interfaces == 1:
            return centre_out(self.packets)
        return ascending if interface else ascending[::-1].copy()

    def orders(self) -> np.ndarray:
        """`packet_order` of all ports: (ports, packets) int64."""
        return np.stack([self.packet_order(port % self.interfaces) for port in range(self.ports)])


def resolved(layout: WireLayout, destinations: Sequence[Addresses]) -> list[list[tuple[str, int]]]:
    """Destinations by receiver and port, with IPv4 addresses for host names; `ParameterError` where they do not fit."""
    if not 1 <= len(destinations) <= MAX_RECEIVERS:
        raise ParameterError(f"{len(destinations)} receivers given; a detector sends to 1 to {MAX_RECEIVERS}")
    found = []
    for receiver, addresses in enumerate(destinations):
        if len(addresses) != layout.ports:
            raise ParameterError(
                f"receiver {receiver} has {len(addresses)} addresses; {layout.modules} modules with "
                f"{layout.interfaces} interfaces send to {layout.ports}, module by module"
            )
        found.append([resolve(address) for address in addresses])
    return found


def resolve(address: tuple[str, int]) -> tuple[str, int]:
    """(IPv4 address, UDP port) of (host, UDP port); `ParameterError` if there is none."""
    host, port = address
    if not 1 <= port <= 65535:
        raise ParameterError(f"{host}:{port}: UDP ports are from 1 to 65535")
    try:
        return socket.gethostbyname(host), port
    except OSError as error:
        raise ParameterError(f"{host}:{port}: no IPv4 address of this host is known ({error})") from error


def parse_addresses(text: str, ports: int) -> list[tuple[str, int]]:
    """Addresses of one receiver: ``HOST:PORT,HOST:PORT,...``, one for each port, or ``HOST:PORT+``, counted up."""
    pieces = [piece.strip() for piece in text.split(",")]
    count_up = len(pieces) == 1 and pieces[0].endswith("+")
    found = []
    for piece in pieces:
        host, colon, number = piece.removesuffix("+" if count_up else "").rpartition(":")
        if not colon or not host or not number.isdecimal():
            raise ParameterError(f"{text}: write HOST:PORT,HOST:PORT,... or HOST:PORT+, e.g. 127.0.0.1:50001+")
        found.append((host, int(number)))
    if count_up:
        host, first = found[0]
        return [(host, first + number) for number in range(ports)]
    return found
