"""Tells at which stage an acquisition is, by looking over the shoulder of the methods that every scan goes through."""

from __future__ import annotations

import functools
from typing import Any

import gevent
import gevent.event

from lima2_bliss.client import Acquisition
from lima2_bliss.controller.detector import Lima2Detector
from lima2_bliss.controller.scan_run import ScanRun
from lima2_bliss.publishing.publisher_client import PublisherClient

_PLACES: dict[str, tuple[Any, str]] = {
    "prepare": (Lima2Detector, "prepare_acquisition"),
    "start": (ScanRun, "start"),
    "trigger": (Acquisition, "trigger"),
    "reading": (ScanRun, "_note"),
    "closing": (Acquisition, "close"),
    "publishing": (PublisherClient, "finish"),
}


class Stages:
    """Which stages the present scan has reached; one per process."""

    def __init__(self) -> None:
        self._reached = {stage: gevent.event.Event() for stage in _PLACES}
        for stage, (owner, method) in _PLACES.items():
            setattr(owner, method, self._watched(stage, getattr(owner, method)))

    def _watched(self, stage: str, call: Any) -> Any:
        @functools.wraps(call)
        def noted(*args: Any, **kwargs: Any) -> Any:
            if stage != "reading" or args[1].received > 0:
                self._reached[stage].set()
            return call(*args, **kwargs)

        return noted

    def clear(self) -> None:
        """A new scan begins."""
        for event in self._reached.values():
            event.clear()

    def wait(self, stage: str, scan: gevent.Greenlet, timeout_s: float) -> str:
        """Return at the stage, or when the scan ends or time is up without it; says which."""
        if stage == "any":
            return stage
        try:
            with gevent.Timeout(timeout_s):
                gevent.wait([self._reached[stage], scan], count=1)
        except gevent.Timeout:
            return "no such stage"
        return stage if self._reached[stage].is_set() else "after the scan"
