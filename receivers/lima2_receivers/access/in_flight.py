"""Memory that ZMQ is sending: who it belongs to, how much it is, and what to release once it has gone out."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import zmq

#: Smaller parts are copied by ZMQ: cheaper than the hand-over between threads that a zero-copy send costs.
ZERO_COPY_BYTES = 1 << 16


class Client(NamedTuple):
    """Who sent a request: ZMQ's name of the connection, and whether replies need a REQ socket's empty delimiter."""

    identity: bytes
    delimited: bool = False

    @property
    def route(self) -> list[bytes]:
        return [self.identity, b""] if self.delimited else [self.identity]


@dataclass(frozen=True)
class AccessLimits:
    """What clients may hold of a receiver's memory.

    ``bytes_per_client``, ``bytes_total``: memory on its way to one client, to all. ``requests_per_client``: frames
    requests, and as many results requests, that one client may have open.
    """

    bytes_per_client: int = 128 << 20
    bytes_total: int = 512 << 20
    requests_per_client: int = 16


class InFlight:
    """Accounts for every message part until ZMQ has sent or dropped it; then `collect` releases it.

    One thread puts and collects; ``wake`` is called from any thread when there is something to collect. ZMQ lets go of
    a part by dropping the last reference to the array that it was made from: a weak reference tells.
    """

    def __init__(self, limits: AccessLimits, wake: Callable[[], None]) -> None:
        self.limits = limits
        self.total = 0
        self._wake = wake
        self._tokens = 0
        self._held: dict[int, tuple[weakref.ref, Client, int, Callable[[], None] | None]] = {}
        self._by_client: dict[Client, int] = {}
        self._gone: deque[int] = deque()

    @property
    def parts(self) -> int:
        """Parts that ZMQ holds."""
        return len(self._held)

    def room(self, client: Client, nbytes: int) -> bool:
        """True when ``nbytes`` more may be sent to ``client``; a client that has nothing under way always may."""
        mine = self._by_client.get(client, 0)
        limits = self.limits
        return not mine or (mine + nbytes <= limits.bytes_per_client and self.total + nbytes <= limits.bytes_total)

    def part(self, client: Client, array: np.ndarray, release: Callable[[], None] | None = None) -> zmq.Frame:
        """The bytes of ``array`` as a message part, not copied; `collect` calls ``release`` once it has gone."""
        view = np.ascontiguousarray(array).view()
        if view.nbytes < ZERO_COPY_BYTES:
            part = zmq.Frame(view, copy=True)
            if release is not None:
                release()
            return part
        self._tokens += 1
        token = self._tokens
        self._held[token] = (weakref.ref(view, lambda _: self._let_go(token)), client, view.nbytes, release)
        self._by_client[client] = self._by_client.get(client, 0) + view.nbytes
        self.total += view.nbytes
        return zmq.Frame(view, copy=False)

    def _let_go(self, token: int) -> None:
        self._gone.append(token)
        self._wake()

    def collect(self) -> bool:
        """Release what has gone out since the last time; True if there was any."""
        any_gone = False
        while self._gone:
            _, client, nbytes, release = self._held.pop(self._gone.popleft())
            any_gone = True
            self.total -= nbytes
            left = self._by_client[client] - nbytes
            if left:
                self._by_client[client] = left
            else:
                del self._by_client[client]
            if release is not None:
                release()
        return any_gone
