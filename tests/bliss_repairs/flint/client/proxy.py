"""What BLISS asks about a running Flint: there is none, and none can be started."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

FLINT_LOGGER = logging.getLogger("flint")
FLINT_OUTPUT_LOGGER = logging.getLogger("flint.output")


def check_flint(*_: Any, **__: Any) -> bool:
    """True when Flint runs."""
    return False


def get_flint(*_: Any, mandatory: bool = True, **__: Any) -> None:
    """None when Flint can be done without, else an error."""
    if mandatory:
        attach_flint()


def attach_flint(*_: Any, **__: Any) -> NoReturn:
    """Always an error."""
    raise RuntimeError("Flint is not installed in this environment")


def close_flint(*_: Any, **__: Any) -> None:
    """Nothing to close."""


def restart_flint(*_: Any, creation_allowed: bool = True, **__: Any) -> None:
    """Nothing to restart; an error when one would have to be started."""
    if creation_allowed:
        attach_flint()
