"""The publisher process: Tango device `LimaPublisher` over a `Publisher`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy.typing  # noqa: F401 - pytango reads type hints with it, but does not import it
import tango
from pydantic import Field
from tango.server import Device, attribute, command, device_property, run

from lima2_bliss.contract import TANGO_REASON, Lima2Error
from lima2_bliss.contract.parameters import Parameters, parse
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.publisher import Publisher

SERVER = "lima2_publisher"
#: No command takes longer than this.
MAX_WAIT_MS = 1500
#: Threads take turns this often: a row shall not wait 5 ms for the interpreter.
SWITCH_INTERVAL_S = 0.0005

_log = logging.getLogger(__name__)


class FinishRequest(Parameters):
    """End the publication of ``uuid`` when all its rows are written; ``saved`` frames are in its files (-1: unsaid)."""

    uuid: str = Field(min_length=1, max_length=64)
    saved: int = Field(-1, ge=-1)


class AbortRequest(Parameters):
    """End the publication of ``uuid`` now."""

    uuid: str = Field(min_length=1, max_length=64)
    why: str = Field("asked to", max_length=500)


class WaitRequest(Parameters):
    """Wait until ``rows`` frames of ``uuid`` are published, there is an error, or it changed after revision ``seen``.

    ``end``: wait for its end only. ``full``: with the points of each stream.
    """

    uuid: str = Field(min_length=1, max_length=64)
    rows: int = Field(0, ge=0)
    wait_ms: int = Field(0, ge=0, le=MAX_WAIT_MS)
    seen: int = -1
    end: bool = False
    full: bool = False


def _as_tango_error(error: Lima2Error, origin: str) -> tango.DevFailed:
    failure = tango.DevError()
    failure.reason, failure.desc, failure.origin = TANGO_REASON, error.to_json(), origin
    failure.severity = tango.ErrSeverity.ERR
    return tango.DevFailed(failure)


def _answered(function: Callable[[], Any], origin: str) -> Any:
    try:
        return function()
    except Lima2Error as error:
        raise _as_tango_error(error, origin) from error


class LimaPublisher(Device):
    """Writes the results of a detector's receivers into the blissdata streams of scans. Arguments are JSON."""

    receivers = device_property(dtype=(str,), default_value=[], doc="receiver devices in rank order")
    control = device_property(dtype=str, default_value="", doc="control device")

    publisher: Publisher

    def init_device(self) -> None:
        super().init_device()
        self.publisher = Publisher()
        self.set_state(tango.DevState.ON)

    def delete_device(self) -> None:
        """The process ends: nothing goes on in the background."""
        self.publisher.close()
        super().delete_device()

    @command(dtype_in=str, doc_in="PublishJob as JSON")
    def Begin(self, job: str) -> None:
        """Start to publish an acquisition."""
        _answered(lambda: self.publisher.begin(parse(PublishJob, job, "publish job")), "Begin")

    @command(dtype_in=str, doc_in='{"uuid", "saved"}')
    def Finish(self, request: str) -> None:
        """End a publication when all its rows are written; returns at once."""

        def finish() -> None:
            asked = parse(FinishRequest, request, "finish request")
            self.publisher.finish(asked.uuid, None if asked.saved < 0 else asked.saved)

        _answered(finish, "Finish")

    @command(dtype_in=str, doc_in='{"uuid", "why"}')
    def Abort(self, request: str) -> None:
        """End a publication now; returns at once."""

        def abort() -> None:
            asked = parse(AbortRequest, request, "abort request")
            self.publisher.abort(asked.uuid, asked.why)

        _answered(abort, "Abort")

    @command(dtype_in=str, doc_in='{"uuid", "rows", "wait_ms", "seen", "end", "full"}', dtype_out=str)
    def Wait(self, request: str) -> str:
        """PublicationStatus as JSON, as soon as what is waited for is there; at the latest after wait_ms."""

        def wait() -> str:
            asked = parse(WaitRequest, request, "wait request")
            publication = self.publisher.publication(asked.uuid)
            wait_s = asked.wait_ms / 1000
            status = publication.wait_end(wait_s) if asked.end else publication.wait(asked.rows, wait_s, asked.seen)
            return (publication.status() if asked.full else status).model_dump_json()

        return str(_answered(wait, "Wait"))

    @attribute(dtype=str, doc="PublicationStatus of each acquisition by uuid, as JSON")
    def publications(self) -> str:
        statuses = self.publisher.statuses()
        return json.dumps({uuid: status.model_dump() for uuid, status in statuses.items()})

    @attribute(dtype=str)
    def version(self) -> str:
        return version("lima2-bliss")

    @attribute(dtype=int)
    def pid(self) -> int:
        return os.getpid()


def _no_serialization() -> None:
    """Commands run side by side: one that waits must not keep the others waiting."""
    tango.Util.instance().set_serial_model(tango.SerialModel.NO_SYNC)


def main(arguments: list[str] | None = None) -> None:
    """``lima2-publisher INSTANCE``: the Tango server ``lima2_publisher/INSTANCE``."""
    logging.basicConfig(
        level=os.environ.get("LIMA2_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    run(
        (LimaPublisher,),
        args=[SERVER, *(sys.argv[1:] if arguments is None else arguments)],
        pre_init_callback=_no_serialization,
        raises=True,
    )


if __name__ == "__main__":
    main()
