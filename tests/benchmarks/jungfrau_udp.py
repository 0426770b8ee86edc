"""UDP intake of one Jungfrau module (128 packets of 8240 bytes a frame) on loopback, with nothing behind it.

``drain_fps``: frames/s that one core takes out of a full socket buffer (the whole process is bound to it, nobody sends
meanwhile), median of rounds. ``naive_fps``: the same with one recv_into per packet, a look at its header and a copy of
its pixels to their place; ``in_place_fps``: recvmmsg straight into the frames, headers not looked at. ``live_fps``:
highest rate that another process sent without any packet lost; ``lost_packets``: of ``seconds`` at ``rate`` frames/s,
with ``cpu_ms_per_frame`` of this process (all threads). ``buffered_frames``: what the socket buffer holds, see
net.core.rmem_max.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _harness import arguments, report
from _jungfrau_flood import Flood

from lima2_receivers.detectors.jungfrau import packets as p
from lima2_receivers.detectors.jungfrau.intake import Intake, IntakeConfig, ListenerSettings, PortConfig, SlotRing
from lima2_receivers.detectors.jungfrau.intake.state import make_own
from lima2_receivers.detectors.jungfrau.intake.system_calls import MSG_DONTWAIT, recvmmsg
from lima2_receivers.kernels.compilation import kernel

#: What the kernel charges a socket buffer for one datagram on loopback, at most [bytes].
CHARGE = 17_000
FLOOD = Path(__file__).with_name("_jungfrau_flood.py")


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and those it starts, share one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def config(port: int = 0, **listeners: Any) -> IntakeConfig:
    """One module, frames numbered from 1."""
    return IntakeConfig((PortConfig(port),), first_number=1, listeners=ListenerSettings(**listeners))


class Ring(SlotRing):
    """Gives slots back at once; more of them than a cache holds."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, 1, lambda frame, slot: slot.release() if slot is not None else None)
        self.fill(1)


def filled(intake: Intake, frames: int) -> int:
    """Fill the socket buffer with at most ``frames`` whole frames; how many."""
    room = intake.socket_buffers[0] * 2 // CHARGE // p.PACKETS_PER_MODULE
    count = max(min(frames, room), 1)
    Flood(intake.ports[0]).run(1, count, 0.0)
    return count


def drained_by_intake(ring: Ring, frames: int) -> float:
    """Frames/s of the intake."""
    with Intake(config()) as intake:
        count = filled(intake, frames)
        with one_core():
            began = time.perf_counter()
            counts = intake.run(ring, count)
            took = time.perf_counter() - began
        assert counts.complete == count, counts
    return count / took


@kernel()
def take_in_place(fd: int, messages: np.ndarray, vectors: np.ndarray, bases: np.ndarray, frames: int, size: int) -> int:
    """Receive ``frames`` whole frames that wait in a socket into ``bases``, in order; calls made."""
    calls, done, batch = 0, 0, messages.size
    while done < frames * 128:
        aimed = min(batch, frames * 128 - done)
        for message in range(aimed):
            packet = done + message
            vectors[message, 1].base = bases[(packet // 128) % bases.size] + packet % 128 * size
        received = recvmmsg(fd, messages.ctypes.data, aimed, MSG_DONTWAIT, 0)
        if received <= 0:
            return -1
        done += received
        calls += 1
    return calls


def drained_in_place(ring: Ring, frames: int) -> float:
    """Frames/s of the bare method."""
    own = make_own(config(), 0)
    bases = np.array([each.ctypes.data for each in ring.memory])
    take_in_place(-1, own.messages, own.vectors, bases, 0, p.PAYLOAD_BYTES)
    with Intake(config()) as intake:
        count, fd = filled(intake, frames), intake._sockets[0].fileno()
        with one_core():
            began = time.perf_counter()
            calls = take_in_place(fd, own.messages, own.vectors, bases, count, p.PAYLOAD_BYTES)
            took = time.perf_counter() - began
        assert calls > 0
    return count / took


def drained_naively(ring: Ring, frames: int) -> float:
    """Frames/s of one call per packet."""
    with Intake(config()) as intake:
        count, each = filled(intake, frames), intake._sockets[0]
        room = bytearray(p.DATAGRAM_BYTES)
        header, payload = np.frombuffer(room, p.HEADER, 1), np.frombuffer(room, "u1", p.PAYLOAD_BYTES, p.HEADER_BYTES)
        places = ring.memory.view("u1").reshape(len(ring.memory), p.PACKETS_PER_MODULE, p.PAYLOAD_BYTES)
        with one_core():
            began = time.perf_counter()
            for _ in range(count * p.PACKETS_PER_MODULE):
                length = each.recv_into(room)
                about = header[0]
                good = length == p.DATAGRAM_BYTES and about["detector_type"] == p.DETECTOR_TYPE and about["row"] == 0
                if good:
                    places[int(about["frame_number"]) % len(places), int(about["packet_number"])] = payload
            took = time.perf_counter() - began
    return count / took


def median_fps(method: Callable[[Ring, int], float], ring: Ring, options: Any) -> float:
    """Median of rounds, after one to warm up."""
    return float(np.median([method(ring, options.frames) for _ in range(options.rounds + 1)][1:]))


def live(ring: Ring, rate: float, frames: int) -> tuple[float, int, float]:
    """A sender in another process: (rate reached, packets lost, CPU time of this process per frame [ms])."""
    with Intake(config()) as intake:
        runner = threading.Thread(target=intake.run, args=(ring,))
        runner.start()
        before = time.process_time()
        command = [sys.executable, str(FLOOD), str(intake.ports[0]), "1", str(frames), str(rate)]
        reached = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        intake.stop(frames)
        runner.join()
        cpu_ms = (time.process_time() - before) * 1e3 / frames
        lost = frames * p.PACKETS_PER_MODULE - intake.counts().packets.placed
    return reached, lost, cpu_ms


def highest_rate(ring: Ring, options: Any) -> float:
    """Bisection between the rate of the lossless run and a sender that goes flat out."""

    def lossless(rate: float) -> float:
        reached, lost, _ = live(ring, rate, round((rate or 5 * options.rate) * options.seconds))
        return 0.0 if lost else reached

    best = lossless(0.0)  # flat out
    if best:
        return best
    low, high = 0.0, 4 * options.rate
    for _ in range(options.steps):
        middle = (low + high) / 2
        reached = lossless(middle)
        best = max(best, reached)
        low, high = (middle, high) if reached else (low, middle)
    return best


def main() -> None:
    options = arguments(__doc__ or "", frames=200, rounds=7, rate=1000.0, seconds=3.0, steps=5, slots=64)
    ring = Ring(options.slots)
    drain, in_place, naive = (
        median_fps(method, ring, options) for method in (drained_by_intake, drained_in_place, drained_naively)
    )
    reached, lost, cpu_ms = live(ring, options.rate, round(options.rate * options.seconds))
    with Intake(config()) as intake:
        room = intake.socket_buffers[0] * 2 // CHARGE // p.PACKETS_PER_MODULE
    figures = {
        "drain_fps": drain,
        "naive_fps": naive,
        "in_place_fps": in_place,
        "ratio_to_naive": drain / naive,
        "ratio_to_in_place": drain / in_place,
        "live_fps": highest_rate(ring, options),
        "rate": reached,
        "lost_packets": lost,
        "cpu_ms_per_frame": cpu_ms,
        "drain_gb_per_s": drain * p.PACKETS_PER_MODULE * p.DATAGRAM_BYTES / 1e9,
        "buffered_frames": room,
    }
    report(options, "Jungfrau UDP intake, one module", figures)


if __name__ == "__main__":
    main()
