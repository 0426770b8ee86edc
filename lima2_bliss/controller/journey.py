"""One movement of a motor along a line: where it is, when it passes a place, where it was at each image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import numpy as np

from lima2_bliss.contract import StateError
from lima2_bliss.controller.compatibility import hardware_position
from lima2_bliss.controller.line import Line
from lima2_bliss.controller.motor_track import MotorTrack

#: Between two readings of the moving motor [s].
READ_EVERY_S = 0.02
#: The time to a place that is nearer than this is not measured again: the motor goes at its speed [s].
_NEAR_S = 0.05


class Journey:
    """``motor`` moves along ``line``. All times are those of this host's clock [s since 1970]."""

    def __init__(self, motor: Any, line: Line) -> None:
        self.line = line
        self._motor = motor
        self._track = MotorTrack()
        self._begins = np.empty(0)
        self._reader: gevent.Greenlet | None = None

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Within, the motor is read all the time; at the end once more."""
        self._read_once()
        self._reader = gevent.spawn(self._read)
        try:
            yield
        finally:
            self._reader.kill()

    def _read(self) -> None:
        while True:
            gevent.sleep(READ_EVERY_S)
            self._read_once()

    def _read_once(self) -> None:
        begun_s = time.time()
        position = hardware_position(self._motor)
        self._track.add(begun_s, time.time(), position)

    @property
    def reading_s(self) -> float:
        """How long a reading takes [s]."""
        return self._track.reading_s

    def pass_place(self, place: float) -> None:
        """Return when the motor is at ``place``; at once if it has passed it. `StateError` if it never will."""
        while (left_s := self._left_s(place)) > _NEAR_S:
            if self._reader is not None and self._reader.ready():
                self._reader.get()  # raises why the motor cannot be read
            if not self._motor.is_moving:
                raise StateError(
                    f"{self._motor.name} has stopped at {self._motor.position:g}, before {place:g} where images of the"
                    " line begin; see the state of the motor"
                )
            gevent.sleep(min(left_s / 2, READ_EVERY_S))
        gevent.sleep(max(0.0, left_s))

    def _left_s(self, place: float) -> float:
        """Time until the motor is at ``place``, at the speed of the line [s]."""
        read_s, position = self._track.last
        return (place - position) * self.line.direction / self.line.speed - (time.time() - read_s)

    def ended(self) -> None:
        """The motor rests."""
        self._track.rest(time.time(), hardware_position(self._motor))

    def check_arrived(self) -> None:
        """`StateError` when the movement ended before the line did."""
        _, position = self._track.last
        if (self.line.stop - position) * self.line.direction > 0:
            raise StateError(
                f"{self._motor.name} has stopped at {position:g}, before the end of the line at {self.line.stop:g};"
                " see the state of the motor"
            )

    # --- images ---------------------------------------------------------------------------------------------------

    def images_begin(self, begin_s: float, number: int) -> None:
        """The first of ``number`` further images, one every period of the line, begins at ``begin_s``."""
        self._begins = np.append(self._begins, begin_s + self.line.period_s * np.arange(number))

    def places(self, first: int, all_of_them: bool) -> np.ndarray:
        """Where the motor was in the middle of the exposures of images ``first`` on, as far as it is known by now."""
        middles = self._begins[first:] + self.line.span_s / 2
        if not all_of_them:
            middles = middles[middles < self._track.known_until()]
        return self._track.at(middles)
