"""Errors of the contract as Tango errors, in the form that LImA2 clients decode."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import tango

from lima2_bliss.contract import TANGO_REASON, Lima2Error

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def tango_error(error: Exception, origin: str) -> tango.DevFailed:
    """The Tango error with reason `TANGO_REASON` whose description is the error's JSON (ASCII only)."""
    if not isinstance(error, Lima2Error):
        error = Lima2Error(f"{origin}: {type(error).__name__}: {error}")
    described = tango.DevError()
    described.reason = TANGO_REASON
    described.desc = error.to_json()
    described.origin = origin
    described.severity = tango.ErrSeverity.ERR
    return tango.DevFailed(described)


def speaks_tango(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a command, an attribute method or an ``is_..._allowed`` hook raise errors of the contract.

    Clients of LImA2 see the text only of errors raised in attribute writes and hooks (two stacked Tango errors);
    from a command's body it arrives too, below a third one.
    """

    @functools.wraps(method)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except tango.DevFailed:
            raise
        except Lima2Error as error:
            raise tango_error(error, method.__qualname__) from error
        except Exception as error:
            logger.exception("%s failed", method.__qualname__)
            raise tango_error(error, method.__qualname__) from error

    # PyTango would take its types from annotations, also of wrapped functions; ours are for the reader.
    wrapped.__annotations__ = {}
    del wrapped.__wrapped__
    return wrapped


def beside_others(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a command run while other requests to its device are answered (the engine serialises what must be).

    Attributes stay under the device's monitor: Tango cannot have one attribute read by two clients at the same time.
    """

    @functools.wraps(method)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with tango.AutoTangoAllowThreads(args[0]):
            return method(*args, **kwargs)

    return wrapped


def json_text(value: Any) -> str:
    """The text a client wrote: Tango decodes strings as Latin-1, LImA2 clients send UTF-8."""
    text = value if isinstance(value, str) else bytes(value).decode("latin-1")
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
