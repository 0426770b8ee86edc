"""Which times between frames a Jungfrau can have."""

from __future__ import annotations

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.params import MIN_PERIOD_US, JungfrauParameters


def check_timing(parameters: JungfrauParameters) -> None:
    """`ParameterError` when frames would come too fast, or triggers are asked for where there are none."""
    acq = parameters.acq
    if parameters.det.wire == "external":
        if acq.trigger_mode != "internal":
            raise ParameterError(
                f"acq.trigger_mode = {acq.trigger_mode!r} with det.wire = 'external': the other program decides when "
                "frames come; take 'internal'"
            )
        return
    period_us = acq.expo_time + acq.latency_time
    alone = acq.nb_frames == 1 or (acq.trigger_mode != "internal" and acq.nb_frames_per_trigger == 1)
    if not alone and period_us < MIN_PERIOD_US:
        raise ParameterError(
            f"acq.expo_time + acq.latency_time = {period_us} us from frame to frame; a Jungfrau needs {MIN_PERIOD_US} "
            f"us at least: set acq.latency_time to {MIN_PERIOD_US - acq.expo_time} or more"
        )
