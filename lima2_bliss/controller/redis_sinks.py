"""BLISS's own streams over a connection to Redis that is cut or pauses: sent again, or given up; never a hang.

blissdata 1.1 gives each stream a connection of its own. When one is cut, its sink dies silently, the rest of the points
is lost, and the end of the scan waits for ever. Entries carry their place in the stream, so sending them a second
time is safe: Redis refuses those that had arrived.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent
import redis

from lima2_bliss.contract import ConnectionLostError
from lima2_bliss.publishing.blissdata_access import sinks_module, streams_module

_log = logging.getLogger(__name__)

#: Redis may be gone so long before its points are given up, and is tried again so often [s].
PATIENCE_S = 5.0
_PERIOD_S = 0.1
#: How Redis refuses an entry that it has already.
_HAD_ARRIVED = "equal or smaller"
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class PatientSink(sinks_module().SingleStageGeventSink):  # type: ignore[misc]
    """Sends the entries of one stream; connects and sends again what a lost connection left open."""

    _failure: Exception | None

    def _send(self, commands: list[tuple[Any, Any]]) -> None:
        left = list(commands)
        lost_at: float | None = None
        while left and self._failure is None:
            try:
                self.connection.send_packed_command(self.connection.pack_commands([args for args, _ in left]))
                while left:
                    self._receive(*left[0], again=lost_at is not None)
                    del left[0]
                    self._cmd_queue.task_done()
            except redis.exceptions.ResponseError as error:
                self._failure = error
            except _LOST as error:
                self.connection.disconnect()
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > PATIENCE_S:
                    self._failure = ConnectionLostError(
                        f"Redis at {self._where()} does not answer for {PATIENCE_S:g} s: {error};"
                        " check that beacon and its Redis run, then scan again"
                    )
                gevent.sleep(_PERIOD_S)

    def _receive(self, args: Any, options: Any, again: bool) -> None:
        try:
            self.parse_response(self.connection, args[0], **options)
        except redis.exceptions.ResponseError as error:
            if not again or _HAD_ARRIVED not in str(error):
                raise

    def _where(self) -> str:
        return str(self._data_store._url)

    def stop(self) -> None:
        """End when all is sent. A lost connection is not raised here: it would leave other streams open."""
        try:
            super().stop()
        except ConnectionLostError as error:
            _log.warning("the last points of a stream of the scan are lost: %s", error)


def install_patient_sinks() -> None:
    """Have blissdata use `PatientSink` for the streams of all scans of this process."""
    streams_module().RedisSink = PatientSink
