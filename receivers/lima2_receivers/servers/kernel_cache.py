"""Kernels made ready before a receiver serves: one process of a host compiles, all others load from disk."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from lima2_receivers.kernels import warm_up
from lima2_receivers.kernels.smx import warm_up_smx

#: Pixel types for which the SMX kernels are made ready at start; those of others at their first prepare.
SMX_TYPES = ("u2", "u4")

#: The same for images of a Jungfrau, as read or corrected; whatever output is chosen, prepare must not compile.
JUNGFRAU_TYPES = ("u2", "f4", "i4", "i2")


def warm_up_in_turn(detector: str) -> None:
    """Make the kernels ready for receivers of this detector plugin.

    Processes that start together take turns, so that only the first one compiles.
    """
    lock = Path(tempfile.gettempdir()) / f"lima2-kernels-{os.getuid()}.lock"
    with lock.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        warm_up()
        if detector == "jungfrau":
            _warm_up_jungfrau()
        for dtype in JUNGFRAU_TYPES if detector == "jungfrau" else SMX_TYPES:
            warm_up_smx(dtype)


def _warm_up_jungfrau() -> None:
    # receivers of other detectors neither need nor import these
    from lima2_receivers.detectors.jungfrau.intake import warm_up_intake
    from lima2_receivers.kernels.jungfrau import warm_up_jungfrau

    warm_up(JUNGFRAU_TYPES, dummies=True)
    warm_up_jungfrau(("float32", "int32", "int16", "uint16"))
    warm_up_intake()
