"""Sweeps a motor line by line, has a detector take its images on the way, and tells where the motor was at each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
import numpy as np
from bliss.common import cleanup
from bliss.scanning.chain import AcquisitionMaster
from bliss.scanning.channel import AxisAcquisitionChannel

from lima2_bliss.controller.compatibility import at_speed
from lima2_bliss.controller.journey import READ_EVERY_S, Journey
from lima2_bliss.controller.line import Line

_log = logging.getLogger(__name__)

#: Between two batches of positions [s].
TELL_EVERY_S = 0.2


@dataclass(frozen=True)
class Sweep:
    """One line, and where the slow motor stands meanwhile (None without one)."""

    line: Line
    slow: float | None = None


class LinesMaster(AcquisitionMaster):
    """First master of a sweep or raster; the detector below it has trigger mode 'software'.

    ``at_each_image``: the detector is triggered for each image when the motor is at its place; otherwise once for each
    line, and takes the images of the line at its own rate.
    """

    def __init__(self, fast: Any, slow: Any, sweeps: Sequence[Sweep], at_each_image: bool = False) -> None:
        self._motors = [fast] if slow is None else [fast, slow]
        super().__init__(
            *self._motors, name="axis", npoints=sum(sweep.line.nb_images for sweep in sweeps), prepare_once=False
        )
        self._fast, self._slow, self._sweeps = fast, slow, sweeps
        self._at_each_image = at_each_image
        self._sweep = sweeps[0]
        self._journey: Journey | None = None
        self._told = self._told_in_all = 0
        self._told_s = time.monotonic()
        self._known_within = 0.0
        self._offset, self._warned = 0.0, False
        self._slow_at = float("nan")
        self._span_s: tuple[float, float] | None = None
        self.channels.extend(AxisAcquisitionChannel(motor) for motor in self._motors)

    def __iter__(self) -> Iterator[LinesMaster]:
        for sweep in self._sweeps:
            self._sweep = sweep
            yield self

    def prepare(self) -> None:
        """Go to the beginning of the line, ramp included."""
        begin, _ = self._sweep.line.ends(self._fast.acceleration)
        places: dict[Any, float | None] = {self._fast: begin}
        if self._slow is not None:
            places[self._slow] = self._sweep.slow
        self.device.move(places)
        if self._slow is not None:
            self._slow_at = self._slow.position

    def start(self) -> None:
        """Sweep the line."""
        self.trigger()

    def stop(self) -> None:
        """Stop the motors."""
        for motor in self._motors:
            motor.stop()

    def wait_reading(self) -> None:
        """Publish where the images of a line that was interrupted were taken."""
        journey, self._journey = self._journey, None
        outcome = self.slaves[0].outcome
        if journey is None or outcome is None or outcome.status is None:
            return
        journey.ended()
        self._note_start(journey)
        self._tell(journey, outcome.status.processed - self._told_in_all + self._told)

    def trigger(self) -> None:
        """Move along the line at constant speed, with the images taken on the way."""
        line = self._sweep.line
        _, end = line.ends(self._fast.acceleration)
        journey = Journey(self._fast, line)
        self._journey, self._told = journey, 0
        with at_speed(self._fast, line.speed), cleanup.cleanup(self._fast):
            self._fast.move(end, wait=False)
            with journey.followed():
                journey.pass_place(line.start)
                if self._at_each_image:
                    self._take_each(journey)
                else:
                    self._take_line(journey)
                self._fast.wait_move()
        journey.ended()
        self.wait_slaves()
        self._note_start(journey)
        self._tell(journey, line.nb_images)
        self._journey = None
        journey.check_arrived()
        self._warn_of_offset(line)

    def get_acquisition_metadata(self, timing: Any = None) -> dict[str, Any] | None:
        """How well the positions are known, at the end of the scan."""
        metadata: dict[str, Any] | None = super().get_acquisition_metadata(timing=timing)
        if timing == self.META_TIMING.END and self._told_in_all:
            unit = {"position_known_within@units": self._fast.unit} if self._fast.unit else {}
            metadata = {**(metadata or {}), "position_known_within": self._known_within, **unit}
        return metadata

    def _take_line(self, journey: Journey) -> None:
        self.trigger_slaves()
        while self._fast.is_moving:
            gevent.sleep(READ_EVERY_S)
            self._note_start(journey)
            self._tell_at_times(journey)

    def _take_each(self, journey: Journey) -> None:
        for index in range(journey.line.nb_images):
            journey.pass_place(journey.line.start + index * journey.line.step)
            self.wait_slaves()
            self._note_start(journey)
            self.trigger_slaves()
            self._tell_at_times(journey)

    def _note_start(self, journey: Journey) -> None:
        """Take over when the detector got its last trigger."""
        span_s = self.slaves[0].trigger_span_s
        if span_s is not None and span_s is not self._span_s:
            self._span_s = span_s
            journey.images_begin((span_s[0] + span_s[1]) / 2, 1 if self._at_each_image else journey.line.nb_images)
            within_s = (span_s[1] - span_s[0] + journey.reading_s) / 2
            self._known_within = max(self._known_within, within_s * journey.line.speed)

    def _tell_at_times(self, journey: Journey) -> None:
        """Publish the positions of images that are over, in batches."""
        if time.monotonic() > self._told_s + TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(journey)

    def _tell(self, journey: Journey, number: int | None = None) -> None:
        """Publish the positions of the next images: those that are known for certain, or the first ``number``."""
        places = journey.places(self._told, number is not None)[: None if number is None else number - self._told]
        self._told += len(places)
        self._told_in_all += len(places)
        if len(places):
            nominal = journey.line.middles()[self._told - len(places) : self._told]
            self._offset = max(self._offset, float(np.abs(places - nominal).max()))
            self.channels[0].emit(places)
            if self._slow is not None:
                self.channels[1].emit(np.full(len(places), self._slow_at))

    def _warn_of_offset(self, line: Line) -> None:
        if self._offset > abs(line.step) and not self._warned:
            self._warned = True
            _log.warning(
                "%s: images are up to %.3g %s from where they were meant to be (images are %.3g apart); their positions"
                " in the scan are right, but lower the speed",
                self._fast.name,
                self._offset,
                self._fast.unit or "units",
                abs(line.step),
            )
