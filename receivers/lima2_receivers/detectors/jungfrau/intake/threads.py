"""Cores and priority of the listeners' threads, and plain words when the host refuses them."""

from __future__ import annotations

import os
import threading

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.intake.config import ListenerSettings


def cpu_of(settings: ListenerSettings, port: int) -> int | None:
    """Core of the listener of port number ``port``; None leaves it to the system."""
    if not settings.cpus:
        return None
    return settings.cpus[port if len(settings.cpus) > 1 else 0]


def pin_this_thread(cpu: int | None, priority: int) -> None:
    """Run the calling thread on one core, and in real time (SCHED_FIFO) when ``priority`` is over 0."""
    if cpu is not None:
        try:
            os.sched_setaffinity(0, {cpu})
        except (OSError, ValueError) as error:
            allowed = sorted(os.sched_getaffinity(0))
            raise ParameterError(
                f"a listener cannot run on core {cpu}: this process may use cores {allowed}; correct listeners.cpus or "
                "the affinity (taskset, cpuset, container limits) that the receiver is started with"
            ) from error
    if priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except PermissionError as error:
            raise ParameterError(
                f"listeners cannot have real-time priority {priority}: it needs CAP_SYS_NICE or an rtprio limit "
                "(LimitRTPRIO= of a systemd unit, rtprio in /etc/security/limits.conf); or set listeners.priority to 0"
            ) from error


def check_pinning(settings: ListenerSettings) -> None:
    """Try all of it in a thread that is thrown away; `ParameterError` when the host refuses."""
    errors: list[BaseException] = []

    def attempt(cpu: int | None) -> None:
        try:
            pin_this_thread(cpu, settings.priority)
        except BaseException as error:  # noqa: BLE001  handed to the caller
            errors.append(error)

    for cpu in dict.fromkeys(settings.cpus or (None,)):
        thread = threading.Thread(target=attempt, args=(cpu,), name="pinning")
        thread.start()
        thread.join()
    if errors:
        raise errors[0]
