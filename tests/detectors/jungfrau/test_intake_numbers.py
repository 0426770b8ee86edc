"""Frame numbers and places: the intake counts as the dispatch does, whatever comes first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_rig import Rig, datagram, make_config, whole

from lima2_bliss.contract import ParameterError, RoundRobin
from lima2_receivers.detectors.jungfrau.intake.placing import sequence
from lima2_receivers.detectors.jungfrau.intake.state import BLOCK, END, FIRST, FLOOR, MAX_JUMP, PERIOD, make_shared

BEFORE, NOT_ITS = -1, -2


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_places_of_frame_numbers_are_those_of_the_dispatch(data):
    receivers, block = data.draw(st.integers(1, 32)), data.draw(st.integers(1, 40))
    rank, first = data.draw(st.integers(0, receivers - 1)), data.draw(st.integers(0, 1 << 48))
    config = make_config(stride=receivers, block=block, phase=rank, first_number=first)
    control = make_shared(config).control
    assert (control[PERIOD], control[BLOCK]) == (config.period, config.own_block)
    control[FIRST] = first + rank * config.own_block
    index = data.draw(st.integers(0, 5000))
    control[END] = end = data.draw(st.sampled_from([1 << 62, 3, 100]))
    control[FLOOR] = floor = data.draw(st.integers(0, 200))
    receiver, local = RoundRobin(receivers, block).locate(index)
    expected = local if receiver == rank and local < end and local - floor <= control[MAX_JUMP] else NOT_ITS
    if receiver != rank and first + index < control[FIRST]:
        expected = BEFORE
    assert sequence(np.uint64(first + index), control) == expected
    if first:
        assert sequence(np.uint64(first - 1), control) == BEFORE
    assert sequence(np.uint64(2**64 - 1 - index), control) == NOT_ITS


def test_blocks_of_frames_keep_their_places_also_where_some_are_lost():
    config = make_config(stride=3, block=2, phase=1, reorder_frames=0)
    dispatch = RoundRobin(3, 2)
    with Rig(config, frames=6, first_number=100) as rig:
        rig.send(datagram(100, config.ports[0], 0))  # of the first receiver
        for local in (0, 1, 3, 5):
            rig.send_frame(100 + dispatch.global_index(1, local))
        rig.finish()
    assert [frame.number for frame, _ in rig.frames] == [102, 103, 108, 109, 114, 115]
    assert [frame.complete for frame, _ in rig.frames] == [True, True, False, True, False, True]
    np.testing.assert_array_equal(rig.frames[3][1], whole(config, 109))
    assert rig.counts.packets.late == 1


def test_the_first_number_may_come_when_ports_are_open_already():
    config = make_config(phase=0)
    rig = Rig(config, frames=2, first_number=40)
    rig.send_frame(40)
    rig.send_frame(41)
    with rig:
        rig.finish()
    assert [frame.number for frame, _ in rig.frames] == [40, 41]
    np.testing.assert_array_equal(rig.frames[1][1], whole(config, 41))


@pytest.mark.parametrize("given", [{}, {"phase": 1}])
def test_blocks_of_several_receivers_cannot_be_learned(given):
    config = make_config(stride=2, block=4, **given)
    rig = Rig(config)
    with rig:
        rig.finish()
        error, rig.error = rig.error, None
    assert isinstance(error, ParameterError)
    assert "4 frames in a row" in str(error)


def test_one_receiver_learns_whatever_the_block():
    config = make_config(block=4, phase=0)
    with Rig(config, frames=2) as rig:
        rig.send_frame(9)
        rig.send_frame(10)
        rig.finish()
    assert [frame.number for frame, _ in rig.frames] == [9, 10]


def test_a_stop_with_a_cut_takes_what_waits_in_the_socket():
    """The grace counts from when nothing more is to be read, not from the stop."""
    config = make_config(first_number=1, grace_s=0.0)
    rig = Rig(config)
    for number in (1, 2, 3):
        rig.send_frame(number)
    rig.intake.stop(3)
    with rig:
        rig.finish()
    assert [frame.complete for frame, _ in rig.frames] == [True] * 3


def test_a_stop_in_a_given_time_ends_then_even_when_frames_still_come():
    config = make_config(first_number=1, grace_s=60.0)
    with Rig(config) as rig:
        rig.send_frame(1)
        rig.received()
        rig.intake.stop(5)
        rig.intake.stop(within_s=0.05)
        rig.finish()
    assert [frame.complete for frame, _ in rig.frames] == [True, False, False, False, False]


def test_what_waits_is_learned_from_also_when_the_end_is_known():
    config = make_config(grace_s=0.0)
    rig = Rig(config)
    rig.send_frame(12)
    rig.intake.stop(1)
    with rig:
        rig.finish()
    assert [(frame.number, frame.complete) for frame, _ in rig.frames] == [(12, True)]
