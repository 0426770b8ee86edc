"""Faults of the wire, drawn from a seed: it alone decides what goes wrong in which frame, whatever the timing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Parameters
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES
from lima2_receivers.detectors.jungfrau.wire.layout import WireLayout
from lima2_receivers.detectors.jungfrau.wire.report import Fate

#: Largest datagram of IPv4.
MAX_DATAGRAM_BYTES = 65507


def _rate(description: str) -> float:
    found: float = Field(0.0, ge=0, le=1, description=description)
    return found


class PacketAddress(Parameters):
    """One packet of one frame: ``frame`` counts from 0 in the acquisition, ``packet`` on its interface."""

    frame: int = Field(ge=0, description="index of the frame, from 0")
    module: int = Field(0, ge=0, description="index of the module, from 0")
    interface: int = Field(0, ge=0, le=1, description="interface of the module, 0 or 1")
    packet: int = Field(ge=0, le=127, description="packet number")


class Faults(Parameters):
    """What goes wrong on the wire. Rates are probabilities for each packet, or each frame, by themselves."""

    seed: int = Field(1, ge=0, le=2**63 - 1, description="the same seed gives the same faults")
    loss_rate: float = _rate("packets that are not sent")
    lost_packets: list[PacketAddress] = Field(
        default_factory=list, max_length=100_000, description="packets that are not sent"
    )
    frame_loss_rate: float = _rate("frames of which no packet is sent")
    lost_frames: list[int] = Field(
        default_factory=list, max_length=100_000, description="indices, from 0, of frames of which no packet is sent"
    )
    reorder_rate: float = _rate("packets that change places with others of their port and frame")
    late_rate: float = _rate("packets that are sent within a later frame to the same receiver")
    late_by_frames: int = Field(1, ge=1, le=1000, description="how many frames later, counted at the receiver")
    duplicate_rate: float = _rate("packets that are sent once more a little later")
    foreign_type_rate: float = _rate("packets beside which one of another type of detector comes")
    foreign_type: int = Field(1, ge=0, le=255, description="that type; 3 is Jungfrau")
    foreign_module_rate: float = _rate("packets beside which one of a foreign module comes")
    foreign_module_id: int = Field(60000, ge=0, le=65535, description="id of that module")
    malformed_rate: float = _rate("packets instead of which a datagram of a wrong size comes")
    malformed_sizes: list[int] = Field(
        [0, 47, 48, 1000, 8239, 8241, 9000], min_length=1, max_length=100, description="these sizes [bytes]"
    )
    wrong_version_rate: float = _rate("packets whose header has a wrong version")
    wrong_version: int = Field(1, ge=0, le=255, description="that version; 2 is right")
    silent_modules: list[int] = Field(
        default_factory=list, max_length=1024, description="indices, from 0, of modules that send nothing"
    )
    swapped_modules: list[tuple[int, int]] = Field(
        default_factory=list,
        max_length=512,
        description="pairs of modules with wrong host names: id and pixels of one in the place of the other",
    )
    swapped_cables: list[tuple[int, int]] = Field(
        default_factory=list, max_length=512, description="pairs of modules whose datagrams go to the other's ports"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Faults:
        total = self.loss_rate + self.malformed_rate + self.wrong_version_rate + self.late_rate
        if total > 1:
            raise ValueError(
                f"loss_rate + malformed_rate + wrong_version_rate + late_rate = {total:g}: a packet has one of these "
                "fates, so together at most 1"
            )
        bad = [size for size in self.malformed_sizes if not 0 <= size <= MAX_DATAGRAM_BYTES or size == DATAGRAM_BYTES]
        if bad:
            raise ValueError(f"malformed_sizes {bad}: from 0 to {MAX_DATAGRAM_BYTES}, but not {DATAGRAM_BYTES}")
        return self

    @property
    def random(self) -> bool:
        """Whether any rate is above 0."""
        return any(getattr(self, name) > 0 for name in type(self).model_fields if name.endswith("_rate"))


def check_faults(faults: Faults, layout: WireLayout) -> None:
    """`ParameterError` that names all modules and packets which the detector does not have."""
    found = []
    modules = {*faults.silent_modules, *(lost.module for lost in faults.lost_packets)}
    for name, pairs in (("swapped_modules", faults.swapped_modules), ("swapped_cables", faults.swapped_cables)):
        flat = [module for pair in pairs for module in pair]
        modules.update(flat)
        if len(set(flat)) != len(flat):
            found.append(f"{name}: a module is in more than one pair, or paired with itself")
    unknown = sorted(module for module in modules if not 0 <= module < layout.modules)
    if unknown:
        found.append(f"modules {unknown}: there are {layout.modules}, counted from 0")
    if any(lost.interface >= layout.interfaces or lost.packet >= layout.packets for lost in faults.lost_packets):
        found.append(f"lost_packets: interfaces are below {layout.interfaces}, packet numbers below {layout.packets}")
    if found:
        raise ParameterError("faults refused: " + "; ".join(found))


def swapped(pairs: list[tuple[int, int]], modules: int) -> np.ndarray:
    """For each place the module that is there (int64), after these pairs changed places."""
    found = np.arange(modules)
    for first, second in pairs:
        found[[first, second]] = found[[second, first]]
    return found


@dataclass(frozen=True)
class FaultPlan:
    """What happens to one frame; arrays over (ports, place in the order of the port).

    ``fate``: GOOD, LATE or one of `MISSING`. ``place``: where in the port's order a packet is sent, fractions for those
    that come in between. ``duplicated``, ``foreign_type``, ``foreign_module``: places of such extras, NaN for none.
    ``late_place``: where in the later frame. ``sizes`` of malformed datagrams [bytes].
    """

    fate: np.ndarray
    place: np.ndarray
    reordered: np.ndarray
    duplicated: np.ndarray
    foreign_type: np.ndarray
    foreign_module: np.ndarray
    late_place: np.ndarray
    sizes: np.ndarray


class FaultDrawer:
    """Draws the faults of each frame."""

    def __init__(self, faults: Faults, layout: WireLayout) -> None:
        check_faults(faults, layout)
        self._faults = faults
        self._shape = (layout.ports, layout.packets)
        self._interfaces = layout.interfaces
        self._silent = np.isin(np.arange(layout.ports) // layout.interfaces, faults.silent_modules)
        self._lost_frames = frozenset(faults.lost_frames)
        orders = layout.orders()
        places = np.argsort(orders, axis=1)  # of each packet number
        self._lost: dict[int, list[tuple[int, int]]] = {}
        for lost in faults.lost_packets:
            port = lost.module * layout.interfaces + lost.interface
            self._lost.setdefault(lost.frame, []).append((port, int(places[port, lost.packet])))

    def plan(self, index: int) -> FaultPlan | None:
        """The faults of frame ``index``, or None where there are none."""
        if not (self._faults.random or self._silent.any() or index in self._lost or index in self._lost_frames):
            return None
        faults, shape = self._faults, self._shape
        rng = np.random.Generator(np.random.SFC64([faults.seed, index]))
        fate = np.zeros(shape, np.uint8)
        limits = np.cumsum([faults.loss_rate, faults.malformed_rate, faults.wrong_version_rate, faults.late_rate])
        fates = np.array([Fate.LOST, Fate.MALFORMED, Fate.WRONG_VERSION, Fate.LATE, Fate.GOOD], np.uint8)
        fate[:] = fates[np.searchsorted(limits, rng.random(shape), side="right")]
        for lost in self._lost.get(index, ()):
            fate[lost] = Fate.LOST
        if rng.random() < faults.frame_loss_rate or index in self._lost_frames:
            fate[:] = Fate.LOST_WITH_FRAME
        fate[self._silent] = Fate.SILENT
        place, reordered = self._reorder(fate, rng)
        good = fate == Fate.GOOD
        plan = FaultPlan(
            fate,
            place,
            reordered,
            _extras(good, faults.duplicate_rate, rng, place),
            _extras(good, faults.foreign_type_rate, rng, place),
            _extras(good, faults.foreign_module_rate, rng, place),
            rng.uniform(0, shape[1], shape),
            rng.choice(faults.malformed_sizes, shape),
        )
        extras = (plan.duplicated, plan.foreign_type, plan.foreign_module)
        if good.all() and not reordered.any() and all(np.isnan(extra).all() for extra in extras):
            return None
        return plan

    def _reorder(self, fate: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Places of the packets, where chosen good ones take each other's, each the next one's."""
        place = np.tile(np.arange(fate.shape[1], dtype=np.float64), (fate.shape[0], 1))
        chosen = (rng.random(fate.shape) < self._faults.reorder_rate) & (fate == Fate.GOOD)
        for port in np.flatnonzero(chosen.any(axis=1)):
            if chosen[port].sum() == 1:  # it takes another one with it
                others = np.flatnonzero((fate[port] == Fate.GOOD) & ~chosen[port])
                chosen[port, others[:1]] = True
            moved = np.flatnonzero(chosen[port])
            place[port, moved] = np.roll(moved, -1)
            chosen[port] &= len(moved) > 1
        return place, chosen


def _extras(good: np.ndarray, rate: float, rng: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """Places up to 4 packets behind the chosen good ones, NaN for the others."""
    drawn, behind = rng.random(good.shape), rng.uniform(0.1, 4.0, good.shape)
    return np.where(good & (drawn < rate), place + behind, np.nan)
