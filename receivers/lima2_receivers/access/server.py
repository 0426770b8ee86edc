"""The ZMQ server of a receiver: results to whoever waits for them, frames in bulk, from one thread.

Results are answered when their pipeline changes (its threads wake this one, nothing polls). Frames leave without a copy
as long as few of the ring's buffers are under way; the transfer itself is done by ZMQ's own thread. A frames request is
worked off frame by frame between other requests, so that it does not delay results.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import zmq

from lima2_bliss.contract import DeviceTimeoutError, Lima2Error, NotAvailableError, ProtocolError, StateError
from lima2_bliss.contract.wire import (
    MAX_REQUEST_BYTES,
    PROTOCOL,
    FramesRequest,
    HelloRequest,
    Request,
    ResultsRequest,
    StatusRequest,
    decode_request,
    encode_error,
    encode_reply,
)
from lima2_receivers.access.frames_job import FramesJob
from lima2_receivers.access.in_flight import AccessLimits, Client, InFlight
from lima2_receivers.access.receiver import SharedReceiver
from lima2_receivers.access.waiting import ResultsWait, WakeUp, Watches, read_results

logger = logging.getLogger(__name__)

#: Requests taken in one go before waiting clients and bulk reads have their turn again.
BURST = 32

#: Time for bulk reads until waiting clients are looked at again.
BULK_TURN_S = 0.001


class AccessServer:
    """Serves the pipelines of ``receiver`` on ``tcp://bind_address:port`` (0: a free port) until `close`.

    A client that does not take its replies in is cut off after ``heartbeat_timeout_s``; a frames request that finds no
    room in its client's share of memory for ``stall_s`` gets an error.
    """

    def __init__(
        self,
        receiver: SharedReceiver,
        *,
        device: str = "",
        rank: int = 0,
        nb_receivers: int = 1,
        bind_address: str = "127.0.0.1",
        port: int = 0,
        limits: AccessLimits | None = None,
        heartbeat_timeout_s: float = 10.0,
        stall_s: float = 5.0,
    ) -> None:
        self._receiver = receiver
        self._about: dict[str, Any] = {"device": device, "rank": rank, "receivers": nb_receivers, "protocol": PROTOCOL}
        self._stall_s = stall_s
        self._wake = WakeUp()
        self._in_flight = InFlight(limits or AccessLimits(), self._wake.set)
        self._watches = Watches(receiver, self._wake.set)
        self._waits: list[ResultsWait] = []
        self._jobs: deque[FramesJob] = deque()
        self._closing = False
        self._poller = zmq.Poller()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(heartbeat_timeout_s)
        try:
            self._socket.bind(f"tcp://{bind_address}:{port or '*'}")
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            self._wake.close()
            raise StateError(
                f"cannot listen on {bind_address}:{port} ({error}); give another bind_address or access_port (0: any)"
            ) from None
        bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        #: Address for clients; the host's name where the server listens on all interfaces.
        self.endpoint = bound.replace("://0.0.0.0:", f"://{socket.gethostname()}:")
        self._thread = threading.Thread(target=self._serve, name=f"access-{device or 'receiver'}", daemon=True)
        self._thread.start()

    def _configure(self, heartbeat_timeout_s: float) -> None:
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an error instead of silence for a client that is gone
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)  # larger: ZMQ cuts the connection
        self._socket.setsockopt(zmq.SNDHWM, 64)  # replies queued per client; a polite one has a few
        self._socket.setsockopt(zmq.RCVHWM, 64)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, max(int(heartbeat_timeout_s * 250), 1))
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, max(int(heartbeat_timeout_s * 1000), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop serving; returns when socket and thread are gone and no buffer is held any more. Harmless twice."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.error("access server at %s did not end within %g s", self.endpoint, timeout_s)

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of frames and rows on their way to clients."""
        return self._in_flight.total

    # --- the server's thread ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake.fileno(), zmq.POLLIN)
        try:
            while not self._closing:
                try:
                    self._turn()
                except Exception:
                    logger.exception("access server of %s goes on after an error", self._about["device"])
        finally:
            self._watches.close()
            self._jobs.clear()
            self._socket.close(0)
            self._context.term()
            self._await_returns()
            self._wake.close()

    def _turn(self) -> None:
        """One round: wait for something to do, then do a bounded amount of everything."""
        self._poller.poll(self._poll_ms())
        self._wake.clear()
        freed = self._in_flight.collect()
        self._answer_waits(self._watches.take_changed(), freed)
        for _ in range(BURST):
            if not self._receive():
                break
        self._advance_jobs()
        self._watches.forget_erased()

    def _poll_ms(self) -> int | None:
        room = self._in_flight.room
        if any(not job.needs or room(job.client, job.needs) for job in self._jobs):
            return 0
        deadlines = [job.deadline for job in self._jobs]
        deadlines += [wait.deadline for wait in self._waits if room(wait.client, 1)]
        return int(max(min(deadlines) - time.monotonic(), 0) * 1000) + 1 if deadlines else None

    def _receive(self) -> bool:
        """Take one request in; False when there is none."""
        try:
            identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        client = Client(identity, delimited=len(parts) > 1 and not parts[0])
        if client.delimited:
            del parts[0]
        body = parts[0] if parts else b""
        with self._errors_to(client, body):
            if len(parts) != 1:
                raise ProtocolError(f"request of {len(parts)} parts; send one part of JSON")
            self._handle(client, decode_request(body))
        return True

    @contextmanager
    def _errors_to(self, client: Client, request: bytes | Request) -> Iterator[None]:
        """An error inside is an answer to the client."""
        try:
            yield
        except Exception as caught:
            if isinstance(caught, Lima2Error):
                error = caught
            else:
                logger.exception("request of client %s failed", client.identity.hex())
                error = Lima2Error(f"{type(caught).__name__}: {caught}")
            number = request_id(request) if isinstance(request, bytes) else request.id
            self._post(client, [encode_error(error, number)])

    def _handle(self, client: Client, request: Request) -> None:
        if isinstance(request, HelloRequest):
            about = {**self._about, "pid": os.getpid(), "pipelines": list(self._receiver.pipelines)}
            self._send(client, {"id": request.id, **about})
            return
        if self._tell_end(client, request):
            return
        pipeline = self._receiver.pipeline(request.uuid)
        if isinstance(request, StatusRequest):
            self._send(client, {"id": request.id, "status": pipeline.status().model_dump()})
        elif isinstance(request, ResultsRequest):
            self._refuse_too_many(client, self._waits)
            wait = ResultsWait(client, request, pipeline, time.monotonic() + request.wait_ms / 1000)
            self._watches.await_change(pipeline)
            if not self._answer(wait):
                self._waits.append(wait)
        elif isinstance(request, FramesRequest):
            self._refuse_too_many(client, self._jobs)
            self._jobs.append(FramesJob(client, request, pipeline, time.monotonic() + self._stall_s))

    def _tell_end(self, client: Client, request: StatusRequest | ResultsRequest | FramesRequest) -> bool:
        """Answer who asks how an acquisition ended that was erased meanwhile; its rows and frames are gone."""
        asks_state = isinstance(request, StatusRequest)
        if not asks_state and not (isinstance(request, ResultsRequest) and not request.positions):
            return False
        end = None if not request.uuid else self._receiver.end_of(request.uuid)
        if end is None:
            return False
        answer = {"id": request.id, "status": end.model_dump()}
        self._send(client, answer if asks_state else {**answer, "streams": []})
        return True

    def _refuse_too_many(self, client: Client, opened: Iterable[ResultsWait | FramesJob]) -> None:
        limit = self._in_flight.limits.requests_per_client
        if sum(request.client == client for request in opened) >= limit:
            raise StateError(f"{limit} requests of this client are open; wait for their replies before sending more")

    def _answer_waits(self, changed: set[str], freed: bool) -> None:
        if not self._waits:
            return
        now = time.monotonic()
        waits, self._waits = self._waits, []
        for wait in waits:
            with self._errors_to(wait.client, wait.request):
                news = wait.pipeline.uuid in changed
                if news:
                    self._watches.await_change(wait.pipeline)
                if not (news or freed or wait.deadline <= now) or not self._answer(wait):
                    self._waits.append(wait)

    def _answer(self, wait: ResultsWait) -> bool:
        """Answer an open results request if there is news, or its time is over, and room for the reply."""
        if not self._in_flight.room(wait.client, 1):
            return False
        if wait.pipeline.uuid not in self._receiver.pipelines:
            if self._tell_end(wait.client, wait.request):
                return True
            raise NotAvailableError(f"pipeline {wait.pipeline.uuid} was erased")
        answer = read_results(wait, wait.deadline <= time.monotonic())
        if answer is None:
            return False
        parts = [self._in_flight.part(wait.client, rows) for rows in answer.rows]
        about = {"id": wait.request.id, "status": answer.status.model_dump(), "streams": answer.streams}
        self._send(wait.client, about, parts)
        return True

    def _advance_jobs(self) -> None:
        """A few frames for each open frames request in turn, until results have to be looked at again."""
        until = time.monotonic() + BULK_TURN_S
        for _ in range(len(self._jobs)):
            if time.monotonic() >= until:
                return
            job = self._jobs.popleft()
            with self._errors_to(job.client, job.request):
                job.step(self._in_flight)
                if job.complete:
                    self._send(job.client, job.reply(), job.parts)
                elif job.needs and job.deadline <= time.monotonic():
                    raise DeviceTimeoutError(
                        f"no room for a frame during {self._stall_s:g} s: read the replies under way first"
                    )
                else:
                    self._jobs.append(job)

    def _send(self, client: Client, reply: dict[str, Any], parts: Sequence[zmq.Frame] = ()) -> None:
        self._post(client, [encode_reply(reply), *parts])

    def _post(self, client: Client, message: Sequence[bytes | zmq.Frame]) -> None:
        try:
            self._socket.send_multipart([*client.route, *message], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            # The client has gone (EHOSTUNREACH), or takes nothing in and its queue is full (EAGAIN).
            logger.info("reply to client %s dropped: %s", client.identity.hex(), error)

    def _await_returns(self, timeout_s: float = 2.0) -> None:
        """Release what ZMQ lets go of while it ends."""
        deadline = time.monotonic() + timeout_s
        poller = zmq.Poller()
        poller.register(self._wake.fileno(), zmq.POLLIN)
        while True:
            self._wake.clear()
            self._in_flight.collect()
            left = deadline - time.monotonic()
            if not self._in_flight.parts:
                return
            if left <= 0:
                logger.error("%d bytes of frames are still held by ZMQ at close", self._in_flight.total)
                return
            poller.poll(int(left * 1000) + 1)


def request_id(body: bytes) -> int:
    """The id of a request that may be refused, so that its client can match the error; 0 if it has none."""
    try:
        found = json.loads(body)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
    return found if isinstance(found, int) and abs(found) < 1 << 63 else 0
