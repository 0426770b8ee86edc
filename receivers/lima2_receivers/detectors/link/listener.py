"""The ear of a receiver: one socket and one thread that sort the control's messages by acquisition."""

from __future__ import annotations

import logging
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import zmq

from lima2_bliss.contract import ParameterError, ProtocolError, StateError
from lima2_receivers.detectors.link.coding import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Acquisitions that the control may be ahead with, and finished ones that are remembered.
MAX_AHEAD, MAX_REMEMBERED = 4, 64


class Record(Protocol):
    """What a receiver knows of one acquisition from the control."""

    def apply(self, message: Any) -> None:
        """Take in what the control said; called from the listener's thread."""


Known = TypeVar("Known", bound=Record)


class Listener(Generic[Known]):
    """Receives on an own port from construction to `close`; messages wait until their acquisition is prepared here.

    ``decode`` makes a message (with a ``uuid``) of bytes, see `make_decoder`; ``make_record`` makes the record of an
    acquisition of its uuid.
    """

    def __init__(
        self, bind_address: str, decode: Callable[[bytes], Any], make_record: Callable[[str], Known], name: str = "link"
    ) -> None:
        self._decode = decode
        self._make_record = make_record
        self._lock = threading.Lock()
        self._prepared: dict[str, Known] = {}
        self._ahead: OrderedDict[str, Known] = OrderedDict()
        self._finished: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self.stale = 0  # messages of acquisitions that were over
        self.refused = 0  # messages that are not of the protocol
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if ":" in bind_address:
            self._socket.setsockopt(zmq.IPV6, 1)
        try:
            port = self._socket.bind_to_random_port(f"tcp://{bind_address}")
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            raise ParameterError(f"bind_address {bind_address!r} cannot be listened on: {error}") from error
        host = socket.gethostname() if bind_address in ("0.0.0.0", "*", "[::]") else bind_address
        self.endpoint = f"tcp://{host}:{port}"
        self._thread = threading.Thread(target=self._listen, name=f"{name}-listener", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while True:
                self._sort(self._socket.recv())
        except zmq.ContextTerminated:
            log.debug("listener of %s ends", self.endpoint)
        finally:
            self._socket.close()

    def _sort(self, data: bytes) -> None:
        try:
            message = self._decode(data)
        except (ProtocolError, ParameterError) as error:
            self.refused += 1
            if self.refused == 1:
                log.warning("message refused at %s (further ones are only counted): %s", self.endpoint, error)
            return
        with self._lock:
            if message.uuid in self._finished:
                self.stale += 1
                return
            record = self._prepared.get(message.uuid) or self._ahead.get(message.uuid)
            if record is None:
                record = self._ahead[message.uuid] = self._make_record(message.uuid)
                if len(self._ahead) > MAX_AHEAD:
                    self._ahead.popitem(last=False)
        record.apply(message)

    def record(self, uuid: str) -> Known:
        """What the control said, and will say, of an acquisition that is prepared here; ends with `finish`."""
        with self._lock:
            if uuid in self._finished:
                raise StateError(f"acquisition {uuid} is over on this receiver; prepare with a new uuid")
            if uuid not in self._prepared:
                self._prepared[uuid] = self._ahead.pop(uuid) if uuid in self._ahead else self._make_record(uuid)
            return self._prepared[uuid]

    def finish(self, uuid: str) -> None:
        """Forget an acquisition; what still comes of it is dropped."""
        with self._lock:
            self._prepared.pop(uuid, None)
            if uuid not in self._finished:
                self._finished.append(uuid)

    def close(self) -> None:
        """Give the port back; harmless twice."""
        if not self._context.closed:
            self._context.term()
            self._thread.join()
