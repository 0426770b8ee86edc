"""Which ports owe packets of frames that were exposed, since when, and what to say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lima2_receivers.detectors.jungfrau.intake import PortConfig, PortProgress

#: A single port may lack so many frames less one in a row (lost packets) before it is called silent.
MIN_LAG = 3


@dataclass(frozen=True)
class Trouble:
    """``ports`` (numbers of them) get nothing of use; ``whole``: no port does."""

    ports: tuple[int, ...]
    whole: bool


class Silence:
    """Looks now and then at how far ports are; ``silence_s``: how long one that owes packets may get none.

    ``packets``: of a frame on a port. ``learning``: frame numbers come from the wire, exposures are not known.
    """

    def __init__(self, ports: int, packets: int, silence_s: float, learning: bool) -> None:
        self._packets = packets
        self._silence_s = silence_s
        self._learning = learning
        self._placed = [0] * ports
        self._owes_since: list[float | None] = [None] * ports

    def look(self, now_s: float, due: int, ports: Sequence[PortProgress]) -> Trouble | None:
        """What is wrong, when of this receiver's frames so many are ``due``."""
        goal = max(due, *(port.reached for port in ports))
        silent = []
        for number, port in enumerate(ports):
            only_strange = self._learning and not port.placed and port.strange >= self._packets
            since = self._owes_since[number]
            if port.reached >= goal and not only_strange:
                since = None
            elif since is None or port.waiting or port.placed > self._placed[number]:
                since = now_s
            self._owes_since[number], self._placed[number] = since, port.placed
            if since is not None and now_s - since >= self._silence_s:
                silent.append((number, only_strange or goal - port.reached >= MIN_LAG))
        if len(silent) == len(ports):
            return Trouble(tuple(range(len(ports))), whole=True)
        lagging = tuple(number for number, lags in silent if lags)
        return Trouble(lagging, whole=False) if lagging else None


def never_heard(due: int, ports: Sequence[PortProgress]) -> Trouble | None:
    """What is wrong at the end of an acquisition of which this receiver had ``due`` frames."""
    empty = tuple(number for number, port in enumerate(ports) if not port.placed)
    if not due or not empty:
        return None
    return Trouble(empty, whole=len(empty) == len(ports))


def describe(
    trouble: Trouble,
    configs: Sequence[PortConfig],
    progress: Sequence[PortProgress],
    stranger_of: Callable[[int], str],
    period: str,
) -> str:
    """The trouble in words: which modules and ports, ``period`` in which nothing came, why, and what to do."""
    ports = [configs[number] for number in trouble.ports]
    numbers = _ranges([port.port for port in ports])
    where = f"UDP port{'s' if len(ports) > 1 else ''} {numbers} at {ports[0].address}"
    if trouble.whole:
        begin = f"no packets of the detector's frames came {period} ({where}), although frames were exposed"
    else:
        begin = f"nothing of {_modules(ports, configs)} came {period} ({where}), the other modules send"
    strangers = [text for number in trouble.ports if (text := stranger_of(number))]
    shown = "; ".join(strangers[:4]) + (f"; and {len(strangers) - 4} more ports" if len(strangers) > 4 else "")
    if strangers:
        return f"{begin}: {shown}"
    if any(progress[number].strange for number in trouble.ports):
        return (
            f"{begin}: datagrams of a wrong size come; check that the links' MTU is 9000 all the way, and that "
            "nothing else sends to these ports"
        )
    if any(progress[number].late for number in trouble.ports):
        return (
            f"{begin}: packets come with frame numbers from before the acquisition's first; check that the detector's "
            "next frame number is the one that the control set, and prepare again"
        )
    return (
        f"{begin}: check that the detector sends to {ports[0].address} (udp_dstip, udp_dstport), power and cables of "
        "the modules, the MTU (9000) and the firewall; `tcpdump -ni any udp portrange "
        f"{min(port.port for port in ports)}-{max(port.port for port in ports)}` shows what arrives"
    )


def _modules(ports: Sequence[PortConfig], configs: Sequence[PortConfig]) -> str:
    """``module 3``, ``modules 4-7``, ``module 2 (interface 1)``: places in the detector, counted from 0."""
    interfaces = max(config.half for config in configs) + 1
    by_module: dict[int, list[int]] = {}
    for port in ports:
        by_module.setdefault(port.module, []).append(port.half)
    whole = [module for module, halves in by_module.items() if len(halves) == interfaces]
    texts = [f"module{'s' if len(whole) > 1 else ''} {_ranges(whole)}"] if whole else []
    texts += [
        f"module {module} (interface {halves[0]})" for module, halves in by_module.items() if len(halves) < interfaces
    ]
    return ", ".join(texts)


def _ranges(numbers: Sequence[int]) -> str:
    """``1, 4-7`` of 1, 4, 5, 6, 7."""
    pieces: list[list[int]] = []
    for number in sorted(numbers):
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)
