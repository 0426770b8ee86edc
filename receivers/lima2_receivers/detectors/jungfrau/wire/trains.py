"""Trains of messages: what is sent for each frame, as it should be or with faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES
from lima2_receivers.detectors.jungfrau.wire.content import Content
from lima2_receivers.detectors.jungfrau.wire.datagrams import DatagramMaker, Datagrams, Exposure
from lima2_receivers.detectors.jungfrau.wire.faults import (
    MAX_DATAGRAM_BYTES,
    FaultDrawer,
    FaultPlan,
    Faults,
    swapped,
)
from lima2_receivers.detectors.jungfrau.wire.layout import WireLayout
from lima2_receivers.detectors.jungfrau.wire.messages import SOCKADDR, MessageTable, socket_addresses
from lima2_receivers.detectors.jungfrau.wire.report import EVENT, Counter, Fate

_EXTRA_FIELDS = {
    Fate.DUPLICATED: "duplicated",
    Fate.FOREIGN_TYPE: "foreign_type",
    Fate.FOREIGN_MODULE: "foreign_module",
}


class TrainMaker:
    """Makes the train of each frame of an acquisition, frames in order, and counts what is in it.

    ``destinations``: IPv4 addresses by receiver and port. ``segments``: datagrams that a message may have.
    """

    def __init__(
        self,
        layout: WireLayout,
        content: Content,
        destinations: Sequence[Sequence[tuple[str, int]]],
        faults: Faults,
        segments: int,
        exposure_s: float,
    ) -> None:
        self._layout, self._faults = layout, faults
        self._drawer = FaultDrawer(faults, layout)
        self._maker = DatagramMaker(layout, content, exposure_s, swapped(faults.swapped_modules, layout.modules))
        self._receivers = len(destinations)
        self._sockaddrs = socket_addresses([address for ports in destinations for address in ports])
        cables = swapped(faults.swapped_cables, layout.modules)
        ports = np.arange(layout.ports)
        self._target = cables[ports // layout.interfaces] * layout.interfaces + ports % layout.interfaces
        self._scratch = np.zeros(MAX_DATAGRAM_BYTES, np.uint8)
        self._late: dict[int, tuple[int, Datagrams]] = {}  # receiver and datagrams, by index of the frame
        self._build_clean(segments)

    def _build_clean(self, segments: int) -> None:
        """The table that all frames without faults share: groups of packets, the ports in turn."""
        template = self._maker.template()
        group = template.place // segments
        self._clean = template.chosen(np.lexsort((template.place, template.port, group)))
        per_port = np.full(-(-self._layout.packets // segments), segments)
        per_port[-1] = self._layout.packets - segments * (len(per_port) - 1)
        self._clean_table = self._table(self._clean, np.repeat(per_port, self._layout.ports))
        self._clean_ports = np.tile(np.arange(self._layout.ports), len(per_port))

    def _table(self, datagrams: Datagrams, groups: np.ndarray) -> MessageTable:
        heads = datagrams.heads
        table = MessageTable(heads.view(np.uint8).reshape(len(heads), heads.dtype.itemsize), groups, DATAGRAM_BYTES)
        head = np.minimum(datagrams.size, heads.dtype.itemsize)
        table.iovecs["length"][:, 0] = head
        table.bodies(datagrams.address, datagrams.size - head)
        return table

    def _names(self, table: MessageTable, receiver: int, ports: np.ndarray) -> None:
        number = receiver * self._layout.ports + self._target[ports]
        table.messages["name"] = self._sockaddrs.ctypes.data + SOCKADDR.itemsize * number

    def train(self, exposure: Exposure, counter: Counter) -> MessageTable:
        """What to send for a frame, valid until the next call."""
        plan = self._drawer.plan(exposure.index)
        _, *late = self._late.pop(exposure.index, (exposure.receiver,))
        if late:
            self._count_late(late[0], exposure.receiver, counter)
        if plan is None and not late:
            counter.clean(exposure.receiver)
            self._maker.imprint(self._clean.heads, exposure)
            self._clean_table.iovecs["base"][:, 1] = self._clean.address + self._maker.slot_address(exposure.index)
            self._names(self._clean_table, exposure.receiver, self._clean_ports)
            return self._clean_table
        frame = self._maker.frame(exposure)
        if plan is None:
            counter.clean(exposure.receiver)
            parts = [frame, *late]
        else:
            self._count(plan, exposure, counter)
            parts = [*self._parts(frame, plan, exposure), *late]
        return self._train(parts, exposure.receiver)

    def rest(self, counter: Counter) -> Iterator[MessageTable]:
        """What is still to be sent when the acquisition ends: packets of its last frames that are late."""
        for index in sorted(self._late):
            receiver, late = self._late.pop(index)
            self._count_late(late, receiver, counter)
            yield self._train([late], receiver)

    def _train(self, parts: list[Datagrams], receiver: int) -> MessageTable:
        datagrams = Datagrams.joined(parts).interleaved()
        table = self._table(datagrams, np.ones(len(datagrams.port), np.int64))
        self._names(table, receiver, datagrams.port)
        return table

    def _parts(self, frame: Datagrams, plan: FaultPlan, exposure: Exposure) -> list[Datagrams]:
        """The frame's own datagrams as the plan has them, and its extras; late ones are kept for later."""
        fate = plan.fate.ravel()
        frame.place[:] = plan.place.ravel()
        own = frame.chosen(np.isin(fate, (Fate.GOOD, Fate.MALFORMED, Fate.WRONG_VERSION)))
        own_fate = fate[np.isin(fate, (Fate.GOOD, Fate.MALFORMED, Fate.WRONG_VERSION))]
        own.heads["version"][own_fate == Fate.WRONG_VERSION] = self._faults.wrong_version
        cut = own_fate == Fate.MALFORMED
        own.size[cut] = plan.sizes.ravel()[fate == Fate.MALFORMED]
        own.address[cut] = self._scratch.ctypes.data
        parts = [own]
        for name in _EXTRA_FIELDS.values():
            places = getattr(plan, name).ravel()
            extra = frame.chosen(~np.isnan(places))
            extra.place[:] = places[~np.isnan(places)]
            if name == "foreign_type":
                extra.heads["detector_type"] = self._faults.foreign_type
            elif name == "foreign_module":
                extra.heads["module_id"] = self._faults.foreign_module_id
            parts.append(extra)
        if (fate == Fate.LATE).any():
            late = frame.chosen(fate == Fate.LATE)
            late.place[:] = plan.late_place.ravel()[fate == Fate.LATE]
            due = exposure.index + self._faults.late_by_frames * self._receivers
            self._late[due] = exposure.receiver, late
        return parts

    def _count_late(self, late: Datagrams, receiver: int, counter: Counter) -> None:
        by_port = np.bincount(late.port, minlength=self._layout.ports)
        counter.faulty(receiver, {"good": by_port, "datagrams": by_port}, np.zeros(0, EVENT))

    def _count(self, plan: FaultPlan, exposure: Exposure, counter: Counter) -> None:
        layout = self._layout
        marks = {fate: plan.fate == fate for fate in Fate if fate < Fate.REORDERED}
        marks[Fate.REORDERED] = plan.reordered
        marks |= {fate: ~np.isnan(getattr(plan, name)) for fate, name in _EXTRA_FIELDS.items()}
        by_port = {fate: mark.sum(axis=1) for fate, mark in marks.items()}
        counts = {fate.name.lower(): number for fate, number in by_port.items()}
        counts["frames"] = np.ones(layout.ports, np.int64)
        counts["packets"] = np.full(layout.ports, layout.packets)
        counts["datagrams"] = sum(
            (by_port[fate] for fate in (Fate.GOOD, Fate.MALFORMED, Fate.WRONG_VERSION, *_EXTRA_FIELDS)),
            np.zeros(layout.ports, np.int64),
        )
        orders = layout.orders()
        found = []
        for fate, mark in marks.items():
            if fate not in (Fate.GOOD, Fate.SILENT):
                port, place = np.nonzero(mark)
                events = np.zeros(len(port), EVENT)
                events["index"], events["frame_number"] = exposure.index, exposure.number
                events["module"], events["interface"] = np.divmod(port, layout.interfaces)
                events["packet"], events["fate"] = orders[port, place], fate
                found.append(events)
        counter.faulty(exposure.receiver, counts, np.concatenate(found))
