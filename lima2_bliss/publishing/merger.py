"""Puts the result rows of several receivers in global frame order. Pure: no sockets, no threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import ProtocolError, RoundRobin


@dataclass(frozen=True)
class MergedRows:
    """Rows of ``count`` consecutive frames from global index ``first`` on, shape (count, rows per frame) by stream."""

    first: int
    count: int
    rows: Mapping[str, np.ndarray]


class _Waiting:
    """Rows of one stream of one receiver that are not merged yet."""

    def __init__(self) -> None:
        self.chunks: list[np.ndarray] = []
        self.received = 0

    def add(self, rows: np.ndarray) -> None:
        self.chunks.append(rows)
        self.received += len(rows)

    def take(self, count: int) -> np.ndarray:
        rows = self.chunks[0] if len(self.chunks) == 1 else np.concatenate(self.chunks)
        self.chunks = [rows[count:]] if count < len(rows) else []
        return rows[:count]

    @property
    def nbytes(self) -> int:
        return sum(chunk.nbytes for chunk in self.chunks)


class RowMerger:
    """Takes each receiver's rows in its local order, in any batches, and gives all frames in order without a gap."""

    def __init__(self, dispatch: RoundRobin, rows_per_frame: Mapping[str, int]) -> None:
        self.dispatch = dispatch
        self.rows_per_frame = dict(rows_per_frame)
        self.merged = 0
        self._waiting = [{name: _Waiting() for name in rows_per_frame} for _ in range(dispatch.receivers)]

    def add(self, receiver: int, rows: Mapping[str, np.ndarray]) -> None:
        """Further rows of ``receiver``, following those added before; streams may advance unevenly."""
        waiting = self._waiting[receiver]
        for name, chunk in rows.items():
            if name not in waiting:
                raise ProtocolError(f"result stream {name!r} was not asked for; asked: {', '.join(waiting)}")
            if len(chunk):
                waiting[name].add(chunk)

    def frames(self, receiver: int) -> int:
        """Frames of ``receiver`` of which all rows are here (merged ones included)."""
        waiting = self._waiting[receiver]
        return min((waiting[name].received // count for name, count in self.rows_per_frame.items()), default=0)

    @property
    def contiguous(self) -> int:
        """Frames from 0 on of which all rows are here."""
        return self.dispatch.contiguous([self.frames(receiver) for receiver in range(self.dispatch.receivers)])

    def limit(self, receiver: int) -> int:
        """Frames that can be merged at most when ``receiver`` gives no more rows."""
        return self.dispatch.global_index(receiver, self.frames(receiver))

    def waiting_bytes(self, receiver: int) -> int:
        """Memory held by rows of ``receiver`` that wait for other receivers."""
        return sum(waiting.nbytes for waiting in self._waiting[receiver].values())

    @property
    def waiting_frames(self) -> int:
        """Frames that are here but cannot be merged yet, because an earlier one is missing."""
        return sum(self.frames(receiver) for receiver in range(self.dispatch.receivers)) - self.merged

    def take(self, max_frames: int) -> MergedRows | None:
        """The next frames in global order, at most ``max_frames``; None when the next one is not here."""
        count = min(self.contiguous - self.merged, max_frames)
        if count <= 0:
            return None
        first, end = self.merged, self.merged + count
        spans = []  # (receiver, local frames, where they go)
        for receiver in range(self.dispatch.receivers):
            local = np.arange(self.dispatch.count(receiver, first), self.dispatch.count(receiver, end))
            if len(local):
                # RoundRobin's arithmetic holds for arrays as for integers
                spans.append((receiver, len(local), np.asarray(self.dispatch.global_index(receiver, local)) - first))  # type: ignore[arg-type]
        merged = {}
        for name, per_frame in self.rows_per_frame.items():
            taken = [
                (self._waiting[receiver][name].take(frames * per_frame).reshape(frames, per_frame), places)
                for receiver, frames, places in spans
            ]
            if len(taken) == 1:
                merged[name] = taken[0][0]
                continue
            block = np.empty((count, per_frame), taken[0][0].dtype)
            for rows, places in taken:
                block[places] = rows
            merged[name] = block
        self.merged = end
        return MergedRows(first, count, merged)
