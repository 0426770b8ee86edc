"""The results log: rows of every stream by position, for any number of readers. Nothing is ever popped."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from lima2_bliss.contract import AcquisitionError, NoLongerAvailableError, NotAvailableError, ResultStream
from lima2_bliss.contract.wire import MAX_ROWS

#: Memory comes in pieces of about this size.
CHUNK_BYTES = 1 << 18

#: A stream longer than this forgets its oldest rows.
MAX_STREAM_BYTES = 1 << 29


class _Rows:
    """The rows of one stream in chunks of equal length."""

    def __init__(self, stream: ResultStream, max_bytes: int) -> None:
        self.stream = stream
        self.chunk_rows = max(1, CHUNK_BYTES // stream.dtype.itemsize)
        self.max_chunks = max(2, max_bytes // (self.chunk_rows * stream.dtype.itemsize))
        self.chunks: deque[np.ndarray] = deque()
        self.first_chunk = 0
        self.length = 0

    def append(self, rows: np.ndarray) -> None:
        done = 0
        while done < len(rows):
            offset = self.length % self.chunk_rows
            if not offset:
                self.chunks.append(np.empty(self.chunk_rows, self.stream.dtype))
                if len(self.chunks) > self.max_chunks:
                    self.chunks.popleft()
                    self.first_chunk += 1
            take = min(len(rows) - done, self.chunk_rows - offset)
            self.chunks[-1][offset : offset + take] = rows[done : done + take]
            self.length += take
            done += take

    def read(self, position: int, max_rows: int) -> list[np.ndarray]:
        if position < self.first_chunk * self.chunk_rows:
            raise NoLongerAvailableError(
                f"row {position} of stream {self.stream.name} was dropped; the oldest kept is "
                f"{self.first_chunk * self.chunk_rows}"
            )
        end = min(self.length, position + max_rows)
        pieces = []
        while position < end:
            chunk, offset = divmod(position, self.chunk_rows)
            take = min(end - position, self.chunk_rows - offset)
            pieces.append(self.chunks[chunk - self.first_chunk][offset : offset + take])
            position += take
        return pieces


class ResultsLog:
    """Rows of several streams that grow together, one frame at a time: a reader sees all rows of a frame or none."""

    def __init__(self, streams: Sequence[ResultStream], max_stream_bytes: int = MAX_STREAM_BYTES) -> None:
        self.streams: Mapping[str, ResultStream] = {stream.name: stream for stream in streams}
        self._lock = threading.Lock()
        self._rows = {stream.name: _Rows(stream, stream.max_bytes or max_stream_bytes) for stream in streams}
        self._frames = 0

    @property
    def frames(self) -> int:
        """Frames whose rows are in the log."""
        return self._frames

    def append(self, rows: Mapping[str, np.ndarray]) -> None:
        """Add the rows of one frame: for every stream as many rows as it has per frame, of its dtype.

        A stream with another number of rows in each frame takes as many as the column that counts them says.
        """
        ready = {name: self._checked(stream, rows) for name, stream in self.streams.items()}
        if len(rows) > len(ready):
            unknown = ", ".join(sorted(set(rows) - set(ready)))
            raise AcquisitionError(f"results for unknown streams {unknown}; streams of this pipeline: {self._names()}")
        with self._lock:
            for name, array in ready.items():
                self._rows[name].append(array)
            self._frames += 1

    def length(self, name: str) -> int:
        """Rows that stream ``name`` has."""
        return self._stream(name).length

    def lengths(self) -> dict[str, int]:
        """Rows of each stream, all at the same frame."""
        with self._lock:
            return {name: rows.length for name, rows in self._rows.items()}

    def first(self, name: str) -> int:
        """Position of the oldest row that is kept (0 unless the stream grew very long)."""
        rows = self._stream(name)
        return rows.first_chunk * rows.chunk_rows

    def read(self, name: str, position: int, max_rows: int = MAX_ROWS) -> np.ndarray:
        """Rows [position, position + max_rows) as far as they exist; read-only. Empty at or beyond the end."""
        rows = self._stream(name)
        if position < 0:
            raise NotAvailableError(f"row {position} of stream {name}; positions count from 0")
        with self._lock:
            pieces = rows.read(position, max_rows)
        if len(pieces) == 1:
            result = pieces[0].view()
        elif pieces:
            result = np.concatenate(pieces)
        else:
            result = np.empty(0, rows.stream.dtype)
        result.flags.writeable = False
        return result

    def _stream(self, name: str) -> _Rows:
        try:
            return self._rows[name]
        except KeyError:
            raise NotAvailableError(f"no result stream {name!r}; streams of this pipeline: {self._names()}") from None

    def _names(self) -> str:
        return ", ".join(self.streams) or "none"

    @staticmethod
    def _checked(stream: ResultStream, given: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = given.get(stream.name)
        if rows is None:
            raise AcquisitionError(f"the nodes gave no rows for stream {stream.name} (holes need rows, too)")
        expected = stream.rows_per_frame
        if stream.counted_by is not None:
            counting, column = stream.counted_by
            expected = int(given[counting][column][0])
        if rows.dtype != stream.dtype or rows.shape != (expected,):
            raise AcquisitionError(
                f"stream {stream.name} got {rows.shape} rows of {rows.dtype} for a frame; "
                f"it takes ({expected},) of {stream.dtype}"
            )
        return rows
