"""Files of raw frames, read back as frames or as the datagrams that they came in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np

from lima2_bliss.contract import NotAvailableError
from lima2_receivers.detectors.jungfrau.packets import (
    DATAGRAM_BYTES,
    HEADER_BYTES,
    MODULE_COLUMNS,
    MODULE_ROWS,
    PAYLOAD_BYTES,
    packets_per_port,
)
from lima2_receivers.detectors.jungfrau.raw_frames import PACKET_HEADERS, PACKET_MASK, PACKETS
from lima2_receivers.saving.reading import of_class

#: Rows of headers and masks that are read at a time.
_BLOCK = 256


class RawFile:
    """Raw frames of a receiver file or of a master; a context manager. `NotAvailableError` when there are none.

    Frame ``i`` is the one at place ``i`` of the file; one that has no packets (vetoed, lost) keeps its place.
    ``modules``, ``interfaces`` (of each module), ``packets`` (of a frame on each port) say how frames are made up.
    Ports count module after module. ``flags``: uint32, `FrameFlags` of each frame; ``timestamps``: int64, host time of
    each [ns]; ``frame_index``: int64, global index of each, None if it was not saved.

    >>> with RawFile("scan_raw_frame_master.h5") as raw:
    ...     for place in raw.seen():
    ...         print(raw.numbers[place], raw.stack(place).mean())
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise NotAvailableError(f"{path} cannot be read as HDF5: {error}") from error
        try:
            self._bind()
        except (KeyError, ValueError) as error:
            self._file.close()
            raise NotAvailableError(
                f"{path} has no raw frames of a Jungfrau ({error}); give a file of the source raw_frame"
            ) from None

    def _bind(self) -> None:
        entry = self._file[self._file.attrs["default"]]
        detector = of_class(of_class(entry, "NXinstrument"), "NXdetector")
        self._data: h5py.Dataset = detector["data"]
        self._headers, self._masks = _Rows(detector[PACKET_HEADERS]), _Rows(detector[PACKET_MASK])
        self._counts: h5py.Dataset = detector[PACKETS]
        self.flags: np.ndarray = detector["frame_flags"][:]
        self.timestamps: np.ndarray = detector["timestamp"][:]
        self.frame_index: np.ndarray | None = detector["frame_index"][:] if "frame_index" in detector else None
        height, width = self._data.shape[-2:]
        self.ports = int(self._counts.shape[1])
        self.modules = height // MODULE_ROWS
        self.interfaces = self.ports // max(self.modules, 1)
        shape = (self.modules * MODULE_ROWS, MODULE_COLUMNS, self.modules * self.interfaces)
        if self.interfaces not in (1, 2) or shape != (height, width, self.ports):
            raise ValueError(f"{self.ports} ports for {width} x {height} pixels")
        self.packets = packets_per_port(self.interfaces)

    def __len__(self) -> int:
        """Frames, those without packets included."""
        return int(self._data.shape[0])

    # --- what is known of the frames ----------------------------------------------------------------------------

    @cached_property
    def packet_counts(self) -> np.ndarray:
        """How many packets of each frame came on each port: uint16 (frames, ports)."""
        return self._counts[:]

    @cached_property
    def numbers(self) -> np.ndarray:
        """Frame number of each frame, as its headers say: int64, -1 for a frame without packets."""
        found = np.full(len(self), -1, np.int64)
        for start in range(0, len(self), _BLOCK):
            headers = self._headers.block(start)
            came = self.packet_counts[start : start + len(headers)] > 0
            numbers = np.where(came, headers["frame_number"].astype(np.int64), -1)
            found[start : start + len(headers)] = numbers.max(axis=1)
        return found

    def seen(self) -> Iterator[int]:
        """Places of the frames that have packets."""
        return iter(np.flatnonzero(self.packet_counts.any(axis=1)).tolist())

    def headers(self, place: int) -> np.ndarray:
        """`packets.HEADER` (ports): that of the first packet of each port, zeros where none came."""
        return self._headers[self._place(place)]

    def mask(self, place: int) -> np.ndarray:
        """Which packets came: bool (ports, packets)."""
        packed = self._masks[self._place(place)]
        return np.unpackbits(packed, axis=-1, bitorder="little").astype(bool)

    # --- the frames ---------------------------------------------------------------------------------------------

    def stack(self, place: int) -> np.ndarray | None:
        """Pixels as they came, uint16 (modules, 512, 1024), 0xFFFF where a packet is missing; None without packets."""
        place = self._place(place)
        if not self.packet_counts[place].any():
            return None
        return self._data[place].reshape(self.modules, MODULE_ROWS, MODULE_COLUMNS)

    def heads(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the packets of a frame that came, port after port: port, packet number, and header (`packets.HEADER`).

        The files have one header of each port; the others differ from it in their packet number.
        """
        port, packet = np.nonzero(self.mask(place))
        heads = self.headers(place)[port]
        heads["packet_number"] = packet
        return port, packet, heads

    def datagrams(self, place: int) -> np.ndarray:
        """The datagrams of a frame that came, uint8 (n, 8240), port after port, packets ascending."""
        port, packet, heads = self.heads(place)
        found = np.empty((len(port), DATAGRAM_BYTES), np.uint8)
        stack = self.stack(place)
        if stack is not None:
            found[:, :HEADER_BYTES] = heads.view(np.uint8).reshape(-1, HEADER_BYTES)
            payload = np.ascontiguousarray(stack, "<u2").view(np.uint8).reshape(self.ports, self.packets, PAYLOAD_BYTES)
            found[:, HEADER_BYTES:] = payload[port, packet]
        return found

    def _place(self, place: int) -> int:
        return range(len(self))[place]

    # --- life ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file; harmless twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Rows:
    """A dataset read in blocks: a virtual one takes as long for one row as for many."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._start, self._rows = -1, np.zeros(0)

    def block(self, start: int) -> np.ndarray:
        """Rows from ``start``, which is a multiple of the block's length."""
        if start != self._start:
            self._start, self._rows = start, self._dataset[start : start + _BLOCK]
        return self._rows

    def __getitem__(self, row: int) -> np.ndarray:
        start = row - row % _BLOCK
        return self.block(start)[row - start].copy()
