"""Tables of messages as `sendmmsg` wants them, made and changed as NumPy arrays.

Memory layout of Linux on 64-bit machines: ``struct iovec``, ``struct mmsghdr``, ``struct sockaddr_in`` and a control
message UDP_SEGMENT, which lets the kernel cut one message into many datagrams.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import numpy as np

#: See udp(7).
UDP_SEGMENT = 103

IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("iov", "u8"),
        ("iov_length", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
        ("sent", "u8"),
    ]
)
SOCKADDR = np.dtype([("family", "u2"), ("port", ">u2"), ("address", "u1", 4), ("zero", "u1", 8)])


def socket_addresses(addresses: Sequence[tuple[str, int]]) -> np.ndarray:
    """`SOCKADDR` rows of (IPv4 address, UDP port) pairs."""
    found = np.zeros(len(addresses), SOCKADDR)
    for row, (host, port) in zip(found, addresses, strict=True):
        row["family"] = socket.AF_INET
        row["port"] = port
        row["address"] = np.frombuffer(socket.inet_aton(host), np.uint8)
    return found


def segment_control(size: int) -> np.ndarray:
    """The control message that cuts a message into datagrams of ``size`` bytes."""
    data = struct.pack("=QiiH6x", 18, socket.IPPROTO_UDP, UDP_SEGMENT, size)
    return np.frombuffer(data, np.uint8).copy()


class MessageTable:
    """Messages of one or more datagrams each, every datagram a head and a body.

    ``heads`` (n, bytes) uint8 holds the heads of all datagrams one after another (a reference is kept, so that it can
    be changed between sends); `iovecs` (n, 2) and `messages` may be changed too. ``groups`` says how many datagrams
    each message has; those with more than one are cut into datagrams of ``segment`` bytes.
    """

    def __init__(self, heads: np.ndarray, groups: np.ndarray, segment: int) -> None:
        self.heads = heads
        self.groups = groups
        self.datagrams = int(groups.sum())
        self.iovecs = np.zeros((self.datagrams, 2), IOVEC)
        self.messages = np.zeros(len(groups), MESSAGE)
        self.iovecs["base"][:, 0] = heads.ctypes.data + heads.strides[0] * np.arange(self.datagrams, dtype=np.uint64)
        self.iovecs["length"][:, 0] = heads.shape[1]
        starts = np.cumsum(groups) - groups
        self.messages["iov"] = self.iovecs.ctypes.data + self.iovecs.strides[0] * starts.astype(np.uint64)
        self.messages["iov_length"] = 2 * groups
        self.messages["name_length"] = SOCKADDR.itemsize
        self._control = segment_control(segment)
        cut = groups > 1
        self.messages["control"][cut] = self._control.ctypes.data
        self.messages["control_length"][cut] = self._control.nbytes

    def bodies(self, addresses: np.ndarray, lengths: np.ndarray | int) -> None:
        """Set the memory addresses (uint64) and lengths [bytes] of the datagrams' bodies."""
        self.iovecs["base"][:, 1] = addresses
        self.iovecs["length"][:, 1] = lengths
