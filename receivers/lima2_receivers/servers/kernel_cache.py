"""Kernels made ready before a receiver serves: one process of a host compiles, all others load from disk."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from lima2_receivers.kernels import warm_up
from lima2_receivers.kernels.smx import warm_up_smx

#: Raw pixel types for which the SMX kernels are made ready at start; those of others at their first prepare.
SMX_TYPES = ("u2", "u4")


def warm_up_in_turn() -> None:
    """Make the kernels ready. Processes that start together take turns, so that only the first one compiles."""
    lock = Path(tempfile.gettempdir()) / f"lima2-kernels-{os.getuid()}.lock"
    with lock.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        warm_up()
        for dtype in SMX_TYPES:
            warm_up_smx(dtype)
