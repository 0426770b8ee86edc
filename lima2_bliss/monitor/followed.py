"""Streams that are read on together: one request to Redis for all of them, rows that have left Redis made up for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from lima2_bliss.publishing.blissdata_access import EndOfStream, streams_module

_log = logging.getLogger(__name__)

#: Entries of one stream that are taken at a time; an entry has one row or many.
MOST_ENTRIES = 4096


class Followed:
    """Numeric ``streams`` by name, from their beginning; `read` until `ended`. `behind`: there is more to read at once.

    What has left Redis before it was read is read from the scan file, if it is there; else it comes as NaN, or 0 where
    numbers are whole, so that rows keep their places.
    """

    def __init__(self, streams: Mapping[str, Any]) -> None:
        self.ended = not streams
        self.behind = False
        self._streams = dict(streams)
        self._rows = dict.fromkeys(streams, 0)
        module = streams_module()
        # where blissdata can read on in a file, that of Redis is wrapped; the wrapper's cursor is of no use here
        bare = {name: getattr(stream, "_stream", stream) for name, stream in streams.items()}
        self._names = {stream.key: name for name, stream in bare.items()}
        opened = [module.Stream.open(stream._data_store, stream.name, stream._model) for stream in bare.values()]
        self._client = module.StreamingClient(opened)

    def read(self) -> dict[str, np.ndarray]:
        """The rows that have come since, by name of the stream; never waits. Errors of Redis are left as they are."""
        try:
            found = self._next()
        except EndOfStream:
            self.ended = True
            return {}
        rows: dict[str, np.ndarray] = {}
        for stream, (first, points) in found.items():
            name = self._names[stream.key]
            rows[name] = self._in_place(name, first, np.asarray(points))
        self.behind = max(map(len, rows.values()), default=0) >= MOST_ENTRIES
        return rows

    def _next(self) -> Mapping[Any, tuple[int, Any]]:
        found: Mapping[Any, tuple[int, Any]]
        try:
            found = self._client.read(block=False, count=MOST_ENTRIES)
        except IndexError:  # something was trimmed: go on with what is there
            try:
                found = self._client.read(block=False, count=-MOST_ENTRIES)
            except IndexError:  # a stream has ended, and nothing of it is left
                return {}
        return found

    def _in_place(self, name: str, first: int, points: np.ndarray) -> np.ndarray:
        """``points`` from row ``first`` on, with the rows before them that were never seen."""
        before = self._rows[name]
        self._rows[name] = first + len(points)
        if first <= before:
            return points
        none = np.nan if points.dtype.kind == "f" else 0
        gone = np.full((first - before, *points.shape[1:]), none, points.dtype)
        try:
            gone[...] = self._streams[name][before:first]
        except Exception as error:  # noqa: BLE001 - of h5py, of blissdata, of a file that is not there yet
            _log.debug("rows %d to %d of %s: %s", before, first, name, error)
        return np.concatenate([gone, points])
