"""Lines that a motor is swept along while images are taken: speed, ramps, nominal positions. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lima2_bliss.contract import ParameterError

#: The motor has reached its speed this long before the first image, and keeps it this long after the last [s].
SETTLED_S = 0.1


@dataclass(frozen=True)
class Line:
    """``nb_images`` images from ``start`` to ``stop`` at constant speed, one every ``period_s``.

    Image k covers the part from k to k + 1 steps; its exposures last ``span_s`` of ``period_s``.
    """

    start: float
    stop: float
    nb_images: int
    period_s: float
    span_s: float

    @property
    def direction(self) -> int:
        return 1 if self.stop > self.start else -1

    @property
    def step(self) -> float:
        """From one image to the next, with its sign [motor unit]."""
        return (self.stop - self.start) / self.nb_images

    @property
    def speed(self) -> float:
        """Motor units per second, > 0."""
        return abs(self.step) / self.period_s

    def run_up(self, acceleration: float) -> float:
        """Way before ``start``, and after ``stop``, to get to the speed and settle at it [motor unit], > 0."""
        return self.speed**2 / (2 * acceleration) + self.speed * SETTLED_S

    def ends(self, acceleration: float) -> tuple[float, float]:
        """Where the movement begins and ends [motor unit]."""
        way = self.direction * self.run_up(acceleration)
        return self.start - way, self.stop + way

    def middles(self) -> np.ndarray:
        """Nominal positions of the images: where the motor should be in the middle of their exposures."""
        return self.start + self.step * (np.arange(self.nb_images) + self.span_s / self.period_s / 2)

    def reversed(self) -> Line:
        """The same line the other way round."""
        return Line(self.stop, self.start, self.nb_images, self.period_s, self.span_s)


def check_line(name: str, motor: Any, line: Line) -> None:
    """One `ParameterError` with all that keeps ``motor`` from this line; ``name`` of the scan."""
    unit = motor.unit or "unit"
    faults = []
    slowest, fastest = (abs(limit) for limit in motor.velocity_limits)
    if line.speed > fastest or (np.isfinite(slowest) and line.speed < slowest):
        change = "longer" if line.speed > fastest else "shorter"
        allowed = f"{slowest:g} to {fastest:g}" if np.isfinite(slowest) else f"at most {fastest:g}"
        faults.append(
            f"{line.nb_images} images every {line.period_s:g} s from {line.start:g} to {line.stop:g} need a speed of"
            f" {line.speed:g} {unit}/s, {motor.name} allows {allowed}: count {change}, or change the"
            " range"
        )
    low, high = sorted(motor.limits)
    begin, end = line.ends(motor.acceleration)
    if min(begin, end) < low or max(begin, end) > high:
        faults.append(
            f"{motor.name} would move from {begin:g} to {end:g} {unit}, speeding up and slowing down included; its"
            f" limits are {low:g} to {high:g}"
        )
    if faults:
        raise ParameterError(f"{name}: " + "; ".join(faults))
