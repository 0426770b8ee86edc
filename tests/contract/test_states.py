"""The state of the whole follows from the states of the parts."""

from __future__ import annotations

import pytest

from lima2_bliss.contract import AcqState, SystemState, system_state

S = AcqState


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        ([S.IDLE, S.IDLE], SystemState.IDLE),
        ([S.STOPPED, S.IDLE], SystemState.IDLE),
        ([S.PREPARED, S.PREPARED], SystemState.PREPARED),
        ([S.PREPARED, S.IDLE], SystemState.IDLE),
        ([S.RUNNING, S.IDLE, S.IDLE], SystemState.RUNNING),
        ([S.RUNNING, S.FAULT], SystemState.FAULT),
        ([S.RUNNING, S.OFFLINE], SystemState.DISCONNECTED),
        ([], SystemState.DISCONNECTED),
    ],
)
def test_system_state(states: list[AcqState], whole: SystemState) -> None:
    assert system_state(states) is whole


def test_numbers_are_those_that_lima2_clients_expect() -> None:
    assert [state.value for state in S] == list(range(7))
    assert S(4) is S.FAULT
