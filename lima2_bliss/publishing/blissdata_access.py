"""What differs between blissdata 1.1.4 and 2.x: where its parts are, reading on in streams, and where a stream ends."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lima2_bliss.contract import NoLongerAvailableError


def _first(*names: str) -> Any:
    """The first of these modules that the installed version has."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"this blissdata has none of {', '.join(names)}")


def streams_module() -> Any:
    """Where a stream of Redis is, with the sink that its writer sends by."""
    return _first(
        "blissdata.streams.event_stream", "blissdata.redis_engine.event_stream", "blissdata.redis_engine.stream"
    )


def sinks_module() -> Any:
    """Where the sinks are."""
    return _first("blissdata.streams.sink", "blissdata.redis_engine.sink")


def _encoding_module(name: str) -> Any:
    return _first(f"blissdata.streams.encoding.{name}", f"blissdata.redis_engine.encoding.{name}")


def numeric_encoder(dtype: Any, shape: Sequence[int]) -> Any:
    """Encodes points of numbers as blissdata does, the same in all versions."""
    return _encoding_module("numeric").NumericStreamEncoder(dtype, tuple(shape))


def json_encoder() -> Any:
    """Encodes mappings as blissdata does, the same in all versions."""
    return _encoding_module("json").JsonStreamEncoder()


#: Between two looks at a stream that has been trimmed while it grows [s].
_LOOK_S = 0.02

EndOfStream: type[Exception] = _first("blissdata.exceptions", "blissdata.redis_engine.exceptions").EndOfStream


def follower(streams: Sequence[Any]) -> Callable[[], dict[str, Any]]:
    """A function that gives what was written since the last call, by key of the stream; never waits.

    ``streams`` are those of Redis, open for writing or reading. `EndOfStream` when all are read to their end.
    """
    module = streams_module()
    if hasattr(module, "StreamingClient"):
        opened = [module.Stream.open(stream._data_store, stream.name, stream._model) for stream in streams]
        client = module.StreamingClient(opened)
        return lambda: {stream.key: points for stream, (_, points) in client.read(block=False).items()}
    base = _first("blissdata.streams.base")
    wrapped = [
        _first("blissdata.streams.default", "blissdata.streams.base").Stream(
            module.EventStream.open(stream._data_store, stream.name, stream._model)
        )
        for stream in streams
    ]
    cursors = base.CursorGroup(wrapped)
    return lambda: {stream.key: view.get_data() for stream, view in cursors.read(block=False).items()}


class PointCursor:
    """Reads the points of a numeric stream one batch after another; from the scan file once Redis was trimmed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._cursor = stream.cursor()
        self._trimmed = False
        self.position = 0

    def read(self, timeout_s: float) -> np.ndarray | None:
        """The points that follow, None when none came within ``timeout_s``; `EndOfStream` when there will be none."""
        if self._trimmed:
            return self._by_slice()
        try:
            # blissdata takes 0 for "wait for ever"
            answer = self._cursor.read(block=timeout_s > 0, timeout=max(timeout_s, 0.001))
        except (IndexError, AttributeError):  # AttributeError: blissdata 1.1.4 on its way to the file
            self._trimmed = True
            return self._by_slice()
        if answer is None:
            return None
        points = answer[1] if isinstance(answer, tuple) else answer.get_data()
        if len(points) == 0:
            return None
        self.position += len(points)
        return np.asarray(points)

    def _by_slice(self) -> np.ndarray | None:
        """The rest of the stream so far; slices find what has left Redis in the scan file."""
        count, sealed = len(self._stream), self._stream.is_sealed()
        if count <= self.position:
            if sealed:
                raise EndOfStream
            threading.Event().wait(_LOOK_S)
            return None
        try:
            points = np.asarray(self._stream[self.position : count])
        except (IndexError, KeyError, OSError) as error:
            raise NoLongerAvailableError(
                f"points {self.position} to {count - 1} of {self._stream.name} have left Redis, and are not in the scan"
                f" file ({error})"
            ) from error
        self.position += len(points)
        return points
