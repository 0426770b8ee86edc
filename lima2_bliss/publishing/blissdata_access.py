"""What differs between blissdata 1.1.4 and 2.x for a consumer: reading on from a cursor, and where a stream ends."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np


def _exceptions() -> Any:
    try:
        return importlib.import_module("blissdata.exceptions")
    except ModuleNotFoundError:
        return importlib.import_module("blissdata.redis_engine.exceptions")


EndOfStream: type[Exception] = _exceptions().EndOfStream


class PointCursor:
    """Reads the points of a numeric stream one batch after another."""

    def __init__(self, stream: Any) -> None:
        self._cursor = stream.cursor()
        self.position = 0

    def read(self, timeout_s: float) -> np.ndarray | None:
        """The points that follow, None when none came within ``timeout_s``; `EndOfStream` when there will be none."""
        # blissdata takes 0 for "wait for ever"
        answer = self._cursor.read(block=timeout_s > 0, timeout=max(timeout_s, 0.001))
        if answer is None:
            return None
        points = answer[1] if isinstance(answer, tuple) else answer.get_data()
        if len(points) == 0:
            return None
        self.position += len(points)
        return np.asarray(points)
