"""Buffers: never more than there are, never one for two."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lima2_bliss.contract import AcquisitionError, StateError
from lima2_receivers.engine import BufferPool


def test_references_keep_the_pool_invariants(doubles):
    class Holders(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.pool = BufferPool(doubles.INFO, 4)
            self.held: dict = {}  # buffer -> references

        @rule()
        def acquire(self):
            buffer = self.pool.acquire()
            if len(self.held) == 4:
                assert buffer is None
            else:
                assert buffer not in self.held
                self.held[buffer] = 1

        @precondition(lambda self: self.held)
        @rule(data=st.data())
        def retain(self, data):
            buffer = data.draw(st.sampled_from(list(self.held)))
            assert buffer.retain() is buffer
            self.held[buffer] += 1

        @precondition(lambda self: self.held)
        @rule(data=st.data())
        def release(self, data):
            buffer = data.draw(st.sampled_from(list(self.held)))
            buffer.release()
            self.held[buffer] -= 1
            if not self.held[buffer]:
                del self.held[buffer]
                with pytest.raises(StateError, match="more often"):
                    buffer.release()
                with pytest.raises(StateError, match="free"):
                    buffer.retain()

        @invariant()
        def all_accounted_for(self):
            assert self.pool.free + len(self.held) == self.pool.total == 4
            assert len({buffer.place for buffer in self.held}) == len(self.held)

    Holders.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
    Holders.TestCase("runTest").runTest()


def test_the_place_freed_last_is_used_first(doubles):
    pool = BufferPool(doubles.INFO, 100)
    first = pool.acquire()
    first.release()
    assert pool.acquire() is first


def test_waiting_for_a_place_ends_when_one_comes_free(doubles):
    pool = BufferPool(doubles.INFO, 1)
    held = pool.acquire()
    release = threading.Timer(0.05, held.release)
    release.start()
    assert pool.acquire(timeout_s=5) is held
    release.join()


def test_a_node_that_gets_no_buffer_fails_with_what_to_do(doubles):
    pool = BufferPool(doubles.INFO, 1)
    pool.take()
    with pytest.raises(AcquisitionError, match=r"none of the 1 buffers.*0\.02 s.*nb_frames_buffer"):
        pool.take(0.02)


def test_an_interrupted_pool_wakes_who_waits(doubles):
    pool = BufferPool(doubles.INFO, 1)
    held = pool.take()
    interrupt = threading.Timer(0.05, pool.interrupt)
    interrupt.start()
    with pytest.raises(AcquisitionError, match="aborted"):
        pool.take(20)
    interrupt.join()
    held.release()
    assert pool.acquire() is None


def test_a_retired_pool_reports_once_when_the_last_holder_lets_go(doubles):
    pool = BufferPool(doubles.INFO, 2)
    held = pool.take()
    empty = []
    pool.retire(empty.append)
    assert empty == []
    held.release()
    assert empty == [pool]
