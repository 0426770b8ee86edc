"""Scans that a detector offers itself, in which it or what triggers it sets the pace."""

from __future__ import annotations

from typing import Any

from lima2_bliss.controller.continuous_scan import TakeRequest, continuous_scan
from lima2_bliss.controller.raster import raster_scan
from lima2_bliss.controller.sweep import LineRequest, SweepTrigger, sweep_scan


class DetectorScans:
    """`take`, `sweep` and `raster` of a detector object."""

    def take(
        self,
        nb_images: int,
        expo_time: float,
        *counters: Any,
        trigger: str = "internal",
        images_per_trigger: int = 1,
        latency_time: float | None = None,
        save: bool = True,
        run: bool = True,
    ) -> Any:
        """Scan of images at the detector's own rate, ``expo_time`` [s] each; 0 images: until Ctrl-C.

        ``trigger`` "external": each pulse at the detector's input gives ``images_per_trigger`` images; "gate": each
        pulse gives one image, exposed as long as the pulse lasts. ``counters``: only these instead of the detector's
        default ones.
        """
        request = TakeRequest(nb_images, expo_time, trigger, images_per_trigger, latency_time)
        return continuous_scan(self, request, counters, save, run)  # type: ignore[arg-type]

    def sweep(
        self,
        motor: Any,
        start: float,
        stop: float,
        nb_images: int,
        expo_time: float,
        *counters: Any,
        speed: float | None = None,
        trigger: SweepTrigger = "internal",
        latency_time: float | None = None,
        save: bool = True,
        run: bool = True,
    ) -> Any:
        """Scan of ``nb_images`` images while ``motor`` goes from ``start`` to ``stop`` at constant speed.

        The speed is what the images need, or ``speed`` [motor unit/s]: then the detector waits after each image.
        ``trigger`` "internal": one trigger at ``start``, then the detector's own rate; "position": a trigger for each
        image when the motor is at its place. Every image gets the motor position in the middle of its exposure.
        """
        request = LineRequest(start, stop, nb_images, expo_time, speed, latency_time, trigger)
        return sweep_scan(self, motor, request, counters, save, run)  # type: ignore[arg-type]

    def raster(
        self,
        fast: Any,
        f_start: float,
        f_stop: float,
        f_images: int,
        slow: Any,
        s_start: float,
        s_stop: float,
        s_intervals: int,
        expo_time: float,
        *counters: Any,
        speed: float | None = None,
        trigger: SweepTrigger = "internal",
        latency_time: float | None = None,
        backnforth: bool = False,
        save: bool = True,
        run: bool = True,
    ) -> Any:
        """Scan of ``s_intervals`` + 1 lines of ``f_images`` images each: ``fast`` is swept, ``slow`` goes line by line.

        One acquisition for all of it. ``backnforth``: every second line is swept the other way. The rest is as for
        `sweep`; every image gets the positions of both motors.
        """
        line = LineRequest(f_start, f_stop, f_images, expo_time, speed, latency_time, trigger)
        places = (s_start, s_stop, s_intervals)
        return raster_scan(self, fast, slow, line, *places, counters, backnforth, save, run)  # type: ignore[arg-type]
