"""The control engine: the detector's life cycle behind one state machine, without Tango."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lima2_bliss.contract import (
    AcqState,
    Lima2Error,
    ParameterError,
)
from lima2_bliss.contract.parameters import AcquisitionParameters, parse
from lima2_receivers.engine.command_turn import CommandTurn
from lima2_receivers.engine.named_error import named_error
from lima2_receivers.engine.plugin import ControlContext, DetectorPlugin
from lima2_receivers.engine.state_machine import CONTROL_TABLE, StateMachine
from lima2_receivers.engine.watchdog import Watchdog

logger = logging.getLogger(__name__)

#: How long a command waits for the one before it.
COMMAND_TIMEOUT_S = 2.0


class ControlEngine:
    """Owns the detector: validates, prepares, starts, triggers, stops; commands come from any thread, one at a time."""

    def __init__(
        self,
        name: str,
        plugin: DetectorPlugin,
        context: ControlContext,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.uuid = ""
        self.last_error: Lima2Error | None = None
        self._machine = StateMachine(CONTROL_TABLE, f"control {name}")
        self._turn = CommandTurn(f"control {name}", self._machine, command_timeout_s)
        self._parameters: AcquisitionParameters | None = None
        self._watchdog: Watchdog | None = None
        self._detector = plugin.make_control(replace(context, fail=self.fail))

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> AcqState:
        return self._machine.state

    @property
    def state_revision(self) -> int:
        """Number of state changes so far."""
        return self._machine.revision

    def require(self, command: str) -> None:
        """`StateError` unless ``command`` (`Prepare`, `Start`, ...) is allowed now."""
        self._machine.require(command)

    def subscribe_state(self, callback: Callable[[AcqState], None]) -> Callable[[], None]:
        """Call ``callback`` with every new state; returns the unsubscribe function."""
        return self._machine.subscribe(callback)

    @property
    def nb_frames_acquired(self) -> int:
        """Frames exposed so far, whole system."""
        return self._detector.nb_frames_acquired

    @property
    def finished(self) -> bool:
        """True when all frames of the acquisition have been exposed, or it was stopped or closed."""
        return self.state is not AcqState.RUNNING or self._detector.finished

    @property
    def parameters(self) -> AcquisitionParameters | None:
        """The acquisition parameters accepted last."""
        return self._parameters

    def info(self) -> dict[str, Any]:
        """What the detector is; see `DetectorControl.info`."""
        return self._detector.info()

    def status(self) -> dict[str, Any]:
        """How the detector is: its `state` and values."""
        return self._detector.status()

    def capabilities(self) -> dict[str, Any]:
        """What the detector can do: trigger modes and ranges (times in ns)."""
        return self._detector.capabilities()

    # --- commands -----------------------------------------------------------------------------------------------

    def check_acquisition(self, json_text: str | bytes) -> AcquisitionParameters:
        """Validate and remember the acquisition parameters; one `ParameterError` names every fault."""
        parameters = parse(self.plugin.parameters, json_text, "acquisition parameters")
        check_capabilities(parameters, self._detector.capabilities())
        self._parameters = parameters
        return parameters

    def prepare(self, uuid: str) -> None:
        """Configure the detector for acquisition ``uuid`` with the parameters checked last."""
        with self._turn.of("Prepare"):
            if self._parameters is None:
                raise ParameterError(f"control {self.name}: write acq_params before Prepare")
            if not uuid:
                raise ParameterError(f"control {self.name}: Prepare needs the acquisition's uuid")
            try:
                self._detector.prepare(uuid, self._parameters)
            except Exception as error:
                self._machine.fire("unprepare")
                self.last_error = self._named("prepare", error)
                raise self.last_error from error
            self.uuid = uuid
            self.last_error = None
            self._machine.fire("Prepare")

    def start(self) -> None:
        """Start exposing, or wait for triggers."""
        with self._turn.of("Start"):
            self._machine.fire("Start")
            self._attempt("start", self._detector.start)
            self._watch()

    def trigger(self) -> None:
        """Software trigger; a trigger that comes too early is a `StateError` and changes nothing."""
        with self._turn.of("Trigger"):
            try:
                self._detector.trigger()
            except Lima2Error:
                raise
            except Exception as error:
                raise self._failed("trigger", error) from error

    def stop(self) -> None:
        """End the acquisition at a cut that is the same for all receivers; harmless when nothing runs."""
        with self._turn.of("Stop"):
            if self.state in (AcqState.RUNNING, AcqState.PREPARED):
                self._attempt("stop", self._detector.stop)
            self._unwatch()
            self._machine.fire("Stop")

    def close(self) -> None:
        """The acquisition is over: receivers and processing are done."""
        with self._turn.of("Close"):
            if self.state is AcqState.RUNNING and not self._detector.finished:
                self._attempt("stop", self._detector.stop)
            self._unwatch()
            self._machine.fire("Close")

    def reset(self) -> None:
        """Back to IDLE from anything."""
        with self._turn.of("Reset"):
            self._unwatch()
            self._attempt("reset", self._detector.reset)
            self.last_error = None
            self._machine.fire("Reset")

    def looked(self) -> None:
        """A client has looked how the acquisition is."""
        if (watchdog := self._watchdog) is not None:
            watchdog.pat()

    def command_names(self) -> list[str]:
        """Names of the detector's own commands."""
        return sorted(self._detector.commands())

    def command(self, name: str, argument: Any = None) -> Any:
        """Run one of the detector's own commands: JSON value in, JSON value out."""
        commands = self._detector.commands()
        if name not in commands:
            raise ParameterError(f"control {self.name} has no command {name!r}; it has: {', '.join(sorted(commands))}")
        with self._turn.wait_for(name):
            try:
                return commands[name](argument)
            except Lima2Error:
                raise
            except Exception as error:
                raise self._named(name, error) from error

    def fail(self, error: BaseException) -> None:
        """The detector reports an error outside of any command: FAULT until reset."""
        self.last_error = self._named("run", error)
        logger.error("%s", self.last_error)
        self._machine.fire("fail")

    def shutdown(self) -> None:
        """The process ends: stop what runs and release the detector."""
        with self._turn.wait_for("shutdown"):
            if self.state is AcqState.TERMINATE:
                return
            running = self.state is AcqState.RUNNING
            self._unwatch()
            self._machine.fire("terminate")
            try:
                if running:
                    self._detector.stop()
            finally:
                self._detector.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._unwatch()
        within_s = 0.0 if self._parameters is None else self._parameters.acq.watched_within
        if within_s > 0:
            self._watchdog = Watchdog(within_s, self._unwatched, self.name)

    def _unwatch(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.end()

    def _unwatched(self) -> None:
        if self.state is AcqState.RUNNING:
            logger.warning("control %s: nobody watches acquisition %s any more; it is stopped", self.name, self.uuid)
            self.stop()

    def _attempt(self, what: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            raise self._failed(what, error) from error

    def _failed(self, what: str, error: Exception) -> Lima2Error:
        self.last_error = self._named(what, error)
        self._machine.fire("fail")
        return self.last_error

    def _named(self, what: str, error: BaseException) -> Lima2Error:
        return named_error(error, f"control {self.name}", what, control=self.name)


def check_capabilities(parameters: AcquisitionParameters, capabilities: dict[str, Any]) -> None:
    """`ParameterError` naming every timing or trigger parameter that the detector cannot do."""
    acq = parameters.acq
    faults = []
    modes = capabilities.get("trigger_modes")
    if modes and acq.trigger_mode not in modes:
        faults.append(f"acq.trigger_mode = {acq.trigger_mode!r}; allowed: {', '.join(modes)}")
    for key, value_us in (("expo_time", acq.expo_time), ("latency_time", acq.latency_time)):
        bounds = capabilities.get(f"{key}_range")
        if bounds and not bounds[0] <= value_us * 1000 <= bounds[1]:
            faults.append(f"acq.{key} = {value_us} us; allowed: {bounds[0] / 1000:g} to {bounds[1] / 1000:g} us")
    bounds = capabilities.get("nb_frames_per_trigger_range")
    if bounds and not bounds[0] <= acq.nb_frames_per_trigger <= bounds[1]:
        faults.append(f"acq.nb_frames_per_trigger = {acq.nb_frames_per_trigger}; allowed: {bounds[0]} to {bounds[1]}")
    if faults:
        raise ParameterError("acquisition parameters refused: " + "; ".join(faults))
