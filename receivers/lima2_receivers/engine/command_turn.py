"""One command at a time on a control or receiver, and only where its state allows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lima2_bliss.contract import DeviceTimeoutError
from lima2_receivers.engine.state_machine import StateMachine


class CommandTurn:
    """The turn of commands on the device that ``owner`` names; waiting for it is limited to ``timeout_s``."""

    def __init__(self, owner: str, machine: StateMachine, timeout_s: float) -> None:
        self._owner = owner
        self._machine = machine
        self._timeout_s = timeout_s
        self._taken = threading.RLock()

    @contextmanager
    def wait_for(self, command: str) -> Iterator[None]:
        """Run ``command`` when the one before has ended; `DeviceTimeoutError` when that takes too long."""
        if not self._taken.acquire(timeout=self._timeout_s):
            raise DeviceTimeoutError(
                f"{self._owner}: {command} waited {self._timeout_s:g} s for another command; try again"
            )
        try:
            yield
        finally:
            self._taken.release()

    @contextmanager
    def of(self, command: str) -> Iterator[None]:
        """As `wait_for`, and `StateError` when the state does not allow the command."""
        with self.wait_for(command):
            self._machine.require(command)
            yield
