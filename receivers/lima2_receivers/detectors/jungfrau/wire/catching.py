"""Catches what the simulator sends, frame by frame, on free ports of this host, for tests of both sides of the wire."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from lima2_bliss.contract import DeviceTimeoutError
from lima2_receivers.detectors.jungfrau.wire.report import Report
from lima2_receivers.detectors.jungfrau.wire.simulator import WireSimulator

#: From asm/socket.h: a buffer above net.core.rmem_max, for those who may.
_SO_RCVBUFFORCE = 33
#: Asked for as a socket's buffer, of which the kernel gives twice as much: room for about 500 datagrams [bytes].
BUFFER_BYTES = 4 << 20


class Catcher:
    """UDP sockets of one receiver, one for each port."""

    def __init__(self, ports: int, host: str = "127.0.0.1") -> None:
        self._sockets: list[socket.socket] = []
        for _ in range(ports):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            with suppress(PermissionError):
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
            opened.setblocking(False)
            opened.bind((host, 0))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, UDP port) of each port."""
        return [opened.getsockname() for opened in self._sockets]

    @property
    def room(self) -> bool:
        """Whether each socket can hold a few frames unread; this host's net.core.rmem_max says what it may."""
        return all(
            opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 2 * BUFFER_BYTES for opened in self._sockets
        )

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets by port; they do not block."""
        return self._sockets

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in self._sockets:
            opened.close()


def receive(catchers: list[Catcher], count: int, timeout_s: float = 10.0) -> list[list[list[bytes]]]:
    """Datagrams by receiver and port, in the order of arrival: ``count`` of them all together, and what else is there.

    `DeviceTimeoutError` when fewer come.
    """
    caught: list[list[list[bytes]]] = [[[] for _ in catcher.sockets] for catcher in catchers]
    deadline = time.monotonic() + timeout_s
    total = 0
    with selectors.DefaultSelector() as selector:
        for receiver, catcher in enumerate(catchers):
            for port, opened in enumerate(catcher.sockets):
                selector.register(opened, selectors.EVENT_READ, caught[receiver][port])
        while True:
            ready = selector.select(max(deadline - time.monotonic(), 0) if total < count else 0)
            if not ready and total >= count:
                return caught
            if not ready:
                raise DeviceTimeoutError(f"{total} datagrams arrived of {count} in {timeout_s:g} s")
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                key.data.append(key.fileobj.recv(65536))
                total += 1


def catch(
    simulator: WireSimulator, catchers: list[Catcher], frames: int, timeout_s: float = 10.0, **start: Any
) -> tuple[list[list[list[bytes]]], Report]:
    """Send ``frames`` one by one, each only when the last one was taken in: nothing is lost but what shall be.

    Gives the datagrams by receiver and port, and the report. ``start`` goes to `WireSimulator.start`.
    """
    caught: list[list[list[bytes]]] = [[[] for _ in catcher.sockets] for catcher in catchers]
    before = 0

    def take(report: Report) -> int:
        new = receive(catchers, report.total("datagrams") - before, timeout_s)
        for found, ports in zip(caught, new, strict=True):
            for datagrams, more in zip(found, ports, strict=True):
                datagrams += more
        return report.total("datagrams")

    simulator.start(frames, frames_per_trigger=1, **start)
    for number in range(frames):
        simulator.trigger()
        simulator.wait_frames(number + 1, timeout_s)
        before = take(simulator.report())
    report = simulator.wait(timeout_s)
    take(report)
    return caught, report
