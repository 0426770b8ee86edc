"""States of a control or receiver, and what follows for the whole system."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class AcqState(IntEnum):
    """State of one control or receiver device, numbered as LImA2 clients expect."""

    IDLE = 0
    PREPARED = 1
    RUNNING = 2
    STOPPED = 3
    FAULT = 4
    TERMINATE = 5
    OFFLINE = 6  # client side only: the device does not answer


class SystemState(IntEnum):
    """State of a detector made of several devices."""

    IDLE = 0
    PREPARED = 1
    RUNNING = 2
    FAULT = 3
    DISCONNECTED = 4
    UNKNOWN = 5


def system_state(states: Iterable[AcqState]) -> SystemState:
    """The state of the whole, from those of control and receivers."""
    present = set(states)
    if not present or AcqState.OFFLINE in present:
        return SystemState.DISCONNECTED
    if present & {AcqState.FAULT, AcqState.TERMINATE}:
        return SystemState.FAULT
    if AcqState.RUNNING in present:
        return SystemState.RUNNING
    if present == {AcqState.PREPARED}:
        return SystemState.PREPARED
    if present <= {AcqState.IDLE, AcqState.STOPPED, AcqState.PREPARED}:
        return SystemState.IDLE
    return SystemState.UNKNOWN


#: Names of the Tango ``State`` that a control or receiver shows in each state: unlike ``acq_state`` it shows the state
#: of this very moment (``acq_state`` holds every state long enough for clients that poll).
TANGO_STATES: dict[AcqState, str] = {
    AcqState.IDLE: "ON",
    AcqState.PREPARED: "STANDBY",
    AcqState.RUNNING: "RUNNING",
    AcqState.STOPPED: "OFF",
    AcqState.FAULT: "FAULT",
    AcqState.TERMINATE: "CLOSE",
}


def state_from_tango(name: str) -> AcqState:
    """The state behind the name of a Tango ``State``; OFFLINE for any other."""
    return next((state for state, shown in TANGO_STATES.items() if shown == name), AcqState.OFFLINE)
