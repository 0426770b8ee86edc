"""What the wire simulator sent, and what it did not send, counted packet by packet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np


class Fate(IntEnum):
    """What became of a packet; the names are those of the counts."""

    GOOD = 0
    LOST = 1
    LOST_WITH_FRAME = 2
    SILENT = 3
    MALFORMED = 4
    WRONG_VERSION = 5
    LATE = 6
    # beside or in addition to the above
    REORDERED = 7
    DUPLICATED = 8
    FOREIGN_TYPE = 9
    FOREIGN_MODULE = 10


#: Fates of packets that do not arrive as they should: the receiver has to do without them.
MISSING = (Fate.LOST, Fate.LOST_WITH_FRAME, Fate.SILENT, Fate.MALFORMED, Fate.WRONG_VERSION)
#: Datagrams sent in addition to a frame's packets.
EXTRA = (Fate.DUPLICATED, Fate.FOREIGN_TYPE, Fate.FOREIGN_MODULE)

#: Counts of one port for one receiver.
#:
#: ``frames`` exposed, and the ``packets`` that they have: good + lost + lost_with_frame + silent + malformed +
#: wrong_version, at the end (a ``late`` packet is good only when it is sent). ``good``: sent once, intact; of these
#: ``late`` and ``reordered`` ones. ``datagrams`` on the wire: good + malformed + wrong_version + duplicated +
#: foreign_type + foreign_module, always.
COUNTS = np.dtype([(name, "<i8") for name in ("frames", "packets", "datagrams", *(fate.name.lower() for fate in Fate))])

#: One packet that was not simply sent: ``index`` of its frame from 0, port, packet number, and its `Fate`.
EVENT = np.dtype(
    [
        ("index", "<i8"),
        ("frame_number", "<u8"),
        ("module", "<u2"),
        ("interface", "<u2"),
        ("packet", "<u2"),
        ("fate", "u1"),
    ]
)


@dataclass(frozen=True)
class Report:
    """One acquisition of the simulator, so far or complete.

    ``ports``: `COUNTS` of shape (receivers, modules, interfaces). ``events``: `EVENT` rows of all packets with a fate
    but good and silent, in frame order (``events_left_out`` more, where they were too many). ``slipped_s``: how much
    later than at the given rate the frames came, because they could not be sent faster.
    """

    frames: int
    first_frame_number: int
    duration_s: float
    slipped_s: float
    method: str
    ports: np.ndarray
    events: np.ndarray
    events_left_out: int = 0

    def total(self, name: str) -> int:
        """Sum over all ports of one of the `COUNTS`."""
        return int(self.ports[name].sum())

    @property
    def frames_per_s(self) -> float:
        """Mean frame rate [Hz]; 0 for none."""
        return self.frames / self.duration_s if self.duration_s else 0.0

    def events_of(self, *fates: Fate) -> np.ndarray:
        """`EVENT` rows with one of these fates."""
        return self.events[np.isin(self.events["fate"], fates)]

    def missing(self, index: int) -> np.ndarray:
        """`EVENT` rows of the packets of frame ``index`` that do not arrive intact, those of silent modules aside."""
        found = self.events_of(*MISSING)
        return found[found["index"] == index]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: rates, sums, and the counts of every port."""
        ports = []
        for receiver, module, interface in np.ndindex(self.ports.shape):
            counts = self.ports[receiver, module, interface]
            port = {"receiver": receiver, "module": module, "interface": interface}
            ports.append(port | {name: int(counts[name]) for name in COUNTS.names or ()})
        return {
            "frames": self.frames,
            "first_frame_number": self.first_frame_number,
            "duration_s": round(self.duration_s, 6),
            "frames_per_s": round(self.frames_per_s, 3),
            "slipped_s": round(self.slipped_s, 6),
            "method": self.method,
            "total": {name: self.total(name) for name in COUNTS.names or ()},
            "ports": ports,
        }


class Counter:
    """Counts of a running acquisition. Not locked: its owner does that."""

    def __init__(self, receivers: int, modules: int, interfaces: int, max_events: int = 1_000_000) -> None:
        self._faulty = np.zeros((receivers, modules * interfaces), COUNTS)
        self._clean_frames = np.zeros(receivers, np.int64)
        self._modules, self._interfaces = modules, interfaces
        self._events: list[np.ndarray] = []
        self._nb_events = 0
        self._max_events = max_events
        self._left_out = 0

    def clean(self, receiver: int) -> None:
        """A frame went to a receiver as it should."""
        self._clean_frames[receiver] += 1

    def faulty(self, receiver: int, counts: dict[str, np.ndarray], events: np.ndarray) -> None:
        """A frame did not: its counts, each an array over the ports, and its events."""
        for name, by_port in counts.items():
            self._faulty[name][receiver] += by_port
        room = max(self._max_events - self._nb_events, 0)
        if len(events):
            self._events.append(events[:room])
            self._nb_events += len(self._events[-1])
            self._left_out += len(events) - len(self._events[-1])

    def counts(self, packets: int) -> np.ndarray:
        """`COUNTS` (receivers, modules, interfaces); ``packets`` is how many a frame has on a port."""
        found = self._faulty.copy()
        found["frames"] += self._clean_frames[:, None]
        for name in ("packets", "datagrams", "good"):
            found[name] += packets * self._clean_frames[:, None]
        return found.reshape(-1, self._modules, self._interfaces)

    def events(self) -> tuple[np.ndarray, int]:
        """`EVENT` rows, and how many were left out."""
        return np.concatenate([np.zeros(0, EVENT), *self._events]), self._left_out
