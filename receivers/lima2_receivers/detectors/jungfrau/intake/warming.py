"""Compiling the intake's kernels before packets come."""

from __future__ import annotations

import os
import time
from functools import cache

import numpy as np

from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig, PortConfig
from lima2_receivers.detectors.jungfrau.intake.listening import listen
from lima2_receivers.detectors.jungfrau.intake.placing import judge
from lima2_receivers.detectors.jungfrau.intake.state import FLOOR, NO_END, STOP, make_own, make_shared
from lima2_receivers.detectors.jungfrau.intake.survey import (
    all_acknowledged,
    fill_missing,
    furthest,
    note_evidence,
    survey,
    wait_acknowledged,
    wait_wake,
)
from lima2_receivers.detectors.jungfrau.intake.system_calls import POLLFD, POLLIN


@cache
def warm_up_intake() -> float:
    """Compile (or load) all that the intake runs, once per process; how long it took [s]."""
    began = time.perf_counter()
    config = IntakeConfig((PortConfig(0),), window=2)
    shared, mine = make_shared(config), make_own(config, 0)
    judge(mine.headers[0], mine.expected, config.packets)
    wake = os.eventfd(1, os.EFD_NONBLOCK)
    try:
        shared.control[STOP] = 1
        listen(-1, wake, 0, 0, 0, shared, mine)
        pollfd = np.zeros(1, POLLFD)
        pollfd[0] = (wake, POLLIN, 0)
        wait_wake(pollfd, np.zeros(1, "u8"), 0)
    finally:
        os.close(wake)
    evidence, waits, statuses = np.zeros(2, "i8"), np.zeros(3, "i8"), np.zeros(2, "i8")
    note_evidence(shared, evidence, -1, 0)
    survey(shared, evidence, -1, NO_END, waits, statuses)
    wait_acknowledged(shared, int(shared.control[FLOOR]), 0)
    furthest(shared)
    all_acknowledged(shared)
    fill_missing(np.zeros(0, "<u2"), np.zeros(2, "i8"), np.ones((2, 2, 2), "u1")[:, 0], 1, 0)
    return time.perf_counter() - began
