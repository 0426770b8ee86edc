"""Dispatch maths: every frame has exactly one place, and the way back leads to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ParameterError, RoundRobin

topologies = st.builds(RoundRobin, st.integers(1, 9), st.integers(1, 7))


@given(topologies, st.integers(0, 10**9))
def test_the_way_back_from_receiver_and_local_index_gives_the_global_index(dispatch: RoundRobin, index: int) -> None:
    receiver, local = dispatch.locate(index)
    assert 0 <= receiver < dispatch.receivers
    assert dispatch.global_index(receiver, local) == index


@given(topologies, st.integers(0, 300))
def test_each_receiver_gets_its_frames_in_order_and_none_twice(dispatch: RoundRobin, total: int) -> None:
    seen: list[list[int]] = [[] for _ in range(dispatch.receivers)]
    for index in range(total):
        receiver, local = dispatch.locate(index)
        seen[receiver].append(local)
    for receiver, locals_ in enumerate(seen):
        assert locals_ == list(range(dispatch.count(receiver, total)))


@given(topologies, st.integers(0, 300), st.data())
def test_contiguous_counts_only_frames_that_are_there(dispatch: RoundRobin, total: int, data: st.DataObject) -> None:
    counts = [
        data.draw(st.integers(0, dispatch.count(receiver, total) if total else 0))
        for receiver in range(dispatch.receivers)
    ]
    contiguous = dispatch.contiguous(counts)
    for index in range(contiguous):
        receiver, local = dispatch.locate(index)
        assert local < counts[receiver]
    receiver, local = dispatch.locate(contiguous)
    assert local >= counts[receiver]


def test_one_receiver_is_the_single_topology() -> None:
    assert RoundRobin(1).name == "single"
    assert RoundRobin(2).name == "round_robin"


@pytest.mark.parametrize(("receivers", "block"), [(0, 1), (1, 0), (-1, 1)])
def test_impossible_dispatch_is_refused(receivers: int, block: int) -> None:
    with pytest.raises(ParameterError, match="must be >= 1"):
        RoundRobin(receivers, block)
