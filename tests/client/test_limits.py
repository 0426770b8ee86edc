"""Asking several devices ends in time, whatever one of them does."""

from __future__ import annotations

import threading
import time

from lima2_bliss.client.concurrency import concurrently_within
from lima2_bliss.contract import DeviceTimeoutError


def test_a_call_that_hangs_is_given_up_and_the_others_are_there():
    release, ended = threading.Event(), threading.Event()

    def hang() -> str:
        release.wait(20)
        ended.set()
        return "late"

    def fail() -> str:
        raise ValueError("no")

    began = time.monotonic()
    try:
        outcomes = concurrently_within(0.2, {"a": lambda: "here", "b": hang, "c": fail})
        assert time.monotonic() - began < 5
        assert list(outcomes) == ["a", "b", "c"]
        assert outcomes["a"].get() == "here"
        assert isinstance(outcomes["b"].error, DeviceTimeoutError)
        assert "b did not answer within 0.2 s" in str(outcomes["b"].error)
        assert isinstance(outcomes["c"].error, ValueError)
    finally:
        release.set()
        assert ended.wait(5)
