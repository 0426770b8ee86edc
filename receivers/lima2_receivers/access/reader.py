"""A small synchronous client of a receiver's access server, for the access process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zmq

from lima2_bliss.contract import (
    ConnectionLostError,
    DeviceTimeoutError,
    FrameFlags,
    FrameMeta,
    Lima2Error,
    ProtocolError,
    error_from_json,
)
from lima2_bliss.contract.wire import (
    CURRENT,
    MAX_INDICES,
    FramesRequest,
    HelloRequest,
    PipelineStatus,
    Request,
    ResultsRequest,
    StatusRequest,
    decode_reply,
    decode_rows,
    encode_request,
)


@dataclass(frozen=True)
class ReadFrame:
    """One frame that a receiver gave: read-only pixels (channels, height, width)."""

    pixels: np.ndarray
    meta: FrameMeta


class ReceiverReader:
    """Reads from the receiver at ``endpoint``; any number of threads may call, one is served at a time.

    Connects when first used, and again after a loss. ``connect_s``: how long to wait for a receiver that does not
    answer the connection; ``timeout_s``: for a reply (beside the wait that a results request asks for).
    """

    def __init__(
        self, endpoint: str, *, timeout_s: float = 3.0, connect_s: float = 1.0, context: zmq.Context | None = None
    ) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._own_context = context is None
        self._context = zmq.Context() if context is None else context
        self._socket: zmq.Socket | None = None
        self._monitor: zmq.Socket | None = None
        self._requests = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; harmless twice."""
        with self._lock:
            self._closed = True
            self._disconnect()
            if self._own_context:
                self._context.term()

    def hello(self) -> dict[str, Any]:
        """Who the receiver is: device, rank, receivers, pid, pipelines, protocol."""
        return self._ask(HelloRequest())[0]

    def status(self, uuid: str = CURRENT) -> PipelineStatus:
        """State and counts of a pipeline, the newest by default."""
        reply, _ = self._ask(StatusRequest(uuid=uuid))
        return PipelineStatus.model_validate(reply["status"])

    def results(
        self, uuid: str, positions: dict[str, int], *, seen: int = -1, wait_ms: int = 0
    ) -> tuple[PipelineStatus, dict[str, np.ndarray]]:
        """Status, and the rows of each stream from its position on; waits for news up to ``wait_ms``."""
        request = ResultsRequest(uuid=uuid, positions=positions, seen=seen, wait_ms=wait_ms)
        reply, parts = self._ask(request, wait_ms / 1000)
        return PipelineStatus.model_validate(reply["status"]), decode_rows(reply, parts)

    def frames(
        self, uuid: str, indices: Sequence[int], source: str = "frame"
    ) -> Iterator[tuple[int, ReadFrame | Lima2Error]]:
        """(asked index, frame or the error why there is none), in the order asked; fetched in bounded replies."""
        rest = list(indices)
        while rest:
            got = self._some_frames(uuid, rest[:MAX_INDICES], source)
            if not got:
                raise ProtocolError(f"receiver at {self.endpoint} answered a frames request with no frame")
            yield from zip(rest, got, strict=False)
            del rest[: len(got)]

    def frame(self, uuid: str, index: int = -1, source: str = "frame") -> ReadFrame:
        """One frame, -1 is the newest with pixels; raises the error why there is none."""
        [(_, frame)] = self.frames(uuid, [index], source)
        if isinstance(frame, Lima2Error):
            raise frame
        return frame

    def _some_frames(self, uuid: str, indices: list[int], source: str) -> list[ReadFrame | Lima2Error]:
        reply, parts = self._ask(FramesRequest(uuid=uuid, source=source, indices=indices))
        pixels = iter(parts)
        frames: list[ReadFrame | Lima2Error] = []
        try:
            dtype, shape = np.dtype(reply["dtype"]), tuple(reply["shape"])
            for entry in reply["frames"]:
                if "error" in entry:
                    about = {"what": entry["error"], "errinfo": {"kind": entry.get("kind", "")}}
                    frames.append(error_from_json(json.dumps(about)))
                    continue
                array = np.frombuffer(next(pixels), dtype).reshape(shape)
                meta = FrameMeta(entry["index"], -1, entry["timestamp_ns"], FrameFlags(entry["flags"]))
                frames.append(ReadFrame(array, meta))
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise ProtocolError(f"receiver at {self.endpoint} sent frames that are not the protocol: {error}") from None
        return frames

    # --- connection ---------------------------------------------------------------------------------------------------

    def _ask(self, request: Request, wait_s: float = 0.0) -> tuple[dict[str, Any], list[memoryview]]:
        with self._lock:
            if self._closed:
                raise ConnectionLostError(f"reader of {self.endpoint} was closed", endpoint=self.endpoint)
            self._requests += 1
            try:
                self._send(encode_request(request.model_copy(update={"id": self._requests})))
                parts = self._receive(self._timeout_s + wait_s)
            except (ConnectionLostError, DeviceTimeoutError):
                self._disconnect()  # so that a late reply is never taken for another one's
                raise
        return decode_reply(parts[0]), parts[1:]

    def _connect(self) -> zmq.Socket:
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a receiver that is not there
            self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self._socket.connect(self.endpoint)
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(0)
        self._socket = self._monitor = None

    def _send(self, body: bytes) -> None:
        lost = self._monitor is not None and self._monitor.poll(0)
        if lost:
            self._disconnect()  # the receiver went away since the last request: connect anew
        connected = self._connect()
        if not connected.poll(int(self._connect_s * 1000), zmq.POLLOUT):
            raise ConnectionLostError(
                f"receiver at {self.endpoint} cannot be reached within {self._connect_s:g} s; is its process running?",
                endpoint=self.endpoint,
            )
        connected.send(body)

    def _receive(self, timeout_s: float) -> list[memoryview]:
        poller = zmq.Poller()
        poller.register(self._connect(), zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(int(left * 1000) + 1))
            if self._socket in ready:
                return [part.buffer for part in self._connect().recv_multipart(copy=False)]
            if self._monitor in ready:
                raise ConnectionLostError(
                    f"receiver at {self.endpoint} closed the connection; its process ended or was killed",
                    endpoint=self.endpoint,
                )
        raise DeviceTimeoutError(
            f"receiver at {self.endpoint} did not answer within {timeout_s:g} s", endpoint=self.endpoint
        )
