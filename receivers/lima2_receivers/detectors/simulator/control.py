"""Control of the simulated detector: it decides when frames are exposed, and tells the receivers."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import Field

from lima2_bliss.contract import AcquisitionError, ParameterError, StateError, dtype_of
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters, parse
from lima2_receivers.detectors.link import Transmitter
from lima2_receivers.detectors.simulator.messages import EndMessage, LeaseMessage, TrainMessage
from lima2_receivers.detectors.simulator.params import MAX_EXPO_US, PIXEL_SIZE_M, SimulatorParameters, check
from lima2_receivers.detectors.simulator.poni import poni_text
from lima2_receivers.detectors.simulator.timing import ExposurePlan, Train
from lima2_receivers.engine.plugin import ControlContext

log = logging.getLogger(__name__)

#: Name of a source's address in `Source.endpoints`.
ENDPOINT = "head"


class Pulse(Parameters):
    """Argument of the command `pulse`: ``n`` pulses at the input, every ``period_s``, high for ``width_s``."""

    n: int = Field(1, ge=1, le=2**31 - 1)
    period_s: float = Field(0.1, ge=1e-6, le=1000)
    width_s: float = Field(0.0, ge=0, le=1000, description="0: half the period")


class InputLevel(Parameters):
    """Argument of the command `set_input`: 1 is high, 0 is low."""

    level: int = Field(ge=0, le=1)


class SimulatorControl:
    """The simulated detector. ``lease_s`` is how far ahead exposures become certain, renewed every ``renewal_s``."""

    def __init__(self, context: ControlContext, lease_s: float = 0.25, renewal_s: float = 0.05) -> None:
        self._context = context
        self._lease_s = lease_s
        self._renewal_s = renewal_s
        self._transmitter = Transmitter()
        self._changed = threading.Condition(threading.RLock())
        self._born_s = time.monotonic()
        self._parameters = SimulatorParameters()
        self._uuid = ""
        self._plan: ExposurePlan | None = None
        self._started = False
        self._lease_ns = 0
        self._cut: int | None = None
        self._level = False
        self._alive = False  # the lease has to be renewed
        self._closed = False
        self._mute = False  # some receiver does not take messages
        self._thread = threading.Thread(target=self._keep_alive, name="simulator-lease", daemon=True)
        self._thread.start()

    # --- what it is ---------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Model, pixel size [m], and the image size of the last parameters."""
        size = self._parameters.det.size
        return {
            "plugin": "Simulator",
            "model": "Simulator",
            "sn": str(self._context.properties.get("serial_number", "SIM-0001")),
            "pixel_size": {"x": PIXEL_SIZE_M, "y": PIXEL_SIZE_M},
            "dimensions": {"x": size.x, "y": size.y},
            "nexus": self._pixel_fields(),
        }

    def _pixel_fields(self) -> dict[str, Any]:
        """NXdetector fields that follow from the pixel type: a simulated pixel saturates when it is full."""
        dtype = dtype_of(self._parameters.det.generator.pixel_type)
        told: dict[str, Any] = {"bit_depth_readout": dtype.itemsize * 8}
        return told if dtype.kind == "f" else told | {"saturation_value": int(np.iinfo(dtype).max)}

    def status(self) -> dict[str, Any]:
        """State, temperature [degC] and humidity [%]: both drift smoothly with the time since start."""
        with self._changed:
            if self._plan is None:
                state = "idle"
            elif not self._started and self._cut is None:
                state = "armed"
            else:
                state = "idle" if self.finished else "exposing"
        minutes = (time.monotonic() - self._born_s) / 60
        return {
            "state": state,
            "temperature": round(22.0 + 1.5 * (1 - math.exp(-minutes / 10)) + 0.1 * math.sin(minutes / 3), 3),
            "humidity": round(35.0 + 2.0 * math.sin(minutes / 17), 3),
            "input": int(self._level),
        }

    def capabilities(self) -> dict[str, Any]:
        """Trigger modes and ranges; times in nanoseconds."""
        return {
            "trigger_modes": ["internal", "software", "external", "gate"],
            "expo_time_range": [1_000, MAX_EXPO_US * 1000 + 1],
            "latency_time_range": [0, MAX_EXPO_US * 1000 + 1],
            "nb_frames_per_trigger_range": [1, 2**31 - 1],
        }

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """`pulse` {n, period_s, width_s} and `set_input` {level}: the simulated trigger input.

        `poni` {det parameters; none: those of the last acquisition}: text of a PONI file for the diffraction generator.
        """
        return {"pulse": self._pulse, "set_input": self._set_input, "poni": self._poni}

    # --- acquisition --------------------------------------------------------------------------------------------

    def prepare(self, uuid: str, parameters: AcquisitionParameters) -> None:
        """Connect to the receivers and get ready for acquisition ``uuid``; one in progress is ended first."""
        checked = check(parameters).model_copy(deep=True)
        if uuid == self._uuid and (self._started or self._cut is not None):
            raise StateError(f"acquisition {uuid} is over on the detector; prepare with a new uuid")
        endpoints = []
        for rank, offered in enumerate(self._context.receivers()):
            if ENDPOINT not in offered:
                raise ParameterError(f"receiver {rank} is not one of a simulator: it has no endpoint {ENDPOINT!r}")
            endpoints.append(offered[ENDPOINT])
        if not endpoints:
            raise ParameterError("the detector has no receivers; name them in the control's property 'receivers'")
        with self._changed:
            if uuid != self._uuid:
                self._abandon()
            self._transmitter.connect(endpoints)
            self._parameters = checked
            self._plan = ExposurePlan(checked.acq)
            self._uuid = uuid
            self._started, self._cut, self._lease_ns, self._mute = False, None, 0, False
            self._transmitter.send(LeaseMessage(uuid=uuid, until_ns=0))
            self._alive = True
            self._changed.notify_all()

    def start(self) -> None:
        """Expose (internal trigger), or wait for triggers."""
        with self._changed:
            if self._plan is None or self._started or self._cut is not None:
                raise StateError("start without prepare; prepare an acquisition first")
            self._started = True
            self._announce(self._plan.start(time.time_ns()))
            self._renew_lease()
            self._changed.notify_all()

    def trigger(self) -> None:
        """Software trigger: exposes the frames of one trigger."""
        with self._changed:
            self._announce(self._running("software trigger").trigger(time.time_ns()))

    def stop(self) -> None:
        """Expose no more than what is certain already (at most a lease ahead): that is every receiver's cut."""
        with self._changed:
            self._end()

    def reset(self) -> None:
        """End any acquisition, and be idle."""
        with self._changed:
            self._abandon()
            self._plan = None

    def close(self) -> None:
        """End any acquisition and the process's part in it; harmless twice."""
        with self._changed:
            if self._closed:
                return
            self.reset()
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._transmitter.close()

    @property
    def nb_frames_acquired(self) -> int:
        """Frames exposed so far, whole system."""
        with self._changed:
            return 0 if self._plan is None else self._exposed(time.time_ns())

    @property
    def finished(self) -> bool:
        """True when all frames, or those up to the cut of a stop, have been exposed."""
        with self._changed:
            if self._plan is None:
                return False
            return self.nb_frames_acquired >= (self._plan.total if self._cut is None else self._cut)

    @property
    def cut(self) -> int | None:
        """Frames that a stop left to the acquisition; None while there was no stop."""
        return self._cut

    # --- inside -------------------------------------------------------------------------------------------------

    def _running(self, action: str) -> ExposurePlan:
        if self._plan is None or not self._started or self._cut is not None:
            raise StateError(f"{action} while no acquisition runs; prepare and start one")
        return self._plan

    def _exposed(self, now_ns: int) -> int:
        assert self._plan is not None
        exposed = self._plan.exposed(min(now_ns, self._lease_ns))
        return exposed if self._cut is None else min(exposed, self._cut)

    def _announce(self, train: Train | None) -> None:
        if train is not None:
            self._transmitter.send(TrainMessage(uuid=self._uuid, train=train))

    def _renew_lease(self) -> None:
        if self._started:
            self._lease_ns = max(self._lease_ns, time.time_ns() + int(self._lease_s * 1e9))
        self._transmitter.send(LeaseMessage(uuid=self._uuid, until_ns=self._lease_ns))

    def _end(self) -> None:
        """Say to the receivers where the acquisition ends, once."""
        if self._plan is None or self._cut is not None:
            return
        self._alive = False
        self._cut = self._plan.exposed(self._lease_ns) if self._started else 0
        self._transmitter.send(EndMessage(uuid=self._uuid, total=self._cut))

    def _abandon(self) -> None:
        """End it, also when a receiver is gone."""
        try:
            self._end()
        except AcquisitionError as error:
            log.warning("acquisition %s ended: %s", self._uuid, error)

    def _keep_alive(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._alive or self._closed)
                if self._closed:
                    return
                failure = self._say_alive()
            if failure is not None:
                self._context.fail(failure)
            with self._changed:
                if self._alive and not self._closed:
                    self._changed.wait(self._renewal_s if self._started else 10 * self._renewal_s)

    def _say_alive(self) -> AcquisitionError | None:
        """Renew the lease, or say the end when all is exposed; an error when that fails for the first time."""
        try:
            if self.finished:
                self._end()
            else:
                self._renew_lease()
        except AcquisitionError as error:
            first, self._mute = not self._mute, True
            return error if first else None
        return None

    def _pulse(self, argument: Any) -> dict[str, int]:
        pulse = parse(Pulse, _plain(argument), "argument of pulse")
        period_ns = int(pulse.period_s * 1e9)
        width_ns = int(pulse.width_s * 1e9) or period_ns // 2
        with self._changed:
            train, ignored = self._running("pulse").pulses(time.time_ns(), pulse.n, period_ns, width_ns)
            self._announce(train)
        return {"frames": 0 if train is None else train.count, "ignored": ignored}

    def _set_input(self, argument: Any) -> dict[str, int]:
        level = parse(InputLevel, _plain(argument), "argument of set_input").level
        with self._changed:
            changed, self._level = bool(level) != self._level, bool(level)
            if changed:
                self._announce(self._running("set_input").input_level(time.time_ns(), bool(level)))
        return {"level": level}

    def _poni(self, argument: Any) -> str:
        if argument is None:
            return poni_text(self._parameters)
        return poni_text(parse(SimulatorParameters, {"det": argument}, "argument of poni"))


def _plain(argument: Any) -> Any:
    return {} if argument is None else argument
