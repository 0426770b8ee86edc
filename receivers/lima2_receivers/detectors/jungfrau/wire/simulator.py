"""A detector on the wire: it sends the datagrams of its modules, paced or flat out, with faults if asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from lima2_bliss.contract import DeviceTimeoutError, ParameterError, StateError
from lima2_receivers.detectors.jungfrau.packets import FIRST_FRAME_NUMBER
from lima2_receivers.detectors.jungfrau.wire.content import Content, pattern_content
from lima2_receivers.detectors.jungfrau.wire.datagrams import Exposure
from lima2_receivers.detectors.jungfrau.wire.faults import Faults
from lima2_receivers.detectors.jungfrau.wire.layout import Addresses, WireLayout, resolved
from lima2_receivers.detectors.jungfrau.wire.messages import MessageTable
from lima2_receivers.detectors.jungfrau.wire.pacing import Pace
from lima2_receivers.detectors.jungfrau.wire.report import Counter, Report
from lima2_receivers.detectors.jungfrau.wire.sender import Method, Sender
from lima2_receivers.detectors.jungfrau.wire.trains import TrainMaker

#: Ticks of the headers' clock in a second.
TICKS_PER_S = 10_000_000


class WireSimulator:
    """All modules of a detector, sending from one thread. Use it in ``with``, or close it.

    ``destinations[receiver][port]`` is (host, UDP port); consecutive frames go to consecutive receivers. ``content``
    is what the frames show; default: the pattern of PSI's virtual detector. ``max_behind_s``: how much delay is made up
    for by sending faster. Errors of sending are raised by `wait` and `stop`; ``on_end`` is called after the last frame,
    from the thread that sends.
    """

    def __init__(
        self,
        layout: WireLayout,
        destinations: Sequence[Addresses],
        content: Content | None = None,
        *,
        faults: Faults | None = None,
        method: Method = "auto",
        exposure_s: float = 10e-6,
        max_behind_s: float = 0.1,
        next_frame_number: int = FIRST_FRAME_NUMBER,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._content = content or pattern_content(layout)
        if self._content.pixels.shape[1] != layout.modules:
            raise ParameterError(
                f"the content has {self._content.pixels.shape[1]} modules, the detector {layout.modules}"
            )
        if not 0 <= exposure_s * TICKS_PER_S < 1 << 32:
            raise ParameterError(f"exposure_s = {exposure_s:g}: from 0 to 429 s")
        _check_number(next_frame_number)
        self._destinations = resolved(layout, destinations)
        self._faults = faults or Faults()
        self._exposure_s, self._max_behind_s = exposure_s, max_behind_s
        self._next = next_frame_number
        self._on_end = on_end
        self._delay_s = 0.0
        self._changed = threading.Condition()
        self._stopping = self._closed = False
        self._allowed: int | None = 0  # frames that triggers allow; None for all
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._index = 0
        self._new_trains()  # refuses faults that do not fit, before the socket is there
        self._sender = Sender((address for ports in self._destinations for address in ports), method)
        self._reset(0.0)

    def _new_trains(self, segments: int = 1) -> TrainMaker:
        return TrainMaker(self._layout, self._content, self._destinations, self._faults, segments, self._exposure_s)

    def _reset(self, period_s: float) -> None:
        self._counter = Counter(len(self._destinations), self._layout.modules, self._layout.interfaces)
        self._pace = Pace(period_s, self._max_behind_s)
        self._index, self._first = 0, self._next
        self._began_s = self._ended_s = 0.0

    # --- commands -----------------------------------------------------------------------------------------------

    def start(
        self,
        frames: int = 0,
        rate_hz: float = 0.0,
        *,
        frames_per_trigger: int = 0,
        first_destination: int = 0,
        first_frame_number: int | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Begin to send ``frames`` (0: until `stop`) at ``rate_hz`` (0: flat out); returns at once.

        With ``frames_per_trigger`` each `trigger` gives that many. The first frame is sent ``delay_s`` after the start,
        or after its trigger: the time of an exposure. It goes to receiver ``first_destination``. Frame numbers go on
        from the acquisition before, unless one is given.
        """
        if min(frames, rate_hz, frames_per_trigger, delay_s) < 0:
            raise ParameterError("frames, rate_hz, frames_per_trigger and delay_s must not be negative")
        if not 0 <= first_destination < len(self._destinations):
            raise ParameterError(
                f"first_destination = {first_destination}: there are {len(self._destinations)}, from 0"
            )
        if self._closed or self.running:
            raise StateError("the simulator is closed" if self._closed else "frames are being sent; stop first")
        if first_frame_number is not None:
            _check_number(first_frame_number)
            self._next = first_frame_number
        self._reset(1 / rate_hz if rate_hz else 0.0)
        self._frames_per_trigger = frames_per_trigger
        self._allowed = 0 if frames_per_trigger else None
        self._delay_s = delay_s
        self._stopping, self._error = False, None
        self._first_destination = first_destination
        self._trains = self._new_trains(self._sender.segments)
        self._thread = threading.Thread(target=self._run, args=(frames, rate_hz), name="jungfrau-wire", daemon=True)
        self._thread.start()

    def trigger(self) -> None:
        """Let the next ``frames_per_trigger`` frames go; `StateError` when nothing waits for a trigger."""
        with self._changed:
            if not self.running or self._allowed is None:
                raise StateError("no acquisition with triggers is running; start one with frames_per_trigger")
            self._allowed += self._frames_per_trigger
            self._changed.notify_all()

    def stop(self) -> Report:
        """End after the frame that is being sent; what was late is still sent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        return self.wait()

    def wait(self, timeout_s: float | None = None) -> Report:
        """The report of the acquisition when all its frames are sent; `DeviceTimeoutError` if that takes longer."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                raise DeviceTimeoutError(f"frames are still being sent after {timeout_s} s ({self._index} so far)")
        if self._error is not None:
            raise self._error
        return self.report()

    def wait_frames(self, frames: int, timeout_s: float) -> None:
        """Wait until so many frames of this acquisition are sent; `DeviceTimeoutError` if that takes longer."""
        with self._changed:
            self._changed.wait_for(lambda: self._index >= frames or bool(self._ended_s), timeout_s)
            if self._index < frames and self._error is None:
                raise DeviceTimeoutError(f"{self._index} frames are sent after {timeout_s:g} s, not {frames}")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop, and close the socket; harmless twice."""
        with self._changed:
            self._stopping = self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether frames are being sent or waited for."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def frames_sent(self) -> int:
        """Frames of this acquisition that are sent."""
        return self._index

    @property
    def ended(self) -> bool:
        """Whether the acquisition that was started is over; `wait` and `stop` tell how."""
        return bool(self._ended_s)

    @property
    def frames_due(self) -> int:
        """Frames that triggers gave and that are not sent yet."""
        return 0 if self._allowed is None else max(self._allowed - self._index, 0)

    @property
    def next_frame_number(self) -> int:
        """Number of the next frame."""
        return self._next

    def report(self) -> Report:
        """What was sent so far in this acquisition, or in all of it."""
        with self._changed:
            until = self._ended_s or time.monotonic()
            events, left_out = self._counter.events()
            return Report(
                frames=self._index,
                first_frame_number=self._first,
                duration_s=until - self._began_s if self._began_s else 0.0,
                slipped_s=self._pace.slipped_s,
                method=self._sender.method,
                ports=self._counter.counts(self._layout.packets),
                events=events,
                events_left_out=left_out,
            )

    # --- its thread ---------------------------------------------------------------------------------------------

    def _run(self, frames: int, rate_hz: float) -> None:
        try:
            while (not frames or self._index < frames) and self._turn():
                self._send(rate_hz)
            for table in self._rest():
                self._sender.send(table)
        except BaseException as error:  # noqa: BLE001 - it is raised by `wait` and `stop`
            self._error = error
        finally:
            with self._changed:
                self._ended_s = time.monotonic()
                self._changed.notify_all()
            self._on_end()

    def _rest(self) -> Iterator[MessageTable]:
        with self._changed:
            return iter(list(self._trains.rest(self._counter)))

    def _turn(self) -> bool:
        """Wait until the next frame is due; False when there is none."""
        with self._changed:
            while not self._stopping and self._allowed is not None and self._index >= self._allowed:
                self._changed.wait()
                self._pace.begin(time.monotonic() + self._delay_s)
            if not self._began_s:
                self._began_s = time.monotonic()
                self._pace.begin(self._began_s + self._delay_s)
            while not self._stopping and (wait_s := self._pace.wait_s(time.monotonic())) > 0:
                self._changed.wait(wait_s)
            return not self._stopping

    def _send(self, rate_hz: float) -> None:
        elapsed_s = time.monotonic() - self._began_s
        even = rate_hz and self._allowed is None
        ticks = round((self._index / rate_hz if even else elapsed_s) * TICKS_PER_S)
        receiver = (self._index + self._first_destination) % len(self._destinations)
        exposure = Exposure(self._index, self._next, receiver, ticks)
        with self._changed:
            table = self._trains.train(exposure, self._counter)
        self._sender.send(table)
        with self._changed:
            self._pace.sent()
            self._index += 1
            self._next += 1
            self._changed.notify_all()


def _check_number(number: int) -> None:
    if not 0 <= number < 1 << 62:
        raise ParameterError(f"frame number {number}: from 0 to 2**62 - 1")
