"""The errors of the project: one root, leaves that are also builtins, and their form on the wire."""

from __future__ import annotations

import json
from typing import Any

#: Reason string of a Tango error that carries one of these errors (the word LImA2 clients look for).
TANGO_REASON = "LIMA_Exception"

#: Text of ``last_error`` when there is none.
NO_ERROR = "No error"


class Lima2Error(Exception):
    """Root of all errors raised by lima2-bliss; the message says what happened and what to do next.

    ``errinfo`` holds named details (receiver, path, uuid, ...) as short strings.
    """

    def __init__(self, what: str, **errinfo: object) -> None:
        super().__init__(what)
        self.what = what
        self.errinfo = {key: str(value) for key, value in errinfo.items()}

    def __str__(self) -> str:
        return self.what

    def to_json(self) -> str:
        """JSON text ``{"what", "errinfo"}`` as LImA2 clients decode it; the leaf's name is in ``errinfo.kind``."""
        return json.dumps({"what": self.what, "errinfo": {"kind": type(self).__name__, **self.errinfo}})


class ParameterError(Lima2Error, ValueError):
    """A parameter is unknown, out of range, or contradicts another one."""


class StateError(Lima2Error, RuntimeError):
    """The call is not allowed in the present state."""


class NotReadyError(StateError):
    """What is asked for takes a moment, and has begun: ask again."""


class NotAvailableError(Lima2Error, LookupError):
    """The asked frame, pipeline or result does not exist (not yet, no more, or never)."""


class NotYetAvailableError(NotAvailableError):
    """The asked frame or result will come, but is not there yet."""


class NoLongerAvailableError(NotAvailableError):
    """The asked frame or result was there, and its place has been used again."""


class DeviceTimeoutError(Lima2Error, TimeoutError):
    """A device or peer did not answer, or did not get there, in time."""


class ConnectionLostError(Lima2Error, ConnectionError):
    """A control, receiver, access or publisher process cannot be reached (not running, killed, network)."""


class SavingError(Lima2Error, OSError):
    """A file could not be written (disk full, no permission, directory gone, file exists)."""


class AcquisitionError(Lima2Error, RuntimeError):
    """The acquisition or its processing failed."""


class ProtocolError(Lima2Error, ValueError):
    """A peer sent something that is not the protocol."""


_LEAVES: dict[str, type[Lima2Error]] = {
    cls.__name__: cls
    for cls in (
        Lima2Error,
        ParameterError,
        StateError,
        NotReadyError,
        NotAvailableError,
        NotYetAvailableError,
        NoLongerAvailableError,
        DeviceTimeoutError,
        ConnectionLostError,
        SavingError,
        AcquisitionError,
        ProtocolError,
    )
}


def error_from_json(text: str, default: type[Lima2Error] = Lima2Error) -> Lima2Error:
    """The error that `Lima2Error.to_json` described; any other text becomes ``default`` with that text."""
    try:
        content: Any = json.loads(text)
        what = str(content["what"])
        errinfo = {str(key): str(value) for key, value in dict(content.get("errinfo", {})).items()}
    except (ValueError, TypeError, KeyError):
        return default(text)
    kind = _LEAVES.get(errinfo.pop("kind", ""), default)
    error = kind(what)
    error.errinfo = errinfo
    return error
