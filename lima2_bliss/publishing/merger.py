"""Puts the result rows of several receivers in global frame order. Pure: no sockets, no threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lima2_bliss.contract import ProtocolError, RoundRobin
from lima2_bliss.contract.wire import STREAM_DTYPES
from lima2_bliss.publishing.waiting_rows import CountedRows, WaitingRows

#: Bytes of counted rows that are taken at once.
MAX_FLAT_BYTES = 4 << 20
#: A stream that has this many frames more than the slowest of its receiver need not be asked for.
AHEAD_FRAMES = 64


@dataclass(frozen=True)
class MergedRows:
    """Rows of ``count`` consecutive frames from global index ``first`` on.

    ``rows``: arrays of shape (count, rows per frame) by stream. ``flat``: rows of streams with another number of rows
    in each frame, frame after frame; ``counts``: how many of each frame, int64 (count).
    """

    first: int
    count: int
    rows: Mapping[str, np.ndarray]
    flat: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Span:
    """Consecutive frames of one receiver, and their places among all that are taken."""

    receiver: int
    frames: int
    places: np.ndarray


class RowMerger:
    """Takes each receiver's rows in its local order, in any batches, and gives all frames in order without a gap.

    ``row_counts`` names, for each stream without a fixed number of rows, the (stream, column) that counts them.
    """

    def __init__(
        self,
        dispatch: RoundRobin,
        rows_per_frame: Mapping[str, int],
        row_counts: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.dispatch = dispatch
        self.merged = 0
        self._counted = dict(row_counts or {})
        self._dropped: set[str] = set()
        self._waiting: list[dict[str, WaitingRows]] = [
            {name: WaitingRows(count) for name, count in rows_per_frame.items()}
            | {name: CountedRows(STREAM_DTYPES[name]) for name in self._counted}
            for _ in range(dispatch.receivers)
        ]

    def add(self, receiver: int, rows: Mapping[str, np.ndarray]) -> None:
        """Further rows of ``receiver``, following those added before; streams may advance unevenly."""
        waiting = self._waiting[receiver]
        for name, chunk in rows.items():
            if name in self._dropped or not len(chunk):
                continue
            if name not in waiting:
                raise ProtocolError(f"result stream {name!r} was not asked for; asked: {', '.join(waiting)}")
            waiting[name].add(chunk)
            for counted, (counting, column) in self._counted.items():
                if counting == name:
                    self._counts_of(receiver, counted).count(chunk[column])

    def drop(self, name: str) -> None:
        """From here on frames are merged without the rows of stream ``name``; further ones are ignored."""
        if name in self._dropped:
            return
        self._dropped.add(name)
        self._counted.pop(name, None)
        for waiting in self._waiting:
            waiting.pop(name, None)

    def frames(self, receiver: int) -> int:
        """Frames of ``receiver`` of which all rows are here (merged ones included)."""
        return min((rows.frames for rows in self._waiting[receiver].values()), default=0)

    def lagging(self, receiver: int) -> set[str]:
        """Streams of which further rows are needed most: all but those far ahead of the slowest."""
        enough = self.frames(receiver) + AHEAD_FRAMES
        return {name for name, rows in self._waiting[receiver].items() if rows.frames <= enough}

    @property
    def contiguous(self) -> int:
        """Frames from 0 on of which all rows are here."""
        return self.dispatch.contiguous([self.frames(receiver) for receiver in range(self.dispatch.receivers)])

    def limit(self, receiver: int) -> int:
        """Frames that can be merged at most when ``receiver`` gives no more rows."""
        return self.dispatch.global_index(receiver, self.frames(receiver))

    def waiting_bytes(self, receiver: int) -> int:
        """Memory held by rows of ``receiver`` that wait for other receivers."""
        return sum(rows.nbytes for rows in self._waiting[receiver].values())

    @property
    def waiting_frames(self) -> int:
        """Frames that are here but cannot be merged yet, because an earlier one is missing."""
        return sum(self.frames(receiver) for receiver in range(self.dispatch.receivers)) - self.merged

    def take(self, max_frames: int, max_flat_bytes: int = MAX_FLAT_BYTES) -> MergedRows | None:
        """The next frames in global order, at most ``max_frames``; None when the next one is not here.

        Fewer when their counted rows would be more than ``max_flat_bytes``, but at least one.
        """
        count = min(self.contiguous - self.merged, max_frames)
        if count <= 0:
            return None
        spans = self._spans(count)
        counts = {name: self._merged_counts(name, spans, count) for name in self._counted}
        affordable = self._affordable(counts, count, max_flat_bytes)
        if affordable < count:
            count, spans = affordable, self._spans(affordable)
            counts = {name: numbers[:count] for name, numbers in counts.items()}
        flat = {name: self._take_counted(name, spans, count) for name in self._counted}
        fixed = [name for name in self._waiting[0] if name not in self._counted]
        merged = MergedRows(
            self.merged, count, {name: self._take_fixed(name, spans, count) for name in fixed}, flat, counts
        )
        self.merged += count
        return merged

    def _counts_of(self, receiver: int, name: str) -> CountedRows:
        rows = self._waiting[receiver][name]
        assert isinstance(rows, CountedRows)
        return rows

    def _spans(self, count: int) -> list[_Span]:
        first, end = self.merged, self.merged + count
        spans = []
        for receiver in range(self.dispatch.receivers):
            local = np.arange(self.dispatch.count(receiver, first), self.dispatch.count(receiver, end))
            if len(local):
                # RoundRobin's arithmetic holds for arrays as for integers
                places = np.asarray(self.dispatch.global_index(receiver, local)) - first  # type: ignore[arg-type]
                spans.append(_Span(receiver, len(local), places))
        return spans

    def _merged_counts(self, name: str, spans: list[_Span], count: int) -> np.ndarray:
        counts = np.empty(count, np.int64)
        for span in spans:
            counts[span.places] = self._counts_of(span.receiver, name).counts(span.frames)
        return counts

    @staticmethod
    def _affordable(counts: Mapping[str, np.ndarray], count: int, max_bytes: int) -> int:
        nbytes = np.zeros(count, np.int64)
        for name, numbers in counts.items():
            nbytes += numbers * STREAM_DTYPES[name].itemsize
        return max(int(np.searchsorted(np.cumsum(nbytes), max_bytes, side="right")), 1)

    def _take_fixed(self, name: str, spans: list[_Span], count: int) -> np.ndarray:
        taken = [self._waiting[span.receiver][name].take(span.frames) for span in spans]
        if len(taken) == 1:
            return taken[0]
        block = np.empty((count, *taken[0].shape[1:]), taken[0].dtype)
        for span, rows in zip(spans, taken, strict=True):
            block[span.places] = rows
        return block

    def _take_counted(self, name: str, spans: list[_Span], count: int) -> np.ndarray:
        if len(spans) == 1:
            return self._waiting[spans[0].receiver][name].take(spans[0].frames)
        # a slice per frame costs 0.3 us; index arithmetic per row would cost 10 ns and more for each of the rows
        pieces = [np.empty(0, STREAM_DTYPES[name])] * count
        for span in spans:
            waiting = self._counts_of(span.receiver, name)
            ends = np.cumsum(waiting.counts(span.frames)).tolist()
            rows = waiting.take(span.frames)
            start = 0
            for place, end in zip(span.places.tolist(), ends, strict=True):
                pieces[place] = rows[start:end]
                start = end
        return np.concatenate(pieces)
