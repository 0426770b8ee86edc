"""Plays a file of raw frames to receivers, as the detector sent them: frame by frame, out of the file into the wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES, HEADER_BYTES, PAYLOAD_BYTES
from lima2_receivers.detectors.jungfrau.raw_file import RawFile
from lima2_receivers.detectors.jungfrau.wire.layout import Addresses, Order, WireLayout, resolved
from lima2_receivers.detectors.jungfrau.wire.messages import SOCKADDR, MessageTable, socket_addresses
from lima2_receivers.detectors.jungfrau.wire.pacing import Pace
from lima2_receivers.detectors.jungfrau.wire.sender import Method, Sender


@dataclass(frozen=True)
class Playing:
    """What of a file is played, and how.

    ``first``, ``frames``: places in the file (0 frames: to its end), ``repeat``: how often, frame numbers going on.
    ``rate_hz``: 0 for flat out, None for the recorded times. ``order``: of the packets. ``first_number``: number the
    frames played from there on, one by one, and leave out those without packets; None: the recorded numbers, and
    frames without packets keep their number, their time, and their turn in the round robin. ``first_destination``:
    receiver of the first frame.
    """

    first: int = 0
    frames: int = 0
    repeat: int = 1
    rate_hz: float | None = None
    order: Order = "centre_out"
    first_number: int | None = None
    first_destination: int = 0
    method: Method = "auto"

    def __post_init__(self) -> None:
        faults = [
            f"{name} = {getattr(self, name)}: {least} or more"
            for name, least in (("first", 0), ("frames", 0), ("repeat", 1), ("rate_hz", 0), ("first_number", 0))
            if (getattr(self, name) or 0) < least and getattr(self, name) is not None
        ]
        if faults:
            raise ParameterError("the file cannot be played: " + "; ".join(faults))


@dataclass
class RawReplayReport:
    """What was played so far. ``frames`` and ``datagrams``: int64 (receivers, ports), frames with packets there.

    ``holes``: frames without packets that had their turn; ``missing``: packets that the frames played lack.
    """

    frames: np.ndarray
    datagrams: np.ndarray
    method: str
    interfaces: int
    played: int = 0
    holes: int = 0
    missing: int = 0
    first_frame_number: int = -1
    last_frame_number: int = -1
    duration_s: float = 0.0
    slipped_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ports = []
        for receiver, port in np.ndindex(self.datagrams.shape):
            module, interface = divmod(port, self.interfaces)
            place = {"receiver": receiver, "module": module, "interface": interface}
            counts = {"frames": int(self.frames[receiver, port]), "datagrams": int(self.datagrams[receiver, port])}
            ports.append(place | counts)
        return {
            "frames": self.played,
            "holes": self.holes,
            "datagrams": int(self.datagrams.sum()),
            "missing": self.missing,
            "first_frame_number": self.first_frame_number,
            "last_frame_number": self.last_frame_number,
            "duration_s": round(self.duration_s, 6),
            "frames_per_s": round(self.played / self.duration_s, 3) if self.duration_s else 0.0,
            "slipped_s": round(self.slipped_s, 6),
            "method": self.method,
            "ports": ports,
        }


def replay_raw(
    raw: RawFile,
    destinations: Sequence[Addresses],
    playing: Playing = Playing(),
    *,
    stopped: Callable[[], bool] = lambda: False,
    max_wait_s: float = 0.1,
) -> RawReplayReport:
    """Play a file to ``destinations[receiver][port]`` (host, UDP port); consecutive frames go to consecutive receivers.

    ``stopped`` is asked at least every ``max_wait_s``. One frame is in memory at a time.
    """
    layout = WireLayout(1, raw.modules, raw.interfaces, playing.order)
    addresses = resolved(layout, destinations)
    if not 0 <= playing.first_destination < len(addresses):
        raise ParameterError(f"first_destination = {playing.first_destination}: there are {len(addresses)}, from 0")
    turns = _turns(raw, playing)
    sender = Sender((address for ports in addresses for address in ports), playing.method)
    try:
        trains = _Trains(raw, layout, addresses, sender.segments)
        return _play(raw, turns, trains, sender, playing, stopped, max_wait_s)
    finally:
        sender.close()


@dataclass(frozen=True)
class _Turns:
    """The frames of one round: ``places`` in the file, their ``numbers`` and ``times_s``; what a further one adds."""

    places: np.ndarray
    numbers: np.ndarray
    times_s: np.ndarray
    numbers_per_round: int
    seconds_per_round: float

    def all(self, repeat: int) -> Iterator[tuple[int, int, int, float]]:
        """(turn, place, frame number, seconds since the first) of all rounds."""
        rows = list(zip(self.places.tolist(), self.numbers.tolist(), self.times_s.tolist(), strict=True))
        for again in range(repeat):
            for at, (place, number, due_s) in enumerate(rows):
                yield (
                    again * len(rows) + at,
                    place,
                    number + again * self.numbers_per_round,
                    due_s + again * self.seconds_per_round,
                )


def _turns(raw: RawFile, playing: Playing) -> _Turns:
    end = min(playing.first + playing.frames, len(raw)) if playing.frames else len(raw)
    places = np.arange(playing.first, end)
    numbers = raw.numbers[playing.first : end]
    seen = np.flatnonzero(numbers >= 0)
    if not len(seen):
        raise ParameterError(
            f"{raw.path}: no frame with packets from place {playing.first} on, of {len(raw)} frames in it"
        )
    if playing.first_number is not None:
        places, numbers = places[seen], playing.first_number + np.arange(len(seen))
        step = 1
    else:
        low, high = seen[0], seen[-1]
        step = int(numbers[high] - numbers[low]) // int(high - low) if high > low else 1
        numbers = numbers[low] + step * (np.arange(len(places)) - low)
        numbers[seen] = raw.numbers[places[seen]]
    stamps = np.maximum.accumulate(raw.timestamps[places])
    times_s = (stamps - stamps[min(np.count_nonzero(stamps <= 0), len(stamps) - 1)]).clip(0) * 1e-9
    period_s = times_s[-1] / (len(places) - 1) if len(places) > 1 else 0.0
    return _Turns(places, numbers, times_s, step * len(places), float(times_s[-1] + period_s))


class _Trains:
    """Makes what is sent for each frame, from its place in the file; ``segments``: datagrams in a message, at most."""

    def __init__(self, raw: RawFile, layout: WireLayout, addresses: Sequence[Addresses], segments: int) -> None:
        self.receivers = len(addresses)
        self._raw, self._layout, self._segments = raw, layout, segments
        self._sockaddrs = socket_addresses([address for ports in addresses for address in ports])
        self._turn_of = np.argsort(layout.orders(), axis=1)  # (ports, packets): when a packet's turn is
        self._held = np.zeros(0, "<u2")  # pixels that the last table points to

    def train(self, place: int, number: int, receiver: int) -> tuple[MessageTable, np.ndarray] | None:
        """The messages of a frame, valid until the next call, and datagrams by port; None without packets.

        Groups of packets as large as a message may be, the ports in turn, as modules send at the same time.
        """
        port, packet, heads = self._raw.heads(place)
        stack = self._raw.stack(place)
        if stack is None or not len(port):
            return None
        self._held = np.ascontiguousarray(stack, "<u2")
        heads["frame_number"] = number
        chosen = np.lexsort((self._turn_of[port, packet], port))
        port, packet, heads = port[chosen], packet[chosen], heads[chosen]
        counts = np.bincount(port, minlength=self._layout.ports)
        group = (np.arange(len(port)) - (np.cumsum(counts) - counts)[port]) // self._segments
        chosen = np.lexsort((port, group))
        port, packet, heads, group = port[chosen], packet[chosen], heads[chosen], group[chosen]
        starts = np.flatnonzero(np.r_[True, (np.diff(port) != 0) | (np.diff(group) != 0)])
        sizes = np.diff(np.r_[starts, len(port)])
        table = MessageTable(heads.view(np.uint8).reshape(-1, HEADER_BYTES), sizes, DATAGRAM_BYTES)
        offsets = (port * self._layout.packets + packet) * PAYLOAD_BYTES
        table.bodies((self._held.ctypes.data + offsets).astype(np.uint64), PAYLOAD_BYTES)
        names = receiver * self._layout.ports + port[starts]
        table.messages["name"] = self._sockaddrs.ctypes.data + SOCKADDR.itemsize * names
        return table, counts


def _play(
    raw: RawFile,
    turns: _Turns,
    trains: _Trains,
    sender: Sender,
    playing: Playing,
    stopped: Callable[[], bool],
    max_wait_s: float,
) -> RawReplayReport:
    receivers = trains.receivers
    shape = (receivers, raw.ports)
    report = RawReplayReport(np.zeros(shape, np.int64), np.zeros(shape, np.int64), sender.method, raw.interfaces)
    pace = Pace(1 / playing.rate_hz if playing.rate_hz else 0.0)
    began_s = time.monotonic()
    pace.begin(began_s)
    for turn, place, number, recorded_s in turns.all(playing.repeat):
        receiver = (turn + playing.first_destination) % receivers
        train = trains.train(place, number, receiver)
        while not stopped():
            now_s = time.monotonic()
            wait_s = pace.wait_s(now_s) if playing.rate_hz is not None else began_s + recorded_s - now_s
            if wait_s <= 0:
                break
            time.sleep(min(wait_s, max_wait_s))
        if stopped():
            break
        pace.sent()
        if train is None:
            report.holes += 1
            continue
        table, counts = train
        sender.send(table)
        report.played += 1
        report.frames[receiver] += counts > 0
        report.datagrams[receiver] += counts
        report.missing += raw.ports * raw.packets - int(counts.sum())
        report.first_frame_number = number if report.first_frame_number < 0 else report.first_frame_number
        report.last_frame_number = number
    report.duration_s, report.slipped_s = time.monotonic() - began_s, pace.slipped_s
    return report
