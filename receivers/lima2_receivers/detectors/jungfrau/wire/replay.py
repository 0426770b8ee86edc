"""Plays recorded datagrams to their destinations, in their order, as fast as they came or at another rate.

A recording is three files: ``NAME.bin`` or ``NAME.bin.xz`` with the datagrams one after another, ``NAME.index.npy``
with ``offset``, ``length``, ``port`` and ``t_ns`` (time of arrival) of each, and optionally ``NAME.json``.
"""

from __future__ import annotations

import lzma
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES, HEADER, HEADER_BYTES
from lima2_receivers.detectors.jungfrau.wire.layout import resolve
from lima2_receivers.detectors.jungfrau.wire.messages import SOCKADDR, MessageTable, socket_addresses
from lima2_receivers.detectors.jungfrau.wire.pacing import Pace
from lima2_receivers.detectors.jungfrau.wire.sender import Method, Sender

_FIELDS = ("offset", "length", "port", "t_ns")


@dataclass(frozen=True)
class Recording:
    """Recorded datagrams: ``data`` uint8, and rows of ``index`` in the order of arrival."""

    data: np.ndarray
    index: np.ndarray

    @property
    def ports(self) -> list[int]:
        """UDP ports that they came to, ascending."""
        return [int(port) for port in np.unique(self.index["port"])]

    def frame_numbers(self) -> np.ndarray:
        """Frame number (int64) of each datagram; one too short for a header has that of the datagram before it."""
        found = np.zeros(len(self.index), np.int64)
        whole = np.flatnonzero(self.index["length"] >= HEADER_BYTES)
        places = self.index["offset"][whole, None].astype(np.int64) + np.arange(8)
        found[whole] = self.data[places].view("<i8").ravel()
        last = np.zeros(len(found), np.int64)
        last[whole] = whole
        return found[np.maximum.accumulate(last)]


@dataclass(frozen=True)
class ReplayReport:
    """What was played. ``datagrams`` by recorded port."""

    frames: int
    datagrams: dict[int, int]
    duration_s: float
    slipped_s: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "frames": self.frames,
            "datagrams": sum(self.datagrams.values()),
            "duration_s": round(self.duration_s, 6),
            "frames_per_s": round(self.frames / self.duration_s, 3) if self.duration_s else 0.0,
            "slipped_s": round(self.slipped_s, 6),
            "ports": [{"port": port, "datagrams": number} for port, number in self.datagrams.items()],
        }


def load_recording(path: str | Path) -> Recording:
    """A recording, given by any of its files; `ParameterError` when it is not whole."""
    path = Path(path)
    name = path.name
    for ending in (".index.npy", ".bin.xz", ".bin", ".json"):
        name = name.removesuffix(ending)
    index_path = path.with_name(f"{name}.index.npy")
    data_path = next(
        (found for found in (path.with_name(f"{name}.bin"), path.with_name(f"{name}.bin.xz")) if found.exists()), None
    )
    if data_path is None or not index_path.exists():
        raise ParameterError(f"{path}: a recording is NAME.bin or NAME.bin.xz, and NAME.index.npy beside it")
    try:
        index = np.load(index_path, allow_pickle=False)
        data = np.frombuffer(
            lzma.decompress(data_path.read_bytes()) if data_path.suffix == ".xz" else data_path.read_bytes(), np.uint8
        )
    except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
        raise ParameterError(f"{path}: the recording cannot be read: {error}") from error
    missing = [field for field in _FIELDS if field not in (index.dtype.names or ())]
    if missing or index.ndim != 1:
        raise ParameterError(f"{index_path}: one row per datagram is needed, with {', '.join(_FIELDS)}")
    if not len(index):
        raise ParameterError(f"{path}: no datagrams were recorded")
    ends = index["offset"].astype(np.int64) + index["length"]
    if ends.max() > len(data):
        raise ParameterError(f"{data_path}: {len(data)} bytes, but the index goes to {ends.max()}; the file is cut")
    return Recording(data, index)


def replay(
    recording: Recording,
    destinations: Sequence[tuple[str, int]],
    rate_hz: float | None = None,
    *,
    method: Method = "auto",
    stopped: Callable[[], bool] = lambda: False,
    max_wait_s: float = 0.1,
) -> ReplayReport:
    """Play a recording: what came to its lowest port goes to the first of ``destinations``, and so on.

    ``rate_hz``: frames per second, 0 for flat out, None for the recorded times. ``stopped`` is asked at least every
    ``max_wait_s``.
    """
    ports = recording.ports
    if len(destinations) != len(ports):
        raise ParameterError(
            f"{len(destinations)} destinations given; the recording has the ports {', '.join(map(str, ports))}: "
            "give one address for each, in this order"
        )
    if rate_hz is not None and rate_hz < 0:
        raise ParameterError(f"rate = {rate_hz:g} Hz: 0 or more")
    addresses = [resolve(address) for address in destinations]
    sender = Sender(addresses, "sendmmsg" if method == "auto" else method)
    try:
        return _play(recording, sender, socket_addresses(addresses), rate_hz, stopped, max_wait_s)
    finally:
        sender.close()


def _play(
    recording: Recording,
    sender: Sender,
    sockaddrs: np.ndarray,
    rate_hz: float | None,
    stopped: Callable[[], bool],
    max_wait_s: float,
) -> ReplayReport:
    index, frame_numbers = recording.index, recording.frame_numbers()
    place = np.searchsorted(recording.ports, index["port"])
    starts = np.concatenate([[0], np.flatnonzero(np.diff(frame_numbers)) + 1, [len(index)]])
    recorded_s = (index["t_ns"][starts[:-1]].astype(np.int64) - int(index["t_ns"][0])) * 1e-9
    pace = Pace(1 / rate_hz if rate_hz else 0.0)
    began_s = time.monotonic()
    pace.begin(began_s)
    done = 0
    for number, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        while not stopped():
            now_s = time.monotonic()
            wait_s = pace.wait_s(now_s) if rate_hz is not None else began_s + recorded_s[number] - now_s
            if wait_s <= 0:
                break
            time.sleep(min(wait_s, max_wait_s))
        if stopped():
            break
        sender.send(_table(recording, start, end, sockaddrs, place[start:end]))
        pace.sent()
        done = end
    counted = np.bincount(place[:done], minlength=len(sockaddrs)).tolist()
    return ReplayReport(
        frames=len(np.unique(frame_numbers[:done])),
        datagrams=dict(zip(recording.ports, counted, strict=True)),
        duration_s=time.monotonic() - began_s,
        slipped_s=pace.slipped_s,
    )


def _table(recording: Recording, start: int, end: int, sockaddrs: np.ndarray, place: np.ndarray) -> MessageTable:
    """Datagrams ``start`` to ``end`` as they are, each to its place's address."""
    rows = recording.index[start:end]
    length = rows["length"].astype(np.int64)
    table = MessageTable(np.zeros((len(rows), HEADER.itemsize), np.uint8), np.ones(len(rows), np.int64), DATAGRAM_BYTES)
    table.iovecs["length"][:, 0] = 0  # all of a datagram is its body
    table.bodies(recording.data.ctypes.data + rows["offset"].astype(np.int64), length)
    table.messages["name"] = sockaddrs.ctypes.data + SOCKADDR.itemsize * place
    return table
