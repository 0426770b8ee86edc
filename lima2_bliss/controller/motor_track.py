"""Where a motor was at which time: readings while it moves, and positions between them. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: A reading that took longer than the quickest one by this factor, and this time more [s], tells too little.
_SLOW_FACTOR = 1.5
_SLOW_S = 0.002


class MotorTrack:
    """Readings of a moving motor. Times are seconds of any one clock, positions in the motor's unit.

    A reading counts for the middle of the time that it took. Those that took long, because the process was busy, are
    left out of `at`.
    """

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._ended: list[float] = []
        self._positions: list[float] = []
        self._rest: tuple[float, float] | None = None

    def add(self, begun_s: float, ended_s: float, position: float) -> None:
        """A reading, asked for at ``begun_s`` and answered at ``ended_s``."""
        self._begun.append(begun_s)
        self._ended.append(ended_s)
        self._positions.append(position)

    def rest(self, time_s: float, position: float) -> None:
        """From ``time_s`` on the motor rests at ``position``."""
        self._rest = (time_s, position)

    @property
    def last(self) -> tuple[float, float]:
        """(time, position) of the last reading."""
        return self._rest or ((self._begun[-1] + self._ended[-1]) / 2, self._positions[-1])

    @property
    def reading_s(self) -> float:
        """How long a reading that counts may take [s]."""
        took = np.array(self._ended) - np.array(self._begun)
        return float(took.min(initial=np.inf)) * _SLOW_FACTOR + _SLOW_S

    def _good(self) -> tuple[np.ndarray, np.ndarray]:
        begun, ended, positions = (np.array(each, float) for each in (self._begun, self._ended, self._positions))
        good = ended - begun <= self.reading_s
        times, positions = ((begun + ended) / 2)[good], positions[good]
        if self._rest is not None:
            times, positions = np.append(times, self._rest[0]), np.append(positions, self._rest[1])
        return times, positions

    def known_until(self) -> float:
        """Positions up to this time are known, and later readings do not change them."""
        times, _ = self._good()
        return float(times[-1]) if len(times) else -np.inf

    def at(self, times_s: Sequence[float] | np.ndarray) -> np.ndarray:
        """Positions at these times, linear between readings; before the first and after the last reading theirs."""
        times, positions = self._good()
        return np.interp(np.asarray(times_s, float), times, positions)
