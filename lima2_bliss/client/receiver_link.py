"""The access protocol of one receiver, from the client's side: requests out, rows and pixels back."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from lima2_bliss.client.concurrency import Outcome, attempt, gevent_is_in_charge
from lima2_bliss.contract import ConnectionLostError, ProtocolError
from lima2_bliss.contract.wire import HelloRequest, PipelineStatus, Request, StatusRequest, decode_reply, encode_request

DEFAULT_TIMEOUT_S = 2.0

Reply = tuple[dict[str, Any], list[Any]]


def zmq_flavour() -> Any:
    """The zmq module that fits this process: its gevent flavour where gevent is in charge."""
    if gevent_is_in_charge():
        import zmq.green as flavour
    else:
        import zmq as flavour
    return flavour


class Channel:
    """One socket to a receiver: several requests may be under way; the ``id`` of a reply says which it answers.

    Used by one thread (or greenlet) at a time.
    """

    def __init__(self, receiver: str, endpoint: str) -> None:
        zmq = zmq_flavour()
        self.receiver = receiver
        self._zmq = zmq
        self._numbers = itertools.count(1)
        self._waiting: set[int] = set()
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def send(self, request: Request) -> int:
        """Send a request and do not wait; returns the ``id`` that its reply will have."""
        request.id = next(self._numbers)
        self._waiting.add(request.id)
        self.socket.send(encode_request(request))
        return request.id

    @property
    def outstanding(self) -> int:
        """Requests that have no reply yet."""
        return len(self._waiting)

    def receive(self, timeout_s: float) -> Reply | None:
        """The next reply (its error is raised), or None when there is none within ``timeout_s``."""
        if not self.socket.poll(int(timeout_s * 1000)):
            return None
        head, *parts = self.socket.recv_multipart(copy=False)
        number = reply_number(head.buffer)
        if number not in self._waiting:
            raise ProtocolError(f"{self.receiver} answered request {number}, which is not under way")
        self._waiting.discard(number)
        return decode_reply(head.buffer), [part.buffer for part in parts]

    def close(self) -> None:
        self.socket.close()


class ReceiverLink:
    """A receiver's access server by its address. Any number of threads or greenlets may call; each uses a socket."""

    def __init__(self, receiver: str, endpoint: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.receiver = receiver
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._free: list[Channel] = []
        self._lock = threading.Lock()

    def ask(self, request: Request, timeout_s: float | None = None) -> Reply:
        """The reply to a request; `ConnectionLostError` when the receiver is silent for ``timeout_s``."""
        with self._channel() as channel:
            channel.send(request)
            return self._reply(channel, self.timeout_s if timeout_s is None else timeout_s)

    def _reply(self, channel: Channel, timeout_s: float) -> Reply:
        reply = channel.receive(timeout_s)
        if reply is None:
            raise ConnectionLostError(
                f"{self.receiver} is silent at {self.endpoint}: its process may have ended; start it again",
                device=self.receiver,
            )
        return reply

    @contextmanager
    def _channel(self) -> Iterator[Channel]:
        """A socket that goes back to the idle ones, unless a reply is still to come."""
        with self._lock:
            channel = self._free.pop() if self._free else None
        channel = channel or self.open()
        try:
            yield channel
        finally:
            if channel.outstanding:
                channel.close()
            else:
                with self._lock:
                    self._free.append(channel)

    def open(self) -> Channel:
        """A socket of one's own, for requests that overlap; close it after use."""
        return Channel(self.receiver, self.endpoint)

    def hello(self) -> dict[str, Any]:
        """Who is there."""
        return self.ask(HelloRequest())[0]

    def status(self, uuid: str) -> PipelineStatus:
        """State and counts of a pipeline."""
        return read_status(self.ask(StatusRequest(uuid=uuid))[0], self.receiver)

    def close(self) -> None:
        """Close the idle sockets."""
        with self._lock:
            channels, self._free = self._free, []
        for channel in channels:
            channel.close()


def ask_all(links: Sequence[ReceiverLink], request: Request, timeout_s: float | None = None) -> list[Outcome[Reply]]:
    """Ask all receivers the same at the same time; the outcome of each, in order."""
    with ExitStack() as stack:
        channels = [stack.enter_context(link._channel()) for link in links]
        for channel in channels:
            channel.send(request.model_copy())
        allowed_s = [link.timeout_s for link in links] if timeout_s is None else [timeout_s]
        deadline = time.monotonic() + max(allowed_s, default=0.0)
        return [
            attempt(partial(link._reply, channel, max(deadline - time.monotonic(), 0)))
            for link, channel in zip(links, channels, strict=True)
        ]


def reply_number(head: Any) -> int:
    """``id`` of a reply, 0 when it has none (also of one that carries an error)."""
    try:
        return int(json.loads(bytes(head)).get("id", 0))
    except (ValueError, TypeError, AttributeError):
        return 0


def read_status(reply: dict[str, Any], receiver: str) -> PipelineStatus:
    """The status inside a reply; keys that a newer receiver adds are ignored."""
    content = reply.get("status", reply)
    try:
        known = {key: value for key, value in content.items() if key in PipelineStatus.model_fields}
        return PipelineStatus.model_validate(known)
    except (ValueError, AttributeError) as error:
        raise ProtocolError(f"{receiver} sent a status that is none ({json.dumps(content)[:80]}): {error}") from None
