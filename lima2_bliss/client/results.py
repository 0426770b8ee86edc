"""Result rows of all receivers put together in global frame order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lima2_bliss.client.receiver_link import ReceiverLink
from lima2_bliss.contract import ParameterError, ProtocolError, RoundRobin
from lima2_bliss.contract.records import ROW_COUNTS
from lima2_bliss.contract.wire import STREAM_DTYPES, ResultsRequest, decode_rows


def read_rows(link: ReceiverLink, uuid: str, stream: str, position: int, limit: int | None = None) -> np.ndarray:
    """Rows of one receiver from ``position`` on, in its local order: all there are, or the first ``limit``."""
    parts: list[np.ndarray] = []
    while limit is None or sum(len(part) for part in parts) < limit:
        reply, raw = link.ask(ResultsRequest(uuid=uuid, positions={stream: position}))
        rows = decode_rows(reply, raw).get(stream)
        if rows is None or not len(rows):
            break
        parts.append(rows)
        position += len(rows)
    return np.concatenate(parts)[:limit] if parts else np.empty(0, STREAM_DTYPES[stream])


def rows_per_frame(rows: np.ndarray) -> int:
    """How many rows each frame has, told from rows that begin with the first row of a frame; 0 when there are none."""
    return int(np.count_nonzero(rows["frame_idx"] == rows["frame_idx"][0])) if len(rows) else 0


def read_results(
    links: Sequence[ReceiverLink], uuid: str, stream: str, dispatch: RoundRobin, first_frame: int, per_frame: int
) -> np.ndarray:
    """Rows of the frames from ``first_frame`` on that are there without a gap, shape (frames, per_frame)."""
    skipped = [dispatch.count(rank, first_frame) for rank in range(len(links))]
    parts = []
    for link, skip in zip(links, skipped, strict=True):
        rows = read_rows(link, uuid, stream, skip * per_frame)
        parts.append(rows[: len(rows) // per_frame * per_frame].reshape(-1, per_frame))
    there = [skip + len(part) for skip, part in zip(skipped, parts, strict=True)]
    total = max(dispatch.contiguous(there), first_frame)
    merged = np.empty((total - first_frame, per_frame), STREAM_DTYPES[stream])
    for rank, part in enumerate(parts):
        places = [
            dispatch.global_index(rank, n) - first_frame for n in range(skipped[rank], dispatch.count(rank, total))
        ]
        merged[places] = part[: len(places)]
    return merged


class CountedRows:
    """A stream with another number of rows in each frame; it remembers the numbers, so that reads go on cheaply."""

    def __init__(self, links: Sequence[ReceiverLink], uuid: str, stream: str, dispatch: RoundRobin) -> None:
        self._links = links
        self._uuid = uuid
        self._stream = stream
        self._dispatch = dispatch
        self._counting, self._column = ROW_COUNTS[stream]
        self._counts = [np.empty(0, np.int64) for _ in links]

    def read(self, position: int) -> np.ndarray:
        """Rows in global frame order from row ``position`` on, of all frames that are there without a gap.

        `NoLongerAvailableError` when a receiver has dropped some of them.
        """
        self._count()
        total = self._dispatch.contiguous([len(counts) for counts in self._counts])
        ends = np.cumsum(self._merged(total))
        first = int(np.searchsorted(ends, position, side="right"))
        skip = position - int(ends[first - 1] if first else 0)
        pieces = [np.empty(0, STREAM_DTYPES[self._stream])] * (total - first)
        for rank, (link, counts) in enumerate(zip(self._links, self._counts, strict=True)):
            begin, end = (self._dispatch.count(rank, n) for n in (first, total))
            limit = int(counts[begin:end].sum())
            rows = read_rows(link, self._uuid, self._stream, int(counts[:begin].sum()), limit)
            if len(rows) < limit:
                raise ProtocolError(f"{link.receiver} gave {len(rows)} rows of stream {self._stream} of {limit}")
            for local, piece in enumerate(np.split(rows, np.cumsum(counts[begin:end])[:-1]), begin):
                if local < end:
                    pieces[self._dispatch.global_index(rank, local) - first] = piece
        return np.concatenate(pieces)[skip:] if pieces else np.empty(0, STREAM_DTYPES[self._stream])

    def _count(self) -> None:
        for rank, link in enumerate(self._links):
            news = read_rows(link, self._uuid, self._counting, len(self._counts[rank]))
            self._counts[rank] = np.concatenate([self._counts[rank], news[self._column]], dtype=np.int64)

    def _merged(self, total: int) -> np.ndarray:
        merged = np.empty(total, np.int64)
        for rank, counts in enumerate(self._counts):
            places = [self._dispatch.global_index(rank, n) for n in range(self._dispatch.count(rank, total))]
            merged[places] = counts[: len(places)]
        return merged


def known_stream(stream: str) -> str:
    """The stream's name, if there is one of that name."""
    if stream not in STREAM_DTYPES:
        raise ParameterError(f"no result stream {stream!r}; there are {', '.join(STREAM_DTYPES)}")
    return stream
