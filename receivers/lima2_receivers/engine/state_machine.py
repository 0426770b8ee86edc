"""States of control and receiver: which command is allowed when, and where it leads."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping

from lima2_bliss.contract import AcqState, StateError

logger = logging.getLogger(__name__)

#: event -> {state where it is allowed: state after it}. Events with a capital are commands that clients send.
Table = Mapping[str, Mapping[AcqState, AcqState]]

_USABLE = (AcqState.IDLE, AcqState.PREPARED, AcqState.RUNNING, AcqState.STOPPED, AcqState.FAULT)

#: A receiver never shows STOPPED: clients count it as done only when it is seen going to IDLE, FAULT or away.
RECEIVER_TABLE: Table = {
    "Prepare": {AcqState.IDLE: AcqState.PREPARED, AcqState.PREPARED: AcqState.PREPARED},
    "Start": {AcqState.PREPARED: AcqState.RUNNING},
    "Stop": {
        AcqState.IDLE: AcqState.IDLE,
        AcqState.PREPARED: AcqState.IDLE,
        AcqState.RUNNING: AcqState.RUNNING,  # until the source has ended at the cut: event "done"
        AcqState.FAULT: AcqState.FAULT,
    },
    "Reset": dict.fromkeys(_USABLE, AcqState.IDLE),
    "done": {AcqState.RUNNING: AcqState.IDLE},
    "unprepare": {AcqState.IDLE: AcqState.IDLE, AcqState.PREPARED: AcqState.IDLE},
    "fail": dict.fromkeys(_USABLE, AcqState.FAULT),
    "terminate": dict.fromkeys((*_USABLE, AcqState.TERMINATE), AcqState.TERMINATE),
}

#: Control stays RUNNING when all frames are exposed; `Close` ends the acquisition.
CONTROL_TABLE: Table = {
    "Prepare": {AcqState.IDLE: AcqState.PREPARED, AcqState.PREPARED: AcqState.PREPARED},
    "Start": {AcqState.PREPARED: AcqState.RUNNING},
    "Trigger": {AcqState.RUNNING: AcqState.RUNNING},
    "Stop": {
        AcqState.IDLE: AcqState.IDLE,
        AcqState.PREPARED: AcqState.IDLE,
        AcqState.RUNNING: AcqState.STOPPED,
        AcqState.STOPPED: AcqState.STOPPED,
        AcqState.FAULT: AcqState.FAULT,
    },
    "Close": {AcqState.IDLE: AcqState.IDLE, AcqState.RUNNING: AcqState.IDLE, AcqState.STOPPED: AcqState.IDLE},
    "Reset": dict.fromkeys(_USABLE, AcqState.IDLE),
    "unprepare": {AcqState.IDLE: AcqState.IDLE, AcqState.PREPARED: AcqState.IDLE},
    "fail": dict.fromkeys(_USABLE, AcqState.FAULT),
    "terminate": dict.fromkeys((*_USABLE, AcqState.TERMINATE), AcqState.TERMINATE),
}


class StateMachine:
    """A state that only changes along its table, and tells its subscribers of every change, in order."""

    def __init__(self, table: Table, owner: str) -> None:
        self._table = table
        self._owner = owner
        self._state = AcqState.IDLE
        self._revision = 0
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[AcqState], None]] = []
        self._changes: deque[AcqState] = deque()
        self._telling = False

    @property
    def state(self) -> AcqState:
        return self._state

    @property
    def revision(self) -> int:
        """Number of changes of state so far."""
        return self._revision

    def allows(self, event: str) -> bool:
        """True when ``event`` is possible now."""
        return self._state in self._table[event]

    def require(self, event: str) -> None:
        """`StateError` naming the state and what is allowed in it, unless ``event`` is possible now."""
        state = self._state
        if state in self._table[event]:
            return
        allowed = [name for name, states in self._table.items() if name[0].isupper() and state in states]
        needed = ", ".join(state.name for state in self._table[event])
        raise StateError(
            f"{self._owner} is {state.name}: {event} is not allowed (it needs {needed}); "
            f"allowed now: {', '.join(allowed) or 'nothing, the process ends'}",
            state=state.name,
        )

    def fire(self, event: str, when: tuple[AcqState, ...] | None = None) -> AcqState:
        """Go where ``event`` leads, and return the state from which. `StateError` when it is not allowed.

        With ``when``, nothing happens in a state that is not among them (nor an error).
        """
        with self._lock:
            before = self._state
            if when is not None and before not in when:
                return before
            self.require(event)
            after = self._table[event][before]
            if after is not before:
                self._state = after
                self._revision += 1
                self._changes.append(after)
        self._tell()
        return before

    def subscribe(self, callback: Callable[[AcqState], None]) -> Callable[[], None]:
        """Call ``callback`` with each new state, from the thread that changes it; returns the unsubscribe function."""
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def _tell(self) -> None:
        """Tell changes one by one; a thread that finds another one telling leaves its change to that one."""
        while True:
            with self._lock:
                if self._telling or not self._changes:
                    return
                self._telling = True
                state = self._changes.popleft()
                subscribers = tuple(self._subscribers)
            for callback in subscribers:
                try:
                    callback(state)
                except Exception:
                    logger.exception("%s: a state subscriber failed", self._owner)
            with self._lock:
                self._telling = False
