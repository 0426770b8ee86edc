"""How the count time of an image becomes exposures: their number, and how long each of them is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.scan_request import ScanRequest

if TYPE_CHECKING:
    from lima2_bliss.controller.parameters import DetectorState

#: Exposures that one image may have.
MAX_DEPTH = 1_000_000
_MAX_FRAMES = 2**31 - 1


@dataclass(frozen=True)
class Exposures:
    """``number`` exposures of one image, each ``exposure_us`` long and followed by a dead time of ``latency_us``."""

    number: int
    exposure_us: int
    latency_us: int
    #: The dead times are part of the count time.
    counts_dead_time: bool = False

    @property
    def live_s(self) -> float:
        """Time in which an image sees the beam [s]."""
        return self.number * self.exposure_us * 1e-6

    @property
    def real_s(self) -> float:
        """Time from one image to the next without a pause [s]."""
        return self.number * (self.exposure_us + self.latency_us) * 1e-6

    @property
    def span_s(self) -> float:
        """Time from the beginning of the first exposure of an image to the end of its last one [s]."""
        return self.real_s - self.latency_us * 1e-6


def exposures(state: DetectorState, request: ScanRequest) -> Exposures:
    """The exposures of each image of a scan; one `ParameterError` says what is impossible and what to change."""
    settings = state.processing
    latency_s = state.acquisition.latency_time if request.latency_time is None else request.latency_time
    accumulating = settings.accumulation > 1 or settings.max_exposure is not None
    if request.trigger == "gate":
        _check_gate(state)
    # real time: the dead time after each exposure belongs to the count time
    dead_s = latency_s if accumulating and settings.accumulation_time == "real" else 0.0
    number = settings.accumulation
    if settings.max_exposure is not None:
        number = max(1, math.ceil(request.expo_time / (settings.max_exposure + dead_s) - 1e-9))
    exposure_us = round((request.expo_time / number - dead_s) * 1e6)
    if exposure_us < 1:
        dead = f" and dead times of {latency_s:g} s" if dead_s else ""
        raise ParameterError(
            f"count time {request.expo_time:g} s over {number} exposures{dead} is below 1 us each; count longer"
            + (" or lower acquisition.latency_time" if dead_s else "")
            + (" or raise processing.max_exposure" if settings.max_exposure else " or lower processing.accumulation")
        )
    if number > MAX_DEPTH or request.nb_images * number > _MAX_FRAMES:
        raise ParameterError(
            f"{request.nb_images or 'endless'} images of {number} exposures each are too many (at most {MAX_DEPTH} per"
            f" image and {_MAX_FRAMES} in a scan); raise processing.max_exposure or count shorter"
        )
    return Exposures(number, exposure_us, round(latency_s * 1e6), dead_s > 0)


def _check_gate(state: DetectorState) -> None:
    settings = state.processing
    impossible = ["max_exposure"] if settings.max_exposure is not None else []
    if settings.accumulation > 1 and settings.accumulation_time == "real":
        impossible.append("accumulation_time = 'real'")
    if impossible:
        raise ParameterError(
            f"processing.{' and '.join(impossible)} cannot be used with trigger mode 'gate': each gate is one exposure"
            " as long as the signal; use processing.accumulation, gates summed into one image, or another trigger mode"
        )


def with_depth(state: DetectorState, request: ScanRequest) -> DetectorState:
    """The settings with the number of exposures that an image of this scan has as ``processing.accumulation``."""
    number = exposures(state, request).number
    return replace(state, processing=state.processing.model_copy(update={"accumulation": number}))
