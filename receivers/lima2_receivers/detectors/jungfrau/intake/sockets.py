"""The UDP sockets: bound or told who has the port, with as large a buffer as the host allows, drops counted."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Sequence

import psutil

from lima2_bliss.contract import ConnectionLostError, Lima2Error, ParameterError
from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig, ListenerSettings
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES

log = logging.getLogger(__name__)

#: Linux's numbers of socket options that Python has no names for.
SO_RCVBUFFORCE, SO_BUSY_POLL, SO_MEMINFO = 33, 46, 55
#: SO_MEMINFO: nine 32-bit numbers, the last one is what the kernel dropped because the buffer was full.
_MEMINFO = struct.Struct("9I")


class PortTakenError(ConnectionLostError):
    """A UDP port cannot be bound because another socket has it."""


def open_sockets(config: IntakeConfig) -> tuple[list[socket.socket], list[str]]:
    """One bound, non-blocking socket per port, and warnings (texts for the user). All or none are open."""
    opened: list[socket.socket] = []
    warnings: list[str] = []
    try:
        for port in config.ports:
            opened.append(open_port(port.address, port.port))
            warnings += _set_options(opened[-1], config.listeners)
    except BaseException:
        close_sockets(opened)
        raise
    small = dict.fromkeys(warnings)
    for text in small:
        log.warning("%s", text)
    return opened, list(small)


def close_sockets(sockets: Sequence[socket.socket]) -> None:
    """Give the ports back."""
    for each in sockets:
        each.close()


def kernel_drops(each: socket.socket) -> int:
    """Datagrams that the kernel dropped on this socket because its buffer was full."""
    return int(_MEMINFO.unpack(each.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))[-1])


def granted_buffer(each: socket.socket) -> int:
    """Size of the socket's buffer [bytes], as SO_RCVBUF counts it (the kernel keeps twice that, for its overhead)."""
    return each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def open_port(address: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket. `PortTakenError`, or an error that says what is wrong with the address."""
    each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        each.setblocking(False)
        each.bind((address, port))
    except OSError as error:
        each.close()
        raise _refusal(error, address, port) from error
    return each


def _refusal(error: OSError, address: str, port: int) -> Lima2Error:
    where = f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"UDP port {where} is taken{_holder(port)}; end that process or give this receiver other ports "
            f"(who has it: ss -ulpn 'sport = :{port}')",
            port=port,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ParameterError(
            f"UDP port {where} cannot be opened: this host has no interface with address {address}; "
            "`ip -brief address` lists those it has",
            port=port,
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ParameterError(
            f"UDP port {where} cannot be opened by this user: ports below 1024 are privileged; give higher ones",
            port=port,
        )
    return ConnectionLostError(f"UDP port {where} cannot be opened: {error}", port=port)


def _holder(port: int) -> str:
    """Who has a UDP port, as far as this user may see it."""
    try:
        holders = {each.pid for each in psutil.net_connections("udp") if each.laddr and each.laddr.port == port}
        names = [f"{psutil.Process(pid).name()} (pid {pid})" for pid in sorted(holders - {None})]
    except (OSError, psutil.Error):
        return ""
    return f" by {', '.join(names)}" if names else ""


def _set_options(each: socket.socket, settings: ListenerSettings) -> list[str]:
    """Buffer and busy polling; warnings where the host gives less than asked."""
    warnings = []
    asked = settings.socket_buffer
    try:
        each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, min(asked, 0x3FFFFFFF))
    except PermissionError:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, min(asked, 0x3FFFFFFF))
    granted = granted_buffer(each)
    if granted < asked:
        # the kernel charges a datagram with up to twice its size, and keeps twice what was asked
        warnings.append(
            f"socket buffers of {granted / 2**20:.3g} MiB where {asked / 2**20:.3g} MiB were asked: they hold about "
            f"{granted // DATAGRAM_BYTES} packets per port; allow more with `sysctl -w net.core.rmem_max={asked}` "
            "(for good: a file in /etc/sysctl.d) or give the receiver CAP_NET_ADMIN"
        )
    if settings.busy_poll_us:
        try:
            each.setsockopt(socket.SOL_SOCKET, SO_BUSY_POLL, settings.busy_poll_us)
        except OSError as error:
            warnings.append(
                f"busy polling of {settings.busy_poll_us} us is not set ({error.strerror}): it needs CAP_NET_ADMIN or "
                f"`sysctl -w net.core.busy_read={settings.busy_poll_us}`"
            )
    return warnings
