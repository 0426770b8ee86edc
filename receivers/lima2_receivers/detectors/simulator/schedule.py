"""What a receiver knows of the exposures of one acquisition, and the waiting for them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from lima2_bliss.contract import AcquisitionError
from lima2_receivers.detectors.simulator.messages import EndMessage, LeaseMessage, Message, TrainMessage
from lima2_receivers.detectors.simulator.timing import Train

log = logging.getLogger(__name__)

MAX_TRAINS = 100_000


class Schedule:
    """Exposures of acquisition ``uuid`` as the control told them. Written by the listener, waited on by the source."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self._changed = threading.Condition()
        self._trains: deque[Train] = deque()
        self._lease_ns = 0
        self._total: int | None = None
        self._heard_s = time.monotonic()
        self._stop_at_s: float | None = None
        self._overflow = False

    def apply(self, message: Message) -> None:
        """Take in what the control said."""
        with self._changed:
            self._heard_s = time.monotonic()
            match message:
                case TrainMessage(train=train):
                    if len(self._trains) >= MAX_TRAINS:
                        self._overflow = True
                    else:
                        self._trains.append(train)
                case LeaseMessage(until_ns=until_ns):
                    self._lease_ns = max(self._lease_ns, until_ns)
                case EndMessage(total=total):
                    self._total = total if self._total is None else min(total, self._total)
            self._changed.notify_all()

    def stop(self, grace_s: float) -> None:
        """Give up on the rest in ``grace_s``; until then the control may still say where the cut is."""
        with self._changed:
            if self._stop_at_s is None:
                self._stop_at_s = time.monotonic() + grace_s
            self._changed.notify_all()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stop_at_s is not None

    @property
    def given_up(self) -> bool:
        """True when the grace after `stop` is over."""
        return self._stop_at_s is not None and time.monotonic() >= self._stop_at_s

    def _end_ns(self, index: int) -> int | None:
        while self._trains and self._trains[0].stop <= index:
            self._trains.popleft()
        if not self._trains or self._trains[0].first > index:
            return None
        return self._trains[0].end_ns(index)

    def wait_exposed(self, index: int, control_timeout_s: float) -> bool:
        """Wait until global frame ``index`` has been exposed; False when it never will be.

        Indices must be asked in rising order. `AcquisitionError` when the control is silent for ``control_timeout_s``
        although there is something to wait for.
        """
        alarmed = False
        with self._changed:
            while True:
                now_s = time.monotonic()
                if self._overflow:
                    raise AcquisitionError(
                        f"more than {MAX_TRAINS} triggers wait for this receiver; trigger more slowly"
                    )
                if self._total is not None and index >= self._total:
                    return False
                end_ns = self._end_ns(index)
                certain = end_ns is not None and (self._total is not None or end_ns <= self._lease_ns)
                wait_s = (end_ns - time.time_ns()) / 1e9 if certain and end_ns is not None else float("inf")
                if wait_s <= 0:
                    return True
                if self._stop_at_s is not None:
                    if now_s >= self._stop_at_s:
                        if self._total is None:
                            log.warning("stopped at frame %d: the control did not say where the cut is", index)
                        return self._total is not None
                    wait_s = min(wait_s, self._stop_at_s - now_s)
                if self._total is None:
                    silent_s = now_s - self._heard_s
                    if silent_s < control_timeout_s:
                        alarmed = False
                        wait_s = min(wait_s, control_timeout_s - silent_s)
                    elif not alarmed:  # this process may have been held up; let the listener catch up
                        alarmed = True
                        wait_s = min(wait_s, 0.2)
                    else:
                        raise AcquisitionError(
                            f"the detector's control has been silent for {silent_s:.1f} s while frame {index} was "
                            "awaited; check that its process runs, then prepare again"
                        )
                self._changed.wait(max(wait_s, 0.0) if wait_s < 3600 else 3600)

    def begin(self) -> None:
        """The receiver starts to wait: the control's silence counts from here on."""
        with self._changed:
            self._heard_s = time.monotonic()

    def pause(self, delay_s: float) -> None:
        """Wait ``delay_s``, less when the grace after `stop` ends earlier."""
        deadline_s = time.monotonic() + delay_s
        with self._changed:
            while (left_s := min(deadline_s, self._stop_at_s or deadline_s) - time.monotonic()) > 0:
                self._changed.wait(left_s)
