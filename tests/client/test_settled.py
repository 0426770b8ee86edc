"""A receiver that has just taken its last frame is RUNNING for a moment: it is waited for, not reset."""

from __future__ import annotations

from lima2_bliss.client import preparation
from lima2_bliss.client.preparation import ControlSnapshot, ReceiverSnapshot, Snapshot, settled
from lima2_bliss.contract import AcqState


class Receiver:
    """Tells these states, one after another; the last one stays."""

    def __init__(self, name: str, *states: str) -> None:
        self.name = name
        self._states = list(states)
        self.asked = 0

    def read_here(self, attribute: str) -> list[str]:
        self.asked += 1
        return [self._states.pop(0) if len(self._states) > 1 else self._states[0]]


def snapshot(control: AcqState, *receivers: AcqState) -> Snapshot:
    told = tuple(ReceiverSnapshot(state, "", "", 1, (), ()) for state in receivers)
    return Snapshot(ControlSnapshot(control, "", True), told)


def states(found: Snapshot) -> list[AcqState]:
    return [each.state for each in found.receivers]


def test_only_receivers_that_are_running_are_asked_until_they_are_idle():
    devices = [Receiver("one", "FAULT"), Receiver("two", "RUNNING", "RUNNING", "ON")]
    assert states(settled(snapshot(AcqState.IDLE, AcqState.IDLE, AcqState.RUNNING), devices)) == [AcqState.IDLE] * 2
    assert (devices[0].asked, devices[1].asked) == (0, 3)


def test_one_that_was_left_behind_stays_running(monkeypatch):
    monkeypatch.setattr(preparation, "SETTLE_S", 0.01)
    devices = [Receiver("one", "RUNNING")]
    assert states(settled(snapshot(AcqState.IDLE, AcqState.RUNNING), devices)) == [AcqState.RUNNING]
    assert devices[0].asked > 0


def test_nothing_is_waited_for_while_control_runs_or_a_receiver_has_failed():
    devices = [Receiver("one", "ON"), Receiver("two", "ON")]
    for found in (
        snapshot(AcqState.RUNNING, AcqState.RUNNING, AcqState.RUNNING),
        snapshot(AcqState.IDLE, AcqState.RUNNING, AcqState.FAULT),
    ):
        assert settled(found, devices) == found
    assert [device.asked for device in devices] == [0, 0]
