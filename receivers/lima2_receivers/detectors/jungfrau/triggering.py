"""Pulses at the input of the simulated detector, at even times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pydantic import Field

from lima2_bliss.contract import StateError
from lima2_bliss.contract.parameters import Parameters


class Pulse(Parameters):
    """Argument of the command `pulse`: ``n`` pulses, every ``period_s``."""

    n: int = Field(1, ge=1, le=2**31 - 1, description="how many pulses come, the first one at once")
    period_s: float = Field(0.1, ge=1e-4, le=1000, description="time from one pulse to the next [s]")


class PulseTrain:
    """Calls ``trigger`` for each pulse, in a thread of its own; one that comes too early (`StateError`) is ignored."""

    def __init__(self, pulse: Pulse, trigger: Callable[[], None]) -> None:
        self.ignored = 0
        self._pulse, self._trigger = pulse, trigger
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jungfrau-pulses", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began_s = time.monotonic()
        for number in range(self._pulse.n):
            if self._ended.wait(max(began_s + number * self._pulse.period_s - time.monotonic(), 0.0)):
                return
            try:
                self._trigger()
            except StateError:
                self.ignored += 1

    @property
    def running(self) -> bool:
        """Whether pulses are to come."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """No more pulses; harmless twice."""
        self._ended.set()
        self._thread.join()
