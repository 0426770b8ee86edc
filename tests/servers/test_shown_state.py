"""`acq_state` for clients that poll every 50 ms."""

from __future__ import annotations

from lima2_bliss.contract import AcqState
from lima2_receivers.servers.shown_state import ShownState
from lima2_receivers.servers.tango_errors import json_text


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_very_short_acquisition_is_still_seen_running() -> None:
    clock = Clock()
    shown = ShownState(min_busy_s=0.2, clock=clock)
    for state in (AcqState.PREPARED, AcqState.RUNNING, AcqState.IDLE):
        shown.follow(state)
        clock.now += 0.001

    assert shown.state is AcqState.RUNNING
    clock.now += 0.2
    assert shown.state is AcqState.IDLE


def test_a_fault_shows_at_once_and_stays() -> None:
    clock = Clock()
    shown = ShownState(min_busy_s=0.2, clock=clock)
    shown.follow(AcqState.PREPARED)
    shown.follow(AcqState.FAULT)

    assert shown.state is AcqState.FAULT
    clock.now += 10
    assert shown.state is AcqState.FAULT


def test_idle_shows_at_the_start() -> None:
    assert ShownState(clock=Clock()).state is AcqState.IDLE


def test_text_that_tango_decoded_as_latin_1_is_put_right() -> None:
    assert json_text("é€".encode().decode("latin-1")) == "é€"
    assert json_text("plain") == "plain"
    assert json_text("é") == "é"
