"""The datagrams of one frame: headers, where their pixels lie, and in which order they go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lima2_receivers.detectors.jungfrau.packets import (
    DATAGRAM_BYTES,
    DETECTOR_TYPE,
    HEADER,
    HEADER_VERSION,
    PACKET_ROWS,
    PACKETS_PER_MODULE,
    PAYLOAD_BYTES,
    module_packet,
)
from lima2_receivers.detectors.jungfrau.wire.content import Content
from lima2_receivers.detectors.jungfrau.wire.layout import WireLayout

#: Head of a datagram with a stamp: the stamp takes the place of the first four pixels.
STAMPED_HEADER = np.dtype([*HEADER.descr, ("stamp", "<u8")])


@dataclass(frozen=True)
class Exposure:
    """One frame of an acquisition: ``index`` from 0, its frame ``number``, time since the start in 100 ns."""

    index: int
    number: int
    receiver: int = 0
    ticks: int = 0


@dataclass(frozen=True)
class Datagrams:
    """Some datagrams, each field an array of one entry per datagram.

    ``heads``: headers (with or without stamp). ``port``: port of the layout that sends it. ``place``: in the order of
    that port. ``address``: memory address of what follows the head. ``size``: of the whole datagram [bytes].
    """

    heads: np.ndarray
    port: np.ndarray
    place: np.ndarray
    address: np.ndarray
    size: np.ndarray

    def chosen(self, which: np.ndarray) -> Self:
        """Some of them, in another order where ``which`` are indices; copies."""
        return type(self)(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """The datagrams of all parts."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def interleaved(self) -> Self:
        """All in the order of sending: every port has its turn at each place, as modules send at the same time."""
        return self.chosen(np.lexsort((self.port, self.place)))


class DatagramMaker:
    """Makes the datagrams of frames. ``module_at`` says whose id and pixels each place in the grid has."""

    def __init__(
        self, layout: WireLayout, content: Content, exposure_s: float = 10e-6, module_at: np.ndarray | None = None
    ) -> None:
        self._content = content
        shape = (layout.ports, layout.packets)
        self.head_type = STAMPED_HEADER if content.stamp else HEADER
        heads = np.zeros(shape, self.head_type)
        heads["packet_number"] = layout.orders()
        heads["exp_length"] = round(exposure_s * 1e7)
        heads["daq_info"] = content.daq_info
        heads["detector_type"] = DETECTOR_TYPE
        heads["version"] = HEADER_VERSION
        offsets = np.empty(shape, np.int64)
        for port in range(layout.ports):
            module, interface = divmod(port, layout.interfaces)
            shown = module if module_at is None else int(module_at[module])
            heads["row"][port], heads["column"][port] = layout.position(port)
            heads["module_id"][port] = layout.module_ids[shown]
            first = module_packet(interface, 0, layout.interfaces)
            offsets[port] = (heads["packet_number"][port] + first) * PAYLOAD_BYTES + shown * content.pixels.strides[1]
        self._heads = heads.ravel()
        self._port = np.repeat(np.arange(layout.ports), layout.packets)
        self._place = np.tile(np.arange(layout.packets, dtype=np.float64), layout.ports)
        self._address = content.pixels.ctypes.data + self.head_type.itemsize - HEADER.itemsize + offsets.ravel()

    def slot_address(self, index: int) -> int:
        """What to add to the addresses for frame ``index``."""
        return int(self._content.pixels.strides[0]) * (index % self._content.frames)

    def template(self) -> Datagrams:
        """A frame's datagrams, by port and place in its order, without what `imprint` and `slot_address` give."""
        size = np.full(len(self._port), DATAGRAM_BYTES)
        return Datagrams(self._heads.copy(), self._port, self._place, self._address, size)

    def imprint(self, heads: np.ndarray, exposure: Exposure) -> None:
        """Write what changes from frame to frame into heads."""
        heads["frame_number"] = exposure.number
        heads["bunch_id"] = exposure.number
        heads["timestamp"] = exposure.ticks
        if self._content.stamp:
            heads["stamp"] = exposure.number

    def frame(self, exposure: Exposure) -> Datagrams:
        """All datagrams of a frame, by port and place in its order."""
        made = self.template()
        self.imprint(made.heads, exposure)
        return Datagrams(made.heads, made.port, made.place, made.address + self.slot_address(exposure.index), made.size)


def frame_datagrams(layout: WireLayout, content: Content, exposure: Exposure) -> np.ndarray:
    """The datagrams of one frame as bytes: (ports, packets, 8240) uint8, each port in its order on the wire.

    Without sockets or faults, for tests of what takes datagrams apart.
    """
    maker = DatagramMaker(layout, content)
    heads = maker.frame(exposure).heads.reshape(layout.ports, layout.packets)
    found = np.empty((*heads.shape, DATAGRAM_BYTES), np.uint8)
    pixels = content.pixels[exposure.index % content.frames]
    packets = pixels.view("<u2").reshape(layout.modules, PACKETS_PER_MODULE, PACKET_ROWS * pixels.shape[2])
    for port, order in enumerate(layout.orders()):
        module, interface = divmod(port, layout.interfaces)
        chosen = packets[module, order + module_packet(interface, 0, layout.interfaces)]
        found[port, :, HEADER.itemsize :] = chosen.view(np.uint8)
    size = maker.head_type.itemsize
    found[:, :, :size] = heads.view(np.uint8).reshape(*heads.shape, size)
    return found
