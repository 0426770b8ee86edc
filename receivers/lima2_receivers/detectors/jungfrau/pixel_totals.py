"""Totals of what was counted in the pixels of the corrected frames of one acquisition."""

from __future__ import annotations

import threading
from dataclasses import fields

from lima2_receivers.kernels.jungfrau_types import PixelCounts

NAMES = tuple(one.name for one in fields(PixelCounts))
#: What they are called for users.
SHOWN = {"g1": "in_G1", "g2": "in_G2"}


class PixelTotals:
    """Adds up `PixelCounts`; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(NAMES, 0)

    def add(self, counts: PixelCounts) -> None:
        """One more frame."""
        with self._lock:
            for name in NAMES:
                self._totals[name] += getattr(counts, name)

    def read(self) -> dict[str, int]:
        """Totals by name, as ``pixels_saturated``, ``pixels_in_G1``."""
        with self._lock:
            return {f"pixels_{SHOWN.get(name, name)}": total for name, total in self._totals.items()}
