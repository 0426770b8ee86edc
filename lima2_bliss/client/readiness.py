"""Waiting for devices that need a moment for what they are asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from lima2_bliss.contract import NotReadyError

logger = logging.getLogger(__name__)

#: How long a device may need to get ready, such as for reading a calibration [s].
READY_S = 60.0

Answer = TypeVar("Answer")


def when_ready(call: Callable[[], Answer], patience_s: float = READY_S, period_s: float = 0.2) -> Answer:
    """What ``call`` gives, tried again while a device says `NotReadyError`; raised after ``patience_s``."""
    told = False
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except NotReadyError as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                logger.info("%s", error)
                told = True
        time.sleep(period_s)  # under gevent this is gevent's
