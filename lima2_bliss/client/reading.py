"""Reading frames and results of an acquisition from its receivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lima2_bliss.client.frames import read_frames, read_one
from lima2_bliss.client.receiver_link import ReceiverLink
from lima2_bliss.client.results import CountedRows, known_stream, read_results, read_rows, rows_per_frame
from lima2_bliss.client.sources import (
    ACCUMULATED,
    FRAME,
    INPUT_FRAME,
    RAW,
    RAW_FRAME,
    SPARSE_FRAME,
    accumulated_indices,
)
from lima2_bliss.client.status import AcquisitionStatus
from lima2_bliss.contract import FrameInfo, NotAvailableError, NotYetAvailableError, ParameterError, RoundRobin
from lima2_bliss.contract.records import BACKGROUND_STREAM, ROW_COUNTS


class Reading:
    """Frames and result rows of acquisition ``uuid``; ``status`` asks for its counts now."""

    def __init__(
        self,
        uuid: str,
        links: Sequence[ReceiverLink],
        processing: Mapping[str, Any],
        frames: RoundRobin,
        raw: RoundRobin,
        status: Callable[[], AcquisitionStatus],
    ) -> None:
        self._uuid = uuid
        self._links = links
        self._processing = processing
        self._frames = frames
        self._raw = raw
        self._status = status
        self._infos: dict[str, FrameInfo] = {}
        self._rows_per_frame: dict[str, int] = {}
        self._counted: dict[str, CountedRows] = {}

    # --- frames -------------------------------------------------------------------------------------------------------

    def info(self, source: str) -> FrameInfo:
        """Shape and type of the frames of a source; sparse frames have the shape of the image they are part of."""
        if source not in self._infos:
            receivers = self._status().receivers
            names = dict.fromkeys([FRAME, INPUT_FRAME, *(name for each in receivers for name in each.pipeline.sources)])
            if source not in names:
                raise ParameterError(f"no frame source {source!r}; there are {', '.join(names)}")
            told = next((info for each in receivers if (info := each.source(source).frame_info)), None)
            if told is None:
                raise NotAvailableError(f"no receiver of acquisition {self._uuid} has told what {source} is like")
            self._infos[source] = FrameInfo.from_json(told)
        return self._infos[source]

    def one(self, index: int, source: str) -> np.ndarray:
        """Pixels of one frame; -1 is the newest of all receivers."""
        if index == -1:
            return self.newest(source)[1]
        if index < 0:
            raise ParameterError(f"frame {index}: indices count from 0; -1 is the newest")
        receiver, _ = self._dense(source).locate(index)
        return read_one(self._links[receiver], self._uuid, source, index)[1]

    def newest(self, source: str) -> tuple[int, np.ndarray]:
        """(global index, pixels) of the newest frame of all receivers."""
        self._dense(source)
        newest = {each.rank: each.source(source).last_index for each in self._status().receivers}
        for rank in sorted(newest, key=lambda rank: newest[rank], reverse=True):
            try:
                return read_one(self._links[rank], self._uuid, source)
            except NotYetAvailableError:
                continue
        raise NotYetAvailableError(f"{source}: no receiver has a frame of acquisition {self._uuid} yet")

    def many(self, indices: slice | Iterable[int], source: str, skip_missing: bool) -> Iterator[tuple[int, np.ndarray]]:
        """(global index, pixels) in the order asked; a slice counts over what is there now."""
        dispatch, info = self._dense(source), self.info(source)
        wanted = self._there(source)[indices] if isinstance(indices, slice) else indices
        return read_frames(self._links, self._uuid, source, list(wanted), dispatch, info, skip_missing=skip_missing)

    def _there(self, source: str) -> Sequence[int]:
        """Indices of all frames that have come so far."""
        status = self._status()
        newest = [each.source(source).last_index for each in status.receivers]
        if source == RAW_FRAME:
            return range(self._raw.contiguous([self._raw.locate(last)[1] + 1 if last >= 0 else 0 for last in newest]))
        if source not in ACCUMULATED:
            return range(status.received if source == INPUT_FRAME else status.processed)
        # the parameters say every how many frames of the whole detector
        every = -(-int((self._processing.get("fai") or {}).get("acc_nb_frames_xfer", 1)) // len(self._links))
        return accumulated_indices(newest, self._frames, max(every, 1))

    def _dense(self, source: str) -> RoundRobin:
        """Which receiver has which frame of a source with pixels."""
        if source in (FRAME, INPUT_FRAME):
            return self._frames if source == FRAME else self._raw
        self.info(source)
        if source in RAW:
            return self._raw
        if source == SPARSE_FRAME:
            raise ParameterError(
                f"{SPARSE_FRAME} has no dense pixels to read; use results('sparse'), results('background') and "
                "results('spots'), or the sparse files"
            )
        return self._frames

    # --- results ------------------------------------------------------------------------------------------------------

    def results(self, stream: str, position: int) -> np.ndarray:
        """Rows in global frame order, from row ``position`` on, of all frames that are there without a gap."""
        if position < 0:
            raise ParameterError(f"row {position} of stream {stream}: positions count from 0")
        if known_stream(stream) in ROW_COUNTS:
            if stream not in self._counted:
                self._counted[stream] = CountedRows(self._links, self._uuid, stream, self._frames)
            return self._counted[stream].read(position)
        per_frame = self._per_frame(stream)
        if not per_frame:
            return read_rows(self._links[0], self._uuid, stream, 0)
        first_frame, skip = divmod(position, per_frame)
        rows = read_results(self._links, self._uuid, stream, self._frames, first_frame, per_frame)
        return rows.reshape(-1)[skip:]

    def _per_frame(self, stream: str) -> int:
        """Rows of every frame; 0 while there is none."""
        if not self._rows_per_frame.get(stream):
            if stream == BACKGROUND_STREAM:
                told = self._status().receivers[0].source(SPARSE_FRAME).frame_info
                self._rows_per_frame[stream] = int(told.get("nb_bins", 0))
            else:
                self._rows_per_frame[stream] = self._rows_of_first_frame(stream)
        return self._rows_per_frame[stream]

    def _rows_of_first_frame(self, stream: str) -> int:
        for limit in (1 << 12, None):
            first = read_rows(self._links[0], self._uuid, stream, 0, limit)
            per_frame = rows_per_frame(first)
            if per_frame < len(first):
                break
        return per_frame
