"""Sends tables of messages through one UDP socket, many datagrams a system call, without the GIL."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import socket
import time
from collections.abc import Iterable
from typing import Literal, get_args

from lima2_bliss.contract import AcquisitionError, ParameterError
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES
from lima2_receivers.detectors.jungfrau.wire.messages import MESSAGE, UDP_SEGMENT, MessageTable

log = logging.getLogger(__name__)

#: ``segments``: sendmmsg whose messages the kernel cuts into several datagrams (UDP_SEGMENT); ``sendmmsg``: one
#: datagram a message; ``sendmsg``: a system call for every datagram, to compare. ``auto`` takes the first that works.
Method = Literal["auto", "segments", "sendmmsg", "sendmsg"]

#: Datagrams that fit into one message of 64 kB, headers of IP and UDP included.
MAX_SEGMENTS = (65535 - 28) // DATAGRAM_BYTES
#: What a datagram needs of a link's MTU to go in one piece.
MTU_NEEDED = DATAGRAM_BYTES + 28
#: From linux/in.h.
_IP_MTU = 14
#: The kernel's queue of the link is full: wait this long and go on.
_FULL_WAIT_S = 50e-6


def path_mtu(address: tuple[str, int]) -> int:
    """MTU [bytes] of the link on which this host sends to an address. `AcquisitionError` without a way there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
            return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        except OSError as error:
            raise AcquisitionError(f"{address[0]}:{address[1]} cannot be reached: {error}") from error


def _kernel_cuts() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, DATAGRAM_BYTES)
        except OSError:
            return False
    return True


class Sender:
    """One UDP socket, and the way to send that this host and the links to ``hosts`` allow. Close it after use."""

    def __init__(self, addresses: Iterable[tuple[str, int]], method: Method = "auto", buffer_bytes: int = 4 << 20):
        if method not in get_args(Method):
            raise ParameterError(f"method = {method!r}: one of {', '.join(get_args(Method))}")
        narrow = {host: mtu for host, mtu in _mtus(addresses).items() if mtu < MTU_NEEDED}
        if narrow:
            log.warning(
                "the links to %s have an MTU below %d: datagrams go in fragments; set the MTU to 9000",
                ", ".join(f"{host} (MTU {mtu})" for host, mtu in narrow.items()),
                MTU_NEEDED,
            )
        cuts = not narrow and _kernel_cuts()
        if method == "segments" and not cuts:
            why = "the MTU is too small" if narrow else "this kernel has no UDP_SEGMENT (Linux 4.18)"
            raise ParameterError(f"method = 'segments': {why}; use 'sendmmsg' or 'auto'")
        self.method: Method = ("segments" if cuts else "sendmmsg") if method == "auto" else method
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)

    @property
    def segments(self) -> int:
        """Datagrams that a message may have."""
        return MAX_SEGMENTS if self.method == "segments" else 1

    def send(self, table: MessageTable) -> None:
        """Send all messages of a table, in order. `AcquisitionError` when the kernel refuses one."""
        base, count, done = table.messages.ctypes.data, len(table.messages), 0
        while done < count:
            at = ctypes.c_void_p(base + done * MESSAGE.itemsize)
            if self.method == "sendmsg":
                sent = 1 if self._libc.sendmsg(self._socket.fileno(), at, 0) >= 0 else -1
            else:
                sent = self._libc.sendmmsg(self._socket.fileno(), at, count - done, 0)
            if sent < 0:
                self._failed(ctypes.get_errno())
            else:
                done += sent

    def _failed(self, number: int) -> None:
        """Come back when it may be tried again."""
        if number in (errno.ENOBUFS, errno.EAGAIN):
            time.sleep(_FULL_WAIT_S)
        elif number in (errno.EIO, errno.EINVAL) and self.method == "segments":
            raise AcquisitionError("the link does not take messages of several datagrams; use method 'sendmmsg'")
        elif number != errno.EINTR:
            raise AcquisitionError(f"datagrams cannot be sent: {os.strerror(number)}")

    def close(self) -> None:
        """Close the socket; harmless twice."""
        self._socket.close()


def _mtus(addresses: Iterable[tuple[str, int]]) -> dict[str, int]:
    by_host = dict(addresses)  # one port of each host
    return {host: path_mtu((host, port)) for host, port in by_host.items()}
