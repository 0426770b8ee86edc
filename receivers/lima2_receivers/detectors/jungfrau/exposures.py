"""What a receiver knows of one acquisition from the detector's control, and the waiting for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from lima2_bliss.contract import DeviceTimeoutError
from lima2_receivers.detectors.jungfrau.messages import BeginMessage, EndMessage, ExposedMessage, Message


@dataclass(frozen=True)
class Heard:
    """What was heard so far: the ``begin``, frames ``exposed`` of the whole system, and how many it has (``total``,
    None while that is open). ``at_s``: when something was heard last; ``stop_s``: when `Source.stop` came (monotonic).
    """

    begin: BeginMessage | None = None
    exposed: int = 0
    total: int | None = None
    at_s: float = 0.0
    stop_s: float | None = None


class Exposures:
    """The control's words about acquisition ``uuid``: written by the listener, waited on by source and watch."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self._changed = threading.Condition()
        self._heard = Heard(at_s=time.monotonic())
        self._news = 0

    @property
    def heard(self) -> Heard:
        """What was heard so far."""
        return self._heard

    def apply(self, message: Message) -> None:
        """Take in what the control said."""
        with self._changed:
            heard = replace(self._heard, at_s=time.monotonic())
            match message:
                case BeginMessage():
                    heard = replace(heard, begin=message)
                case ExposedMessage(count=count):
                    heard = replace(heard, exposed=max(count, heard.exposed))
                case EndMessage(total=total):
                    total = total if heard.total is None else min(total, heard.total)
                    heard = replace(heard, total=total, exposed=max(total, heard.exposed))
            self._tell(heard)

    def stop(self) -> None:
        """The receiver was asked to stop; the control will say where the cut is."""
        with self._changed:
            if self._heard.stop_s is None:
                self._tell(replace(self._heard, stop_s=time.monotonic()))

    def listen(self) -> None:
        """The receiver starts to wait: the control's silence counts from here on."""
        with self._changed:
            self._tell(replace(self._heard, at_s=time.monotonic()))

    def wake(self) -> None:
        """End a `wait_news`."""
        with self._changed:
            self._tell(self._heard)

    def _tell(self, heard: Heard) -> None:
        self._heard = heard
        self._news += 1
        self._changed.notify_all()

    def wait_news(self, since: int, timeout_s: float) -> int:
        """Wait until there is more news than ``since``; what to give next time."""
        with self._changed:
            self._changed.wait_for(lambda: self._news > since, timeout_s)
            return self._news

    def wait_begin(self, timeout_s: float, stop_grace_s: float) -> BeginMessage | None:
        """Wait for the ``begin``; None when the acquisition is over before it came.

        `DeviceTimeoutError` after ``timeout_s``; a stop is waited for no longer than ``stop_grace_s``.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while (heard := self._heard).begin is None:
                now_s = time.monotonic()
                if heard.total is not None:
                    return None
                if heard.stop_s is not None:
                    if now_s >= heard.stop_s + stop_grace_s:
                        return None
                    self._changed.wait(heard.stop_s + stop_grace_s - now_s)
                elif now_s >= deadline_s:
                    raise DeviceTimeoutError(
                        f"the detector's control has not said within {timeout_s:g} s how acquisition {self.uuid} "
                        "begins; check that its process runs, that it is prepared for this acquisition, and that its "
                        "property 'receivers' names this receiver, then prepare again"
                    )
                else:
                    self._changed.wait(deadline_s - now_s)
            return heard.begin
