"""Receivers that only note what the control says, and a detector that only notes what it is told."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from lima2_bliss.contract import AcquisitionError
from lima2_receivers.detectors.jungfrau.control import JungfrauControl
from lima2_receivers.detectors.jungfrau.messages import ENDPOINT, UDP_ENDPOINT, Message, decode
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.link import Listener
from lima2_receivers.engine.plugin import ControlContext


def new_uuid() -> str:
    """The name of an acquisition that there never was."""
    return str(uuid.uuid1())


def parameters(det: dict[str, Any] | None = None, **acq: Any) -> JungfrauParameters:
    """One module, frames every millisecond that need no computing."""
    timing = {"expo_time": 1000, "latency_time": 0}
    return JungfrauParameters.model_validate(
        {"acq": timing | acq, "det": {"beam": {"pattern": "documented"}} | (det or {})}
    )


class Words:
    """All that was said of an acquisition."""

    def __init__(self, uuid: str) -> None:
        self.messages: list[Message] = []
        self._changed = threading.Condition()

    def apply(self, message: Message) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait(self, op: str, count: int = 1, timeout_s: float = 5.0) -> list[Any]:
        """The messages of a kind, when there are so many."""
        with self._changed:
            found = self._changed.wait_for(lambda: len(self.of(op)) >= count, timeout_s)
        assert found, f"{len(self.of(op))} {op} messages after {timeout_s} s"
        return self.of(op)

    def of(self, op: str) -> list[Any]:
        """The messages of a kind so far."""
        return [message for message in list(self.messages) if message.op == op]


class FakeDetector:
    """A backend without a detector; frames are exposed by setting ``frames_exposed`` and ``finished``."""

    name = "fake"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.frames_exposed = 0
        self.finished = False
        self.error: Exception | None = None
        self.changed: Callable[[], None] = lambda: None

    def configure(self, parameters: JungfrauParameters, destinations: Sequence[Any]) -> int:
        self.calls.append(("configure", [list(entry) for entry in destinations]))
        self.frames_exposed, self.finished = 0, False
        return 100

    def start(self) -> None:
        self.calls.append(("start",))

    def trigger(self) -> None:
        self.calls.append(("trigger",))

    def stop(self) -> int:
        self.calls.append(("stop",))
        if self.error is not None:
            raise self.error
        return self.frames_exposed

    def poll(self) -> None:
        if self.error is not None:
            raise self.error

    def info(self) -> dict[str, str]:
        return {"model": "Fake", "sn": "0"}

    def status(self) -> dict[str, Any]:
        return {"temperature": 20.0}

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        return {}

    def close(self) -> None:
        self.calls.append(("close",))

    def fail(self) -> None:
        """From now on nothing works."""
        self.error = AcquisitionError("a module is in status ERROR")


class ControlRig:
    """A control with a `FakeDetector` and receivers that note what they hear."""

    def __init__(self, receivers: int = 1, period_s: float = 0.02, properties: Mapping[str, str] | None = None) -> None:
        self.listeners = [Listener("127.0.0.1", decode, Words) for _ in range(receivers)]
        self.endpoints: list[dict[str, str]] = [
            {ENDPOINT: listener.endpoint, UDP_ENDPOINT: f"10.9.0.{rank}:20032"}
            for rank, listener in enumerate(self.listeners)
        ]
        self.detector = FakeDetector()
        self.failures: list[BaseException] = []
        context = ControlContext("rig", properties or {}, lambda: self.endpoints, self.failures.append)
        self.control = JungfrauControl(context, self._backend, period_s)

    def _backend(self, properties: Mapping[str, str], changed: Callable[[], None]) -> FakeDetector:
        self.detector.changed = changed
        return self.detector

    def words(self, uuid: str, rank: int = 0) -> Words:
        """What a receiver hears of an acquisition."""
        return self.listeners[rank].record(uuid)

    def wait_failure(self, timeout_s: float = 5.0) -> BaseException:
        """The first error that the control reported."""
        deadline_s = time.monotonic() + timeout_s
        while not self.failures and time.monotonic() < deadline_s:
            threading.Event().wait(0.005)
        assert self.failures
        return self.failures[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        for listener in self.listeners:
            listener.close()
