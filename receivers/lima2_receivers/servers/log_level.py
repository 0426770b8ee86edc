"""The ``log_level`` of a server: LImA2's labels over Python's logging."""

from __future__ import annotations

import logging
import sys
from enum import IntEnum


class LogLevel(IntEnum):
    """Labels as LImA2 clients know them; the order is that of the Tango enumeration."""

    trace = 0
    debug = 1
    info = 2
    warning = 3
    error = 4
    fatal = 5


_PYTHON_LEVELS = {
    LogLevel.trace: 5,
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warning: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.fatal: logging.CRITICAL,
}


def get_log_level() -> LogLevel:
    """The level of this process."""
    present = logging.getLogger().getEffectiveLevel()
    return max((level for level, number in _PYTHON_LEVELS.items() if number <= present), default=LogLevel.trace)


def set_log_level(level: LogLevel | int) -> None:
    """Change the level of this process."""
    logging.getLogger().setLevel(_PYTHON_LEVELS[LogLevel(level)])


def log_to_stderr(device: str) -> None:
    """Log with time, level and the device's name; chatty libraries only from warnings on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s.%(msecs)03d %(levelname)-7s {device.replace('%', '%%')} %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    for library in ("numba", "h5py", "matplotlib", "pyopencl"):
        logging.getLogger(library).setLevel(logging.WARNING)
