"""Datagrams made by hand, a sender that never overruns a socket, and an intake that runs beside it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

import numpy as np

from lima2_receivers.detectors.jungfrau import packets as p
from lima2_receivers.detectors.jungfrau.intake import Arrived, Intake, IntakeConfig, PortConfig, SlotRing, module_ports

RAMP = np.arange(p.PACKET_PIXELS, dtype="u4")

#: What the kernel charges a socket for one datagram, at most [bytes].
CHARGE = 20_000
#: Datagrams on their way that a busy host surely keeps: loopback drops what is beyond net.core.netdev_max_backlog
#: (1000) when the receiving side of the kernel does not get to run, and no counter of the socket shows it.
BACKLOG = 500
#: Longest wait for anything [s]; long, since several test runs may share the cores.
WAIT_S = 30.0


def pixels_of(number: int, port: PortConfig, packet: int) -> np.ndarray:
    """Pixels of a packet: other ones for every frame, port and packet, and never 0xFFFF."""
    seed = number * 2654435761 + (port.module * 2 + port.half) * 40503 + packet * 97
    return ((RAMP * 7 + seed) % 65521).astype("<u2")


def datagram(number: int, port: PortConfig, packet: int, **changes: int) -> bytes:
    """One good datagram; ``changes`` are values of header fields."""
    header = np.zeros((), p.HEADER)
    fields = {
        "frame_number": number,
        "packet_number": packet,
        "row": port.row,
        "column": port.column,
        "module_id": 0 if port.module_id is None else port.module_id,
        "detector_type": p.DETECTOR_TYPE,
        "version": p.HEADER_VERSION,
        "timestamp": number * 1000,
        **changes,
    }
    for name, value in fields.items():
        header[name] = value
    return header.tobytes() + pixels_of(number, port, packet).tobytes()


def whole(config: IntakeConfig, number: int) -> np.ndarray:
    """Pixels (modules, 512, 1024) of a complete frame."""
    ports = sorted(config.ports, key=lambda port: (port.module, port.half))
    rows = [pixels_of(number, port, packet) for port in ports for packet in range(config.packets)]
    return np.concatenate(rows).reshape(config.modules, p.MODULE_ROWS, p.MODULE_COLUMNS)


def make_config(modules: int = 1, interfaces: int = 1, **options: object) -> IntakeConfig:
    """Ports chosen by the system, modules in one column; without a time-out, so that a busy host changes nothing."""
    options.setdefault("timeout_s", 60.0)
    ports = module_ports(range(modules), 0, interfaces, module_rows=modules)
    free = tuple(PortConfig(0, q.module, q.half, q.row, q.column, q.module_id) for q in ports)
    return IntakeConfig(free, interfaces, **options)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Until it is so."""
    deadline, never = time.monotonic() + timeout_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        never.wait(0.0005)


class Rig:
    """An intake that runs in a thread; ``frames`` are what it gave: (`Arrived`, copy of the pixels or None)."""

    def __init__(
        self,
        config: IntakeConfig,
        target: object = None,
        slots: int = 0,
        frames: int | None = None,
        first_number: int | None = None,
    ) -> None:
        self.config = config
        self.intake = Intake(config)
        self.frames: list[tuple[Arrived, np.ndarray | None]] = []
        self.error: BaseException | None = None
        self._target = target or SlotRing(slots or config.window + 2, config.modules, self._take)
        self._expected, self._first_number = frames, first_number
        self._sent = self._known = 0
        self._ports = self.intake.ports
        self._room = max(min(min(self.intake.socket_buffers) * 2 // CHARGE, BACKLOG), 1)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._run)

    def _take(self, frame: Arrived, slot) -> None:
        self.frames.append((frame, None if slot is None else slot.data.copy()))
        if slot is not None:
            slot.release()

    def _run(self) -> None:
        try:
            self.intake.run(self._target, self._expected, self._first_number)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.intake.stop()
        self._thread.join(WAIT_S)
        self._sender.close()
        self.intake.close()
        assert not self._thread.is_alive()
        if exception[0] is None and self.error is not None:
            raise self.error

    @property
    def counts(self):
        return self.intake.counts()

    def send(self, data: bytes, port: int = 0) -> None:
        """One datagram, as soon as the socket has room for it."""
        if self._sent - self._known >= self._room:
            self._known = self.counts.packets.received
        if self._sent - self._known >= self._room:
            self.received()
            self._known = self._sent
        self._sender.sendto(data, ("127.0.0.1", self._ports[port]))
        self._sent += 1

    def send_frame(
        self,
        number: int,
        ports: Iterable[int] | None = None,
        order: Iterable[int] | None = None,
        without: Iterable[tuple[int, int]] = (),
    ) -> None:
        """A frame, packet by packet over all ports; ``without``: (port, packet) that are not sent."""
        missing = set(without)
        every = range(len(self.config.ports)) if ports is None else list(ports)
        for packet in range(self.config.packets) if order is None else order:
            for port in every:
                if (port, packet) not in missing:
                    self.send(datagram(number, self.config.ports[port], int(packet)), port)

    def received(self) -> None:
        """Wait until all that was sent was taken."""
        try:
            wait_for(lambda: self.counts.packets.received == self._sent, "reception of all packets")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._sent} sent, {self.counts}") from None

    def finish(self) -> None:
        """Wait until `Intake.run` has returned."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), f"the intake still runs: {self._sent} sent, {self.counts}"

    def given(self, count: int) -> None:
        """Wait for that many frames."""
        wait_for(lambda: len(self.frames) >= count or self.error is not None, f"{count} frames")

    def assert_balanced(self) -> None:
        """Every datagram is counted once, and every packet of the frames given out is there or missing."""
        counts = self.counts
        for each in (counts.packets, *counts.ports):
            strange = each.late + each.duplicate + each.foreign + each.malformed
            assert each.received == each.placed + strange
        assert counts.packets.received == self._sent
        assert counts.complete + counts.incomplete + counts.lost == len(self.frames)
        assert [frame.local for frame, _ in self.frames] == list(range(len(self.frames)))
        packets = self.config.packets * len(self.config.ports)
        assert sum(int(frame.packets.sum()) for frame, _ in self.frames) == packets * len(self.frames) - counts.missing
        assert counts.packets.kernel_dropped == 0
