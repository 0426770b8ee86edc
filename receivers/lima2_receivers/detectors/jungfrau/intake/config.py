"""What an intake is told: its ports and what their headers must say, numbering, windows, sockets and threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import packets_per_port, port_position

#: What becomes of incomplete frames: reported as lost, or given with 0xFFFF where pixels are missing.
IncompletePolicy = Literal["drop", "pass"]


@dataclass(frozen=True)
class PortConfig:
    """One UDP port: ``half`` (0 or 1) of module ``module`` of this receiver, and what its headers must say.

    ``row``, ``column``: place in the detector's grid of ports. ``module_id``: None takes any.
    """

    port: int
    module: int = 0
    half: int = 0
    row: int = 0
    column: int = 0
    module_id: int | None = None
    address: str = "127.0.0.1"


def module_ports(
    modules: Sequence[int],
    first_port: int,
    interfaces: int = 1,
    module_rows: int = 1,
    address: str = "127.0.0.1",
    module_ids: Sequence[int] | None = None,
) -> tuple[PortConfig, ...]:
    """Ports ``first_port``, ``first_port`` + 1, ... for ``modules`` (numbers in the detector), half after half.

    ``module_rows``: modules in one column of the detector. Frames hold the modules in the order given here.
    """
    ports: list[PortConfig] = []
    for place, module in enumerate(modules):
        for half in range(interfaces):
            row, column = port_position(module, half, interfaces, module_rows)
            module_id = None if module_ids is None else module_ids[place]
            ports.append(PortConfig(first_port + len(ports), place, half, row, column, module_id, address))
    return tuple(ports)


@dataclass(frozen=True)
class ListenerSettings:
    """How the sockets and their threads are set up.

    ``socket_buffer`` [bytes] is asked per port; ``busy_poll_us`` > 0 polls the network card that long; ``batch``
    datagrams are taken per system call; ``gather_s``: pause after the queue ran empty, so that a call finds several
    datagrams; ``cpus``: one core per port (or one for all); ``priority`` 1 to 99: real-time (SCHED_FIFO), 0: normal.
    """

    socket_buffer: int = 256 << 20
    busy_poll_us: int = 0
    batch: int = 64
    gather_s: float = 200e-6
    cpus: tuple[int, ...] = ()
    priority: int = 0


@dataclass(frozen=True)
class IntakeConfig:
    """Which frames an intake expects, on which ports, and how long it waits for what.

    Round robin: ``stride`` receivers get ``block`` frames in a row each, in turn. ``first_number``: number of the
    detector's first frame of the acquisition; it may be given to `Intake.run` instead, and None takes the first that
    comes. ``phase``: how many blocks after ``first_number`` this receiver has its first; None learns it from the first
    frame that comes. Learning needs ``block`` 1 or one receiver. ``window``: frames open at a time (buffers held).
    ``max_jump``: frame numbers further ahead (in frames) are foreign.

    What is waited for: ``timeout_s``: after any packet of a frame (or of a later one), a port with nothing left to
    read. ``reorder_frames`` (less than the window counts): a port that is further ahead is not waited for.
    ``push_s``: when newer frames need the place of an incomplete one, a port from which nothing came for so long is
    not waited for. ``overrun_wait_s``: how long packets wait in the socket for a buffer before their frame is given
    up. ``settle_s``: while learning, ports that have not sent yet. ``grace_s``: after a stop, what is still to come.
    """

    ports: tuple[PortConfig, ...]
    interfaces: int = 1
    stride: int = 1
    block: int = 1
    first_number: int | None = None
    phase: int | None = None
    incomplete: IncompletePolicy = "drop"
    window: int = 16
    timeout_s: float = 0.5
    reorder_frames: int = 2
    push_s: float = 0.01
    overrun_wait_s: float = 0.05
    settle_s: float = 0.02
    grace_s: float = 0.5
    max_jump: int = 100_000
    listeners: ListenerSettings = field(default_factory=ListenerSettings)

    def __post_init__(self) -> None:
        faults = [*self._port_faults(), *self._value_faults()]
        if faults:
            raise ParameterError("the intake cannot be set up: " + "; ".join(faults))

    @property
    def modules(self) -> int:
        """Modules of a frame."""
        return max(port.module for port in self.ports) + 1

    @property
    def packets(self) -> int:
        """Packets of a frame on each port."""
        return packets_per_port(self.interfaces)

    @property
    def own_block(self) -> int:
        """Frames in a row that are this receiver's; with one receiver all are, so that it does not matter."""
        return self.block if self.stride > 1 else 1

    @property
    def period(self) -> int:
        """Frame numbers from one block of this receiver to its next."""
        return self.stride * self.own_block

    def learns(self, first_number: int | None) -> bool:
        """Whether the number of the receiver's first frame comes from the wire; `ParameterError` if it cannot."""
        learned = first_number is None or (self.stride > 1 and self.phase is None)
        if learned and self.own_block > 1:
            raise ParameterError(
                f"{self.stride} receivers get {self.block} frames in a row each: frame numbers cannot be learned from "
                "the wire then; give the first number and this receiver's phase, have one receiver, or blocks of 1"
            )
        return learned

    def _port_faults(self) -> list[str]:
        if not self.ports:
            return ["no ports; give at least one"]
        faults = []
        addresses = Counter((port.address, port.port) for port in self.ports if port.port)
        faults += [f"port {address}:{port} is given {n} times" for (address, port), n in addresses.items() if n > 1]
        faults += [f"UDP port {port.port}; allowed are 0 to 65535" for port in self.ports if not 0 <= port.port < 65536]
        if self.interfaces not in (1, 2):
            return [*faults, f"{self.interfaces} interfaces; a module has 1 or 2"]
        given = sorted((port.module, port.half) for port in self.ports)
        wanted = [(module, half) for module in range(self.modules) for half in range(self.interfaces)]
        if given != wanted:
            faults.append(f"ports are for (module, half) {given}; {self.interfaces} interface(s) need each of {wanted}")
        return faults

    def _value_faults(self) -> list[str]:
        settings = self.listeners
        first, phase = self.first_number, self.phase
        checks = [
            (self.stride >= 1, f"stride {self.stride}; at least 1"),
            (self.block >= 1, f"block {self.block}; at least 1"),
            (first is None or first >= 0, f"first_number {first}; at least 0"),
            (phase is None or 0 <= phase < self.stride, f"phase {phase}; 0 to stride - 1 = {self.stride - 1}"),
            (self.incomplete in ("drop", "pass"), f"incomplete {self.incomplete!r}; 'drop' or 'pass'"),
            (2 <= self.window <= 4096, f"window {self.window}; 2 to 4096 frames"),
            (self.reorder_frames >= 0, f"reorder_frames {self.reorder_frames}; at least 0"),
            (self.max_jump > self.window, f"max_jump {self.max_jump}; more than the window"),
            (settings.socket_buffer >= 1 << 16, f"socket_buffer {settings.socket_buffer}; at least 65536 bytes"),
            (1 <= settings.batch <= 1024, f"batch {settings.batch}; 1 to 1024 datagrams"),
            (settings.busy_poll_us >= 0, f"busy_poll_us {settings.busy_poll_us}; at least 0"),
            (0 <= settings.priority <= 99, f"priority {settings.priority}; 0 to 99"),
            (len(settings.cpus) in (0, 1, len(self.ports)), f"{len(settings.cpus)} cpus for {len(self.ports)} ports"),
        ]
        times = {"timeout_s": self.timeout_s, "overrun_wait_s": self.overrun_wait_s, "settle_s": self.settle_s}
        times |= {"push_s": self.push_s, "grace_s": self.grace_s, "gather_s": settings.gather_s}
        checks += [(value >= 0, f"{name} {value}; at least 0") for name, value in times.items()]
        checks.append((settings.gather_s <= 0.05, f"gather_s {settings.gather_s}; at most 0.05"))
        return [text for good, text in checks if not good]
