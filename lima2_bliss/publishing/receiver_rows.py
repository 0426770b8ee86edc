"""A receiver's access server as the publisher needs it: one outstanding request for rows, and single frames.

Used from plain threads, one each. A receiver that dies is noticed at once by its closed connection.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from lima2_bliss.client.receiver_link import read_status
from lima2_bliss.contract import ConnectionLostError, DeviceTimeoutError, NotAvailableError
from lima2_bliss.contract.errors import error_from_json
from lima2_bliss.contract.wire import (
    FramesRequest,
    PipelineStatus,
    Request,
    ResultsRequest,
    decode_reply,
    decode_rows,
    encode_request,
    gone_streams,
)
from lima2_bliss.publishing.job import ReceiverAddress

_HEARTBEAT_MS = 1000
_HEARTBEAT_TIMEOUT_MS = 3000


@dataclass(frozen=True)
class ReceivedRows:
    """How a receiver is, further rows by stream, and the streams whose rows at the asked position it has dropped."""

    status: PipelineStatus
    rows: dict[str, np.ndarray]
    gone: frozenset[str] = frozenset()


class ReceiverRows:
    """Connection to one receiver. Not thread-safe; close it (or use it as context manager)."""

    def __init__(
        self,
        address: ReceiverAddress,
        context: zmq.Context[zmq.Socket[bytes]],
        connect_timeout_s: float = 3.0,
        reply_timeout_s: float = 5.0,
    ) -> None:
        self.address = address
        self._connect_timeout_s = connect_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._connected = False
        self._connect_until = time.monotonic() + connect_timeout_s
        self._asked = 0
        self._answer_until = 0.0
        self._socket.connect(address.endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the sockets."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def ask_rows(self, uuid: str, positions: Mapping[str, int], seen: int, wait_ms: int) -> None:
        """Ask for rows from ``positions`` on; the receiver answers when there are some, or after ``wait_ms``."""
        self._asked += 1
        self._ask(
            ResultsRequest(id=self._asked, uuid=uuid, positions=dict(positions), seen=seen, wait_ms=wait_ms),
            wait_ms / 1000,
        )

    def rows(self, without: Collection[str] = ()) -> ReceivedRows:
        """The answer to `ask_rows`; `NoLongerAvailableError` when the receiver has dropped rows that were asked for,
        unless they are of streams ``without`` which the caller can do."""
        reply, parts = self._answer()
        rows = decode_rows(reply, parts, without)
        return ReceivedRows(read_status(reply, self.address.name), rows, frozenset(gone_streams(reply)))

    def frame(self, uuid: str, source: str, index: int) -> tuple[int, np.ndarray]:
        """(global index, pixels of shape (channels, height, width)) of a frame; -1 is the newest."""
        self._asked += 1
        self._ask(FramesRequest(id=self._asked, uuid=uuid, source=source, indices=[index]), 0.0)
        reply, parts = self._answer()
        entry = reply["frames"][0] if reply.get("frames") else {"error": "no frame in the reply"}
        if "error" in entry or not parts:
            raise error_from_json(str(entry.get("error")), NotAvailableError)
        return int(entry["index"]), np.frombuffer(parts[0], np.dtype(reply["dtype"])).reshape(reply["shape"])

    def _ask(self, request: Request, extra_s: float) -> None:
        self._socket.send(encode_request(request))
        self._answer_until = time.monotonic() + extra_s + self._reply_timeout_s

    def _answer(self) -> tuple[dict[str, Any], list[memoryview]]:
        while True:
            ready = dict(self._poller.poll(self._patience_ms()))
            if self._socket in ready:
                head, *parts = self._socket.recv_multipart(copy=False)
                reply = decode_reply(head.buffer)
                if reply.get("id", self._asked) == self._asked:
                    return reply, [part.buffer for part in parts]
            elif self._monitor in ready:
                self._note_event()
            else:
                self._give_up()

    def _patience_ms(self) -> int:
        until = self._answer_until if self._connected else min(self._connect_until, self._answer_until)
        return max(int((until - time.monotonic()) * 1000), 0) + 1

    def _note_event(self) -> None:
        event = recv_monitor_message(self._monitor)["event"]
        if event == zmq.EVENT_DISCONNECTED:
            raise ConnectionLostError(
                f"receiver {self.address.name} closed its connection ({self.address.endpoint}): its process ended or "
                "the network failed; see its log and start it again",
                receiver=self.address.name,
            )
        self._connected = True

    def _give_up(self) -> None:
        if not self._connected:
            raise ConnectionLostError(
                f"receiver {self.address.name} cannot be reached at {self.address.endpoint} within "
                f"{self._connect_timeout_s:g} s; see its log and start it again",
                receiver=self.address.name,
            )
        raise DeviceTimeoutError(
            f"receiver {self.address.name} ({self.address.endpoint}) did not answer within {self._reply_timeout_s:g} s",
            receiver=self.address.name,
        )
