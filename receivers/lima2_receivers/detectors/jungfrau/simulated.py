"""The simulated detector: the wire simulator, with the content and the timing that the parameters ask for."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lima2_bliss.contract import AcquisitionError, Lima2Error, ParameterError, StateError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.backend import Destination
from lima2_receivers.detectors.jungfrau.beam import BeamCache, wire_layout
from lima2_receivers.detectors.jungfrau.packets import FIRST_FRAME_NUMBER
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.triggering import Pulse, PulseTrain
from lima2_receivers.detectors.jungfrau.wire.report import Report
from lima2_receivers.detectors.jungfrau.wire.simulator import WireSimulator

log = logging.getLogger(__name__)

#: How long frames may take to be computed in `configure` [s]; commands have two seconds in all.
COMPUTING_S = 1.5


class SimulatedDetector:
    """Sends from this process. ``changed`` is called, from another thread, when all frames are sent."""

    name = "simulated"

    def __init__(self, changed: Callable[[], None] = lambda: None, serial: str = "SIM-JF-0001") -> None:
        self._changed = changed
        self._serial = serial
        self._beams = BeamCache()
        self._born_s = time.monotonic()
        self._next_number = FIRST_FRAME_NUMBER
        self._parameters = JungfrauParameters()
        self._wire: WireSimulator | None = None
        self._started = False
        self._pulses: PulseTrain | None = None
        self._triggering = threading.Lock()

    # --- acquisition --------------------------------------------------------------------------------------------

    def configure(self, parameters: JungfrauParameters, destinations: Sequence[Destination]) -> int:
        """Compute what the frames show, and get ready to send; `NotReadyError` when computing takes too long."""
        acq, det = parameters.acq, parameters.det
        try:
            self.stop()
        except Lima2Error as error:  # reported when it happened
            log.info("before: %s", error)
        content = self._beams.content(det, COMPUTING_S)
        wire = WireSimulator(
            wire_layout(det),
            destinations,
            content,
            faults=det.beam.faults,
            exposure_s=acq.expo_time * 1e-6,
            next_frame_number=self._next_number,
            on_end=self._changed,
        )
        if self._wire is not None:
            self._wire.close()
        self._wire, self._parameters, self._started = wire, parameters, False
        return self._next_number

    def start(self) -> None:
        """Send frames at their times, or wait for triggers."""
        acq = self._parameters.acq
        self._started = True
        self._prepared().start(
            acq.nb_frames,
            1e6 / (acq.expo_time + acq.latency_time),
            frames_per_trigger=0 if acq.trigger_mode == "internal" else acq.nb_frames_per_trigger,
            delay_s=acq.expo_time * 1e-6,
        )

    def trigger(self) -> None:
        """Expose the frames of one trigger."""
        with self._triggering:
            wire = self._prepared()
            if wire.frames_due:
                raise StateError(
                    f"the trigger comes too early: {wire.frames_due} frames of the one before are not exposed yet"
                )
            wire.trigger()

    def stop(self) -> int:
        """Send no more after the frame that is being sent."""
        if self._pulses is not None:
            self._pulses.stop()
        wire = self._wire
        if wire is None or not self._started:
            return 0
        frames = _checked(wire.stop).frames
        self._next_number = wire.next_frame_number
        return frames

    def poll(self) -> None:
        """Raise what went wrong in sending."""
        wire = self._wire
        if wire is not None and self._started and wire.ended:
            _checked(wire.wait)
            self._next_number = wire.next_frame_number

    @property
    def frames_exposed(self) -> int:
        """Frames that are sent."""
        return 0 if self._wire is None or not self._started else self._wire.frames_sent

    @property
    def finished(self) -> bool:
        """Whether all are sent."""
        return self._wire is not None and self._started and self._wire.ended

    # --- what it is ---------------------------------------------------------------------------------------------

    def info(self) -> dict[str, str]:
        """Model and serial number."""
        return {"model": "Jungfrau (simulated)", "sn": self._serial}

    def status(self) -> dict[str, Any]:
        """A temperature [degC] that warms up and drifts, and triggers that came too early."""
        minutes = (time.monotonic() - self._born_s) / 60
        return {
            "temperature": round(28.0 + 6.0 * (1 - math.exp(-minutes / 8)) + 0.2 * math.sin(minutes / 5), 3),
            "ignored_triggers": 0 if self._pulses is None else self._pulses.ignored,
        }

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """`pulse` {n, period_s}: pulses at the trigger input; those that come while frames are exposed are ignored."""
        return {"pulse": self._pulse}

    def _pulse(self, argument: Any) -> dict[str, int]:
        pulse = parse(Pulse, {} if argument is None else argument, "argument of pulse")
        mode = self._parameters.acq.trigger_mode
        if mode != "external" or not self._started or self.finished:
            raise StateError(
                "pulse while no acquisition waits for pulses; prepare one with acq.trigger_mode = 'external', and "
                f"start it (the mode is {mode!r})"
            )
        if self._pulses is not None:
            self._pulses.stop()
        self._pulses = PulseTrain(pulse, self.trigger)
        return {"pulses": pulse.n}

    def close(self) -> None:
        """End everything."""
        if self._pulses is not None:
            self._pulses.stop()
        if self._wire is not None:
            self._wire.close()
        self._beams.close()

    def _prepared(self) -> WireSimulator:
        if self._wire is None:
            raise ParameterError("the simulated detector is not configured; prepare an acquisition first")
        return self._wire


def _checked(call: Callable[[], Report]) -> Report:
    """What ``call`` gives; every error of sending is an `AcquisitionError`."""
    try:
        return call()
    except Lima2Error:
        raise
    except Exception as error:
        raise AcquisitionError(f"the simulated detector failed: {error or repr(error)}") from error
