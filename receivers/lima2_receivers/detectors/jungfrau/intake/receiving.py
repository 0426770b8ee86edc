"""The intake of one acquisition: a listener thread per UDP port, and the frames they make, in order."""

from __future__ import annotations

import os
import threading
import time
from typing import Self

import numpy as np

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, StateError
from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig
from lima2_receivers.detectors.jungfrau.intake.coordinator import Coordinator
from lima2_receivers.detectors.jungfrau.intake.counts import Counts, PacketCounts, PortProgress, describe_stranger
from lima2_receivers.detectors.jungfrau.intake.frames import Target
from lima2_receivers.detectors.jungfrau.intake.learning import learn_first
from lima2_receivers.detectors.jungfrau.intake.listening import listen
from lima2_receivers.detectors.jungfrau.intake.sockets import close_sockets, granted_buffer, kernel_drops, open_sockets
from lima2_receivers.detectors.jungfrau.intake.state import (
    EMPTY_NS,
    END,
    FIRST,
    FOREIGN,
    HIGHEST,
    LAST_NS,
    LATE,
    MALFORMED,
    NO_END,
    PLACED,
    STOP,
    WANTED,
    make_own,
    make_shared,
    port_offset,
)
from lima2_receivers.detectors.jungfrau.intake.survey import wait_wake
from lima2_receivers.detectors.jungfrau.intake.system_calls import POLLFD, POLLIN
from lima2_receivers.detectors.jungfrau.intake.threads import check_pinning, cpu_of, pin_this_thread
from lima2_receivers.detectors.jungfrau.intake.warming import warm_up_intake

#: Longest sleep of the coordinator between two looks [ms]; shorter while it waits for a buffer.
WAIT_MS, STARVED_WAIT_MS = 5, 1

#: How much longer than the grace `Intake.close` waits for `Intake.run` [s].
CLOSE_WAIT_S = 2.0


