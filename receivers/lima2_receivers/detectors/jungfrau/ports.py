"""The UDP ports of a receiver: given by its properties, or a block of them that no other receiver of this host has."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from pathlib import Path

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.intake.sockets import open_port

#: Names of the device properties.
FIRST_PORT, ADDRESS = "udp_first_port", "udp_address"

#: Blocks that receivers choose from: below the ports that systems give to outgoing connections.
BLOCK = 64
FIRST_BLOCK, LAST_BLOCK = 20032, 30016
#: Ports of a block that a detector may use; the last one shows others that the block is taken.
BLOCK_PORTS = BLOCK - 1

_ANY = ("0.0.0.0", "*", "::", "[::]")
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


class UdpPorts:
    """UDP ports ``first``, ``first`` + 1, ... of a receiver, the same ones from construction to `close`.

    Property ``udp_first_port`` gives them; without it a free block of this host is taken. Property ``udp_address`` is
    the address that the detector sends to, and where the ports are opened (default: ``bind_address``).
    ``address``: host name or IPv4 address for the detector; ``bind``: for the sockets.
    """

    def __init__(self, properties: Mapping[str, str], bind_address: str) -> None:
        given = str(properties.get(ADDRESS, "")).strip()
        self.bind = _bind_address(given or bind_address, ADDRESS if given else "bind_address")
        self.address = socket.gethostname() if self.bind == _ANY[0] else given or bind_address
        self._lock: socket.socket | None = None
        number = str(properties.get(FIRST_PORT, "")).strip()
        if number:
            self.first = _first_port(number)
        else:
            self.first, self._lock = _free_block(self.bind)
        self._chosen = not number

    def check(self, ports: int) -> None:
        """`ParameterError` when a detector with so many ports does not fit."""
        if self._chosen and ports > BLOCK_PORTS:
            raise ParameterError(
                f"the detector has {ports} UDP ports; a receiver that chooses its ports has {BLOCK_PORTS}: set the "
                f"receiver's property {FIRST_PORT} to the first of {ports} ports that are free on its host"
            )
        if self.first + ports - 1 > 65535:
            raise ParameterError(
                f"property {FIRST_PORT} = {self.first}: the detector has {ports} UDP ports, the last would be "
                f"{self.first + ports - 1}; set it to {65536 - ports} at most"
            )

    def close(self) -> None:
        """Let others have the ports; harmless twice."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _first_port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise ParameterError(
            f"property {FIRST_PORT} = {text!r}: the first of the detector's UDP ports, from 1024 to 65535; leave it "
            "away to have free ones chosen"
        )
    return int(text)


def _bind_address(given: str, name: str) -> str:
    """What to bind sockets to."""
    if given in _ANY:
        return _ANY[0]
    try:
        socket.getaddrinfo(given, None, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ParameterError(
            f"{name} = {given!r} is no IPv4 address or known host name ({error}): give the address of the interface "
            "that the detector sends to; `ip -brief address` lists those of this host"
        ) from error
    return given


def _free_block(address: str) -> tuple[int, socket.socket]:
    """First port of a block of which no port is taken, and the socket that holds the block."""
    below = _ephemeral_begin()
    last = LAST_BLOCK if below < FIRST_BLOCK + BLOCK else min(LAST_BLOCK, below - BLOCK)
    for first in range(FIRST_BLOCK, last + 1, BLOCK):
        lock = _take(address, first + BLOCK_PORTS)
        if lock is None:
            continue
        if _all_free(address, first):
            return first, lock
        lock.close()
    raise ParameterError(
        f"{address} has no block of {BLOCK} free UDP ports between {FIRST_BLOCK} and {last + BLOCK - 1}; end receivers "
        f"that are left over, or set the receiver's property {FIRST_PORT} (what is taken: ss -ulpn)"
    )


def _all_free(address: str, first: int) -> bool:
    opened = []
    try:
        for port in range(first, first + BLOCK_PORTS):
            each = _take(address, port)
            if each is None:
                return False
            opened.append(each)
    finally:
        for each in opened:
            each.close()
    return True


def _take(address: str, port: int) -> socket.socket | None:
    """A socket bound to the port, or None when another socket has it."""
    each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        each.bind((address, port))
    except OSError as error:
        each.close()
        if error.errno == errno.EADDRINUSE:
            return None
        return open_port(address, port)  # it says what is wrong
    return each


def _ephemeral_begin() -> int:
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return LAST_BLOCK + BLOCK
