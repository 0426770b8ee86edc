"""The share of hits among the last frames, kept up while frames come in order."""

from __future__ import annotations

import numpy as np

#: Good frames that the rate is taken over.
WINDOW = 100


class HitRate:
    """Rate after each frame over the ``window`` last good ones; NaN until there is one."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._last = np.empty(0, np.int64)
        self._rate = np.float32(np.nan)

    def of(self, is_hit: np.ndarray, good: np.ndarray) -> np.ndarray:
        """float32 rate at each of the next frames; those that are not ``good`` leave it as it is."""
        hits = (is_hit[good] != 0).astype(np.int64)
        known = len(self._last)
        sums = np.concatenate([[0], np.cumsum(np.concatenate([self._last, hits]))])
        ends = np.arange(known + 1, known + len(hits) + 1)
        starts = np.maximum(ends - self._window, 0)
        rates = np.empty(len(hits) + 1, np.float32)
        rates[0] = self._rate
        rates[1:] = (sums[ends] - sums[starts]) / (ends - starts)
        self._last = np.concatenate([self._last, hits])[-self._window :]
        self._rate = rates[-1]
        return rates[np.cumsum(good)]
