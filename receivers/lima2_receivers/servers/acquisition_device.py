"""What control and receiver devices have in common: state, errors, version, log level."""

from __future__ import annotations

import logging
import os
import signal
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any, ClassVar

import tango
from tango.server import Device, attribute, command

from lima2_bliss.contract import NO_ERROR, AcqState
from lima2_bliss.contract.states import TANGO_STATES
from lima2_receivers.servers.log_level import LogLevel, get_log_level, set_log_level
from lima2_receivers.servers.shown_state import ShownState
from lima2_receivers.servers.tango_errors import beside_others, speaks_tango

logger = logging.getLogger(__name__)


def software_version() -> str:
    """Version of this package."""
    try:
        return package_version("lima2-bliss")
    except PackageNotFoundError:
        return "unknown"


class AcquisitionDevice(Device):
    """A Tango device over an engine that is made before the server starts and lives as long as the process."""

    #: Set by the server's ``main`` on the class that it makes.
    engine: ClassVar[Any]
    shown: ClassVar[ShownState]

    def init_device(self) -> None:
        """The Init command changes nothing: the engine goes on."""
        super().init_device()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.register_signal(number)

    def signal_handler(self, number: int) -> None:
        """The process is told to end: end the engine while Tango still works, then Tango ends the process."""
        logger.info("%s: ending", signal.Signals(number).name)
        try:
            self.end()
        except Exception:
            logger.exception("the end was not clean")

    def end(self) -> None:
        """Release what the device holds. Harmless twice."""

    def dev_state(self) -> tango.DevState:
        """The engine's state at this very moment."""
        return getattr(tango.DevState, TANGO_STATES.get(self.engine.state, "UNKNOWN"))

    def dev_status(self) -> str:
        error = self.engine.last_error
        return f"{self.engine.state.name}" + ("" if error is None else f": {error}")

    def looked(self) -> None:
        """A client looks how the acquisition is."""

    @attribute(dtype=AcqState, doc="state, held long enough for clients that poll; `State` is that of this moment")
    @speaks_tango
    def acq_state(self) -> AcqState:
        return self.shown.state

    @attribute(dtype=str, doc="JSON of the error that led to FAULT, or `No error`")
    @speaks_tango
    def last_error(self) -> str:
        self.looked()
        error = self.engine.last_error
        return NO_ERROR if error is None else error.to_json()

    @attribute(dtype=LogLevel, access=tango.AttrWriteType.READ_WRITE, doc="what goes to the process's log")
    @speaks_tango
    def log_level(self) -> LogLevel:
        return get_log_level()

    @log_level.write  # type: ignore[no-redef]
    @speaks_tango
    def log_level(self, level: int) -> None:
        set_log_level(level)

    @attribute(dtype="DevLong64", doc="process id")
    @speaks_tango
    def pid(self) -> int:
        return os.getpid()

    @attribute(dtype=str, doc="version of lima2-bliss in this process")
    @speaks_tango
    def software_version(self) -> str:
        return software_version()

    # Commands check whether they are allowed in a hook: its errors reach LImA2 clients in full.

    @speaks_tango
    def is_Prepare_allowed(self) -> bool:
        self.require_accepted()
        self.engine.require("Prepare")
        return True

    def require_accepted(self) -> None:
        """`ParameterError` when the parameters written last were refused."""

    @command(dtype_in=str, doc_in="uuid of the acquisition")
    @speaks_tango
    @beside_others
    def Prepare(self, uuid: str) -> None:
        self.prepare(uuid)

    def prepare(self, uuid: str) -> None:
        """Get ready for acquisition ``uuid``."""
        self.engine.prepare(uuid)

    @speaks_tango
    def is_Start_allowed(self) -> bool:
        self.engine.require("Start")
        return True

    @command
    @speaks_tango
    @beside_others
    def Start(self) -> None:
        self.engine.start()

    @command
    @speaks_tango
    @beside_others
    def Stop(self) -> None:
        self.engine.stop()

    @command
    @speaks_tango
    @beside_others
    def Reset(self) -> None:
        self.engine.reset()