class Intake:
    """From datagrams to frames in the places of a `Target`. Sockets are open, and packets kept by the kernel, at once.

    Errors of the constructor: `PortTakenError`, `ParameterError`. ``warnings``: texts for the user, e.g. that socket
    buffers are smaller than asked. One intake serves one acquisition: `run` once, `stop` from any thread, `close`.
    """

    def __init__(self, config: IntakeConfig) -> None:
        self.config = config
        check_pinning(config.listeners)
        warm_up_intake()
        self._shared = make_shared(config)
        self._owns = [make_own(config, port) for port in range(len(config.ports))]
        self._stop_ns = 0
        self._stop_frames: int | None = None
        self._deadline_ns = NO_END
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._life = threading.Lock()  # guards the two next, and the eventfd against a close
        self._began = self._closed = False
        self._ended = threading.Event()
        self._coordinator: Coordinator | None = None
        self._sockets, self.warnings = open_sockets(config)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._final: Counts | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """UDP ports listened on; of use when the configuration left the choice to the system (port 0)."""
        return tuple(each.getsockname()[1] for each in self._sockets)

    @property
    def socket_buffers(self) -> tuple[int, ...]:
        """Size of the socket buffers as granted [bytes]."""
        return tuple(granted_buffer(each) for each in self._sockets)

    def run(self, target: Target, frames: int | None = None, first_number: int | None = None) -> Counts:
        """Give frames to ``target`` until ``frames`` were given out (None: no end) or `stop`; blocking, once.

        ``first_number``: instead of that of the configuration, if it became known since. Errors: `AcquisitionError`
        when a socket fails, `ParameterError` when the first number cannot be learned, and what ``target`` raises.
        """
        first_number = self.config.first_number if first_number is None else first_number
        learns = self.config.learns(first_number)
        with self._life:
            if self._closed or self._began:
                raise StateError("an intake runs once; make a new one for each acquisition")
            self._began = True
        coordinator = Coordinator(self.config, self._shared, target, self._raise_failure)
        self._coordinator = coordinator
        control = self._shared.control
        if frames is not None:
            control[END] = frames
        try:
            if self._begin(learns, first_number):
                coordinator.open_places()  # before a packet asks for one
                self._start_listeners()
                self._coordinate(coordinator)
            self._end_listeners()
            self._raise_failure()
            coordinator.flush(self._stop_frames or 0)
        finally:
            self._end_listeners()
            coordinator.release()
            self._ended.set()
        return self.counts()

    def stop(self, frames: int | None = None, within_s: float | None = None) -> None:
        """End `run`, from any thread; a later call can only make it end sooner.

        ``frames``: how many frames this receiver has up to the cut; those still due are waited for until all ports
        have been silent `IntakeConfig.grace_s` after this call, then reported incomplete or lost, and later ones are
        thrown away. None: the cut is after the last frame seen, and it ends within the grace. ``within_s``: it ends
        in that time, whatever still comes.
        """
        now = time.monotonic_ns()
        if frames is not None:
            self._stop_frames = frames if self._stop_frames is None else min(frames, self._stop_frames)
        elif self._stop_frames is None:
            within_s = self.config.grace_s if within_s is None else within_s
        if within_s is not None:
            self._deadline_ns = min(self._deadline_ns, now + round(within_s * 1e9))
        self._stop_ns = self._stop_ns or now
        with self._life:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop, and give the ports back; harmless twice. `DeviceTimeoutError` when `run` does not return."""
        self.stop(within_s=self.config.grace_s)
        with self._life:
            if self._closed:
                return
            began, self._began = self._began, True  # no run begins any more
        if began and not self._ended.wait(self.config.grace_s + CLOSE_WAIT_S):
            raise DeviceTimeoutError("the intake still runs: what takes its frames has not returned; close it later")
        self._final = self.counts()
        with self._life:
            if not self._closed:
                self._closed = True
                close_sockets(self._sockets)
                os.close(self._wake)

    def counts(self) -> Counts:
        """What was counted so far; from any thread, also after `close`."""
        if self._final is not None:
            return self._final
        shared, given = self._shared, self._coordinator
        dropped = [kernel_drops(each) for each in self._sockets]
        counters, now = shared.counters.copy(), time.monotonic_ns()
        each_port = [PacketCounts.of(row, lost) for row, lost in zip(counters, dropped, strict=True)]
        last = shared.progress[:, LAST_NS].tolist()
        strangers = map(self.stranger, range(len(self.config.ports)))
        return Counts(
            packets=PacketCounts.of(counters.sum(axis=0), sum(dropped)),
            ports=tuple(each_port),
            complete=given.complete if given else 0,
            incomplete=given.incomplete if given else 0,
            lost=given.lost if given else 0,
            overrun=given.overrun if given else 0,
            missing=given.missing if given else 0,
            silence_s=tuple((now - at) / 1e9 if at else float("inf") for at in last),
            strangers=tuple(text for text in strangers if text),
        )

    def progress(self) -> tuple[PortProgress, ...]:
        """How far each port is; cheap, from any thread."""
        return tuple(
            PortProgress(
                reached=int(max(progress[HIGHEST], progress[WANTED])) + 1,
                placed=int(counters[PLACED]),
                late=int(counters[LATE]),
                strange=int(counters[FOREIGN].sum() + counters[MALFORMED]),
                waiting=bool(progress[WANTED] >= 0),
            )
            for progress, counters in zip(self._shared.progress, self._shared.counters, strict=True)
        )

    def stranger(self, port: int) -> str:
        """What the last foreign packet on port number ``port`` was; empty when there was none."""
        shared, config = self._shared, self.config
        return describe_stranger(shared.strangers[port], shared.counters[port], config.ports[port], config.packets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self, learns: bool, first_number: int | None) -> bool:
        """Know the number of this receiver's first frame; False when it was stopped before one came."""
        config = self.config
        first: int | None
        if learns:
            self._shared.control[FIRST] = -1
            first = learn_first(
                self._sockets, config, self._shared, self._owns, first_number, lambda: self._stop_ns > 0
            )  # fmt: skip
        else:
            first = (first_number or 0) + (config.phase or 0) * config.own_block
        if first is not None:
            self._shared.control[FIRST] = first
        return first is not None

    def _start_listeners(self) -> None:
        for port, each in enumerate(self._sockets):
            fd = each.fileno()
            self._owns[port].pollfd[0] = (fd, POLLIN, 0)
            name = f"jungfrau:{self.config.ports[port].port}"
            thread = threading.Thread(target=self._listen, args=(port, fd), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _listen(self, port: int, fd: int) -> None:
        settings = self.config.listeners
        try:
            pin_this_thread(cpu_of(settings, port), settings.priority)
            offset, gather_us = port_offset(self.config, port), round(settings.gather_s * 1e6)
            failed = listen(fd, self._wake, port, offset, gather_us, self._shared, self._owns[port])
            if failed:
                number = self.config.ports[port].port
                raise AcquisitionError(f"receiving on UDP port {number} failed: {os.strerror(failed)}", port=number)
        except BaseException as error:  # noqa: BLE001  raised again by run
            self._failures.append(error)

    def _end_listeners(self) -> None:
        self._shared.control[STOP] = 1
        for thread in self._threads:
            thread.join()

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _coordinate(self, coordinator: Coordinator) -> None:
        """Until the last frame was given out, or a stop has waited long enough."""
        pollfd, word = np.zeros(1, POLLFD), np.zeros(1, "u8")
        pollfd[0] = (self._wake, POLLIN, 0)
        control = self._shared.control
        while coordinator.given < control[END]:
            self._raise_failure()
            coordinator.open_places()
            busy = coordinator.give_out()
            if self._stop_ns:
                if self._stop_frames is not None and self._stop_frames < control[END]:
                    control[END] = max(self._stop_frames, coordinator.given)
                if self._stopped(busy):
                    return
            if not busy:
                wait_wake(pollfd, word, STARVED_WAIT_MS if coordinator.starved else WAIT_MS)

    def _stopped(self, busy: bool) -> bool:
        """Whether nothing more is to be waited for after a stop."""
        empty_ns = self._shared.progress[:, EMPTY_NS]
        if time.monotonic_ns() >= self._deadline_ns:
            return True
        grace_ns = 0 if self._stop_frames is None else round(self.config.grace_s * 1e9)
        return not busy and bool((empty_ns > self._stop_ns + grace_ns).all())
