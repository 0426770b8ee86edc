"""The speed of a motor for a while, without BLISS's line about each change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bliss.common.logtools import disable_print


@contextmanager
def at_speed(axis: Any, speed: float) -> Iterator[None]:
    """Within, the motor has this speed [user unit/s]; afterwards the one that it had."""
    before = axis.velocity
    with disable_print():
        axis.velocity = speed
    try:
        yield
    finally:
        with disable_print():
            axis.velocity = before
