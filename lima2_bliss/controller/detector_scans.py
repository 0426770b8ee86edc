"""Scans that a detector offers itself, in which it or what triggers it sets the pace."""

from __future__ import annotations

from typing import Any

from lima2_bliss.controller.continuous_scan import TakeRequest, continuous_scan


class DetectorScans:
    """`take` of a detector object."""

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
