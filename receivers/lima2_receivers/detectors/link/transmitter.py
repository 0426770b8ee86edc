"""The voice of a detector's control: the same messages to every receiver, in order."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import zmq

from lima2_bliss.contract import AcquisitionError, ParameterError
from lima2_receivers.detectors.link.coding import LinkMessage, encode

log = logging.getLogger(__name__)

#: Messages that may wait for a receiver that does not take them.
MAX_WAITING = 10_000


class Transmitter:
    """Connections to the receivers, made by `connect` and kept as long as the addresses stay. One thread at a time."""

    def __init__(self, linger_ms: int = 500, max_waiting: int = MAX_WAITING) -> None:
        self._context = zmq.Context()
        self._linger_ms = linger_ms
        self._max_waiting = max_waiting
        self._sockets: dict[str, zmq.Socket] = {}

    def connect(self, endpoints: Sequence[str]) -> None:
        """Talk to these receivers from now on."""
        for endpoint in set(self._sockets) - set(endpoints):
            self._sockets.pop(endpoint).close(linger=0)
        kept = self._sockets
        self._sockets = {}
        for endpoint in endpoints:
            self._sockets[endpoint] = kept.get(endpoint) or self._open(endpoint)

    def _open(self, endpoint: str) -> zmq.Socket:
        opened = self._context.socket(zmq.PUSH)
        opened.setsockopt(zmq.SNDHWM, self._max_waiting)
        opened.setsockopt(zmq.LINGER, self._linger_ms)
        opened.setsockopt(zmq.RECONNECT_IVL, 20)
        try:
            opened.connect(endpoint)
        except zmq.ZMQError as error:
            opened.close(linger=0)
            raise ParameterError(f"receiver's source endpoint {endpoint!r} is not an address: {error}") from error
        return opened

    def send(self, message: LinkMessage) -> None:
        """Send to all. `AcquisitionError` names the receivers that have not taken messages for long."""
        data = encode(message)
        full = []
        for rank, (endpoint, opened) in enumerate(self._sockets.items()):
            if opened.poll(0, zmq.POLLOUT):
                opened.send(data, zmq.NOBLOCK)
            else:
                full.append(f"receiver {rank} ({endpoint})")
        if full:
            raise AcquisitionError(
                f"{', '.join(full)} does not take the detector's messages; check that its process runs, then reset"
            )

    def close(self) -> None:
        """Close the connections; what was sent still has the linger time to arrive. Harmless twice."""
        if not self._context.closed:
            for opened in self._sockets.values():
                opened.close(linger=self._linger_ms)
            self._sockets = {}
            self._context.term()
