"""One Tango device as the client sees it: errors come back as errors of the contract, whatever their way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import tango

from lima2_bliss.client.concurrency import Outcome, Value, apart, concurrently, native_lock
from lima2_bliss.contract import TANGO_REASON, ConnectionLostError, DeviceTimeoutError, Lima2Error, error_from_json

DEFAULT_TIMEOUT_S = 5.0

ProxyFactory = Callable[[str], Any]

_NOT_DEFINED = {"DB_DeviceNotDefined", "API_DeviceNotDefined"}
_NOT_EXPORTED = {"API_DeviceNotExported", "DB_DeviceNotExported"}
_NO_DATABASE = {"API_CantConnectToDatabase", "API_DatabaseConnection", "API_TangoHostNotSet", "API_DatabaseAccess"}
_UNREACHABLE = {
    "API_CantConnectToDevice",
    "API_CorbaException",
    "API_CommunicationFailed",
    "API_CantStoreDeviceClass",
    "API_ServerNotRunning",
}
_TIMED_OUT = {"API_DeviceTimedOut", "API_CommandTimedOut"}


def plain_proxy(name: str) -> Any:
    """A proxy that blocks its thread, whatever green mode the process has chosen."""
    return tango.DeviceProxy(name, green_mode=tango.GreenMode.Synchronous)


def contract_error(device: str, failure: tango.DevFailed) -> Lima2Error:
    """The error of the contract that a Tango failure stands for, found at any depth of its stack."""
    for entry in failure.args:
        if entry.reason == TANGO_REASON:
            error = error_from_json(entry.desc)
            error.errinfo.setdefault("device", device)
            return error
    reasons = {entry.reason for entry in failure.args}
    first = failure.args[0].desc.strip().splitlines()[0] if failure.args and failure.args[0].desc.strip() else "?"
    host = os.environ.get("TANGO_HOST", "(TANGO_HOST is not set)")
    if reasons & _TIMED_OUT or any("CallTimedout" in entry.desc for entry in failure.args):
        return DeviceTimeoutError(
            f"{device} did not answer in time; its host may be overloaded, see its log", device=device
        )
    if reasons & _NOT_DEFINED:
        return ConnectionLostError(f"{device} is not in the Tango database {host}; check its name", device=device)
    if reasons & _NOT_EXPORTED:
        return ConnectionLostError(f"{device} is not running; start its server", device=device)
    if reasons & _NO_DATABASE:
        return ConnectionLostError(f"{device}: the Tango database {host} does not answer; start it", device=device)
    if reasons & _UNREACHABLE:
        return ConnectionLostError(
            f"{device} does not answer: its process has ended or its host is unreachable; start its server again",
            device=device,
        )
    return Lima2Error(f"{device}: {first}", device=device, reason=failure.args[0].reason if failure.args else "")


class DeviceLink:
    """A Tango device by name. Every method may block for ``timeout_s``; under gevent other greenlets go on."""

    def __init__(self, name: str, timeout_s: float = DEFAULT_TIMEOUT_S, proxy: ProxyFactory | None = None) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._make = proxy or plain_proxy
        self._proxy: Any = None
        self._lock = native_lock()

    def read(self, *attributes: str) -> list[Any]:
        """Values of the attributes, in one round trip."""
        return apart(lambda: self.read_here(*attributes))

    def write(self, values: Mapping[str, Any]) -> None:
        """Write several attributes, one after another; see `write_here`."""
        apart(lambda: self.write_here(values))

    def call(self, command: str, argument: Any = None) -> Any:
        """Run a command."""
        return apart(lambda: self.call_here(command, argument))

    # The same in the calling thread, for use inside `concurrently` and `start`.

    def read_here(self, *attributes: str) -> list[Any]:
        replies: Sequence[Any] = self._ask(lambda proxy: proxy.read_attributes(list(attributes)))
        return [self._value(reply) for reply in replies]

    def _value(self, reply: Any) -> Any:
        if reply.has_failed:
            raise contract_error(self.name, tango.DevFailed(*reply.get_err_stack()))
        if reply.data_format == tango.AttrDataFormat.SPECTRUM:
            return [] if reply.value is None else list(reply.value)
        return reply.value

    def write_here(self, values: Mapping[str, Any]) -> None:
        """Write attributes in the order given; all are tried, and one error holds the texts of all refusals."""
        refused: list[Lima2Error] = []
        for attribute, value in values.items():
            try:
                self._ask(partial(_write_attribute, attribute, value))
            except (ConnectionLostError, DeviceTimeoutError):
                raise
            except Lima2Error as error:
                refused.append(error)
        if len(refused) > 1:
            texts = dict.fromkeys(error.what for error in refused)
            raise type(refused[0])("\n".join(texts), device=self.name)
        if refused:
            raise refused[0]

    def call_here(self, command: str, argument: Any = None) -> Any:
        if argument is None:
            return self._ask(lambda proxy: proxy.command_inout(command))
        return self._ask(lambda proxy: proxy.command_inout(command, argument))

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        try:
            return ask(self._connected())
        except tango.DevFailed as failure:
            error = contract_error(self.name, failure)
        if isinstance(error, ConnectionLostError):
            self.forget()
        raise error

    def forget(self) -> None:
        """Connect anew at the next call (a proxy would refuse to try again within a second)."""
        with self._lock:
            self._proxy = None

    def _connected(self) -> Any:
        with self._lock:
            if self._proxy is None:
                proxy = self._make(self.name)
                proxy.ping()  # setting the time-out would hide why there is no connection
                proxy.set_timeout_millis(int(self.timeout_s * 1000))
                self._proxy = proxy
            return self._proxy


def on_each(devices: Iterable[DeviceLink], ask: Callable[[DeviceLink], Value]) -> dict[str, Outcome[Value]]:
    """Ask all devices at once (``ask`` uses the ``_here`` methods); the outcome of each by name."""
    return concurrently({device.name: partial(ask, device) for device in devices})


def _write_attribute(attribute: str, value: Any, proxy: Any) -> None:
    try:
        proxy.write_attribute(attribute, value)
    except TypeError:  # an attribute of a device that has just gone has no type: its true error
        proxy.ping()
        raise
