"""What is allowed in which state, on control and receiver."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lima2_bliss.contract import AcqState, StateError
from lima2_receivers.engine.state_machine import CONTROL_TABLE, RECEIVER_TABLE, StateMachine

IDLE, PREPARED, RUNNING, STOPPED, FAULT = (
    AcqState.IDLE,
    AcqState.PREPARED,
    AcqState.RUNNING,
    AcqState.STOPPED,
    AcqState.FAULT,
)
TO = {
    IDLE: [],
    PREPARED: ["Prepare"],
    RUNNING: ["Prepare", "Start"],
    STOPPED: ["Prepare", "Start", "Stop"],
    FAULT: ["fail"],
}


def machine_in(table, state) -> StateMachine:
    machine = StateMachine(table, "receiver r1")
    for event in TO[state]:
        machine.fire(event)
    assert machine.state is state
    return machine


@pytest.mark.parametrize(
    ("start", "event", "end"),
    [
        (IDLE, "Prepare", PREPARED),
        (PREPARED, "Prepare", PREPARED),
        (PREPARED, "Start", RUNNING),
        (RUNNING, "done", IDLE),
        (RUNNING, "Stop", RUNNING),
        (RUNNING, "fail", FAULT),
        (FAULT, "Stop", FAULT),
        *((state, "Reset", IDLE) for state in (IDLE, PREPARED, RUNNING, FAULT)),
    ],
)
def test_a_receiver_goes_where_clients_expect(start, event, end):
    machine = machine_in(RECEIVER_TABLE, start)
    assert machine.fire(event) is start
    assert machine.state is end


@pytest.mark.parametrize(
    ("start", "event", "end"),
    [
        (IDLE, "Prepare", PREPARED),
        (PREPARED, "Prepare", PREPARED),
        (PREPARED, "Start", RUNNING),
        (RUNNING, "Trigger", RUNNING),
        (RUNNING, "Stop", STOPPED),
        (RUNNING, "fail", FAULT),
        *((state, "Close", IDLE) for state in (IDLE, RUNNING, STOPPED)),
        *((state, "Reset", IDLE) for state in (IDLE, PREPARED, RUNNING, STOPPED, FAULT)),
    ],
)
def test_a_control_goes_where_clients_expect(start, event, end):
    machine = machine_in(CONTROL_TABLE, start)
    machine.fire(event)
    assert machine.state is end


@pytest.mark.parametrize(
    ("table", "start", "event"),
    [
        (RECEIVER_TABLE, RUNNING, "Prepare"),
        (RECEIVER_TABLE, FAULT, "Prepare"),
        (RECEIVER_TABLE, IDLE, "Start"),
        (RECEIVER_TABLE, RUNNING, "Start"),
        (CONTROL_TABLE, STOPPED, "Prepare"),
        (CONTROL_TABLE, IDLE, "Trigger"),
        (CONTROL_TABLE, PREPARED, "Trigger"),
        (CONTROL_TABLE, FAULT, "Close"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(table, start, event):
    machine = machine_in(table, start)
    with pytest.raises(StateError, match=f"receiver r1 is {start.name}: {event} is not allowed.*allowed now: .*Reset"):
        machine.fire(event)
    assert machine.state is start


def test_an_event_that_is_limited_to_states_does_nothing_in_others():
    machine = machine_in(RECEIVER_TABLE, FAULT)
    assert machine.fire("done", when=(RUNNING,)) is FAULT
    assert machine.state is FAULT


@pytest.mark.parametrize("table", [RECEIVER_TABLE, CONTROL_TABLE])
def test_any_walk_stays_in_the_table(table):
    class Walk(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.machine = StateMachine(table, "x")
            self.seen = [AcqState.IDLE]
            self.machine.subscribe(self.seen.append)

        @rule(event=st.sampled_from([event for event in table if event != "terminate"]))
        def fire(self, event):
            before = self.machine.state
            if before in table[event]:
                assert self.machine.allows(event)
                self.machine.fire(event)
                assert self.machine.state is table[event][before]
            else:
                with pytest.raises(StateError):
                    self.machine.fire(event)
                assert self.machine.state is before

        @invariant()
        def told_every_change(self):
            assert self.seen[-1] is self.machine.state
            assert len(self.seen) == self.machine.revision + 1
            assert all(a is not b for a, b in zip(self.seen, self.seen[1:], strict=False))

        @invariant()
        def can_always_reset(self):
            assert self.machine.allows("Reset")

        @invariant()
        def receiver_never_stopped(self):
            assert table is CONTROL_TABLE or self.machine.state is not STOPPED

    Walk.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
    Walk.TestCase("runTest").runTest()


def test_changes_from_many_threads_are_told_in_order():
    machine = StateMachine(RECEIVER_TABLE, "x")
    seen = []
    machine.subscribe(seen.append)

    def toggle():
        for _ in range(200):
            machine.fire("fail")
            machine.fire("Reset")

    threads = [threading.Thread(target=toggle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == machine.revision
    assert seen == [FAULT, IDLE] * (len(seen) // 2)


def test_a_subscriber_may_fire_and_may_leave():
    machine = StateMachine(RECEIVER_TABLE, "x")
    seen = []

    def react(state):
        seen.append(state)
        if state is FAULT:
            machine.fire("Reset")

    unsubscribe = machine.subscribe(react)
    machine.fire("fail")
    assert seen == [FAULT, IDLE]
    unsubscribe()
    machine.fire("fail")
    assert seen == [FAULT, IDLE]
