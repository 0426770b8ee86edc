"""Blocking calls side by side, in plain threads or, under gevent, in threads that leave its hub free."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from lima2_bliss.contract import DeviceTimeoutError

MAX_THREADS = 64

Value = TypeVar("Value")
Name = TypeVar("Name", bound=Hashable)


def native_lock() -> Any:
    """A lock between threads that also works when gevent has replaced those of the standard library."""
    monkey = sys.modules.get("gevent.monkey")
    return threading.Lock() if monkey is None else monkey.get_original("_thread", "allocate_lock")()


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What a call gave: a value, or the exception that it raised."""

    value: Value | None = None
    error: Exception | None = None

    def get(self) -> Value:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Pending(Protocol[Value]):
    """A call under way."""

    def done(self) -> bool:
        """True when `outcome` returns at once."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, at most so long; True when it has ended."""

    def outcome(self) -> Outcome[Value]:
        """What the call gave; waits for it."""


def gevent_is_in_charge() -> bool:
    """True when gevent has patched this process: blocking calls must then leave the hub's thread."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading") or monkey.is_module_patched("socket"))


def attempt(call: Callable[[], Value]) -> Outcome[Value]:
    """Make the call; its exception becomes part of the outcome, for the caller to sort by device."""
    try:
        return Outcome(value=call())
    except Exception as error:  # noqa: BLE001
        return Outcome(error=error)


class _ThreadPending(Generic[Value]):
    def __init__(self) -> None:
        self._ended = threading.Event()
        self._outcome: Outcome[Value] | None = None

    def set(self, outcome: Outcome[Value]) -> None:
        self._outcome = outcome
        self._ended.set()

    def done(self) -> bool:
        return self._ended.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def outcome(self) -> Outcome[Value]:
        self._ended.wait()
        assert self._outcome is not None
        return self._outcome


class _Threads:
    """Daemon threads that take calls in turn: a process may end while a device does not answer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], _ThreadPending[Any]]] = queue.SimpleQueue()
        self._idle = 0
        self._threads = 0

    def start(self, call: Callable[[], Value]) -> _ThreadPending[Value]:
        pending: _ThreadPending[Value] = _ThreadPending()
        with self._lock:
            self._calls.put((call, pending))
            if self._idle:
                self._idle -= 1
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"lima2-client-{self._threads}", daemon=True).start()
        return pending

    def _work(self) -> None:
        while True:
            call, pending = self._calls.get()
            pending.set(attempt(call))
            with self._lock:
                self._idle += 1


class _GreenPending(Generic[Value]):
    def __init__(self, result: Any) -> None:
        self._result = result

    def done(self) -> bool:
        return bool(self._result.ready())

    def wait(self, timeout_s: float) -> bool:
        self._result.wait(timeout_s)
        return bool(self._result.ready())

    def outcome(self) -> Outcome[Value]:
        return self._result.get()


class _Pools:
    """The process's pool of threads, of the kind that fits it."""

    def __init__(self) -> None:
        self._threads = _Threads(MAX_THREADS)
        self._green: Any = None

    def start(self, call: Callable[[], Value]) -> Pending[Value]:
        if not gevent_is_in_charge():
            return self._threads.start(call)
        if self._green is None:
            from gevent.threadpool import ThreadPool

            self._green = ThreadPool(MAX_THREADS)
        return _GreenPending(self._green.spawn(attempt, call))


_pools = _Pools()


def start(call: Callable[[], Value]) -> Pending[Value]:
    """Start a blocking call and go on."""
    return _pools.start(call)


def apart(call: Callable[[], Value]) -> Value:
    """The result of a blocking call; under gevent other greenlets run meanwhile."""
    return start(call).outcome().get() if gevent_is_in_charge() else call()


def concurrently(calls: Mapping[Name, Callable[[], Value]]) -> dict[Name, Outcome[Value]]:
    """Make all calls at once; the outcome of each by name."""
    if len(calls) == 1 and not gevent_is_in_charge():
        return {name: attempt(call) for name, call in calls.items()}
    pending = {name: start(call) for name, call in calls.items()}
    return {name: each.outcome() for name, each in pending.items()}


def concurrently_within(limit_s: float, calls: Mapping[str, Callable[[], Value]]) -> dict[str, Outcome[Value]]:
    """As `concurrently`, by device name, and back after ``limit_s``: a call still under way then is given up.

    Its outcome is a `DeviceTimeoutError`; its thread ends when the call does.
    """
    deadline = time.monotonic() + limit_s
    pending = {name: start(call) for name, call in calls.items()}
    outcomes = {}
    for name, each in pending.items():
        if each.wait(max(deadline - time.monotonic(), 0.0)):
            outcomes[name] = each.outcome()
        else:
            late = f"{name} did not answer within {limit_s:g} s; its host may be overloaded, see its log"
            outcomes[name] = Outcome(error=DeviceTimeoutError(late, device=name))
    return outcomes
