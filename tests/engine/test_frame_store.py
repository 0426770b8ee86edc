"""The last frames, by global index, without harm to the source."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lima2_bliss.contract import (
    FrameFlags,
    FrameMeta,
    NoLongerAvailableError,
    NotAvailableError,
    NotYetAvailableError,
    RoundRobin,
)
from lima2_receivers.engine import BufferPool, FrameStore


@pytest.fixture
def pool(doubles):
    return BufferPool(doubles.INFO, 8)


def put(store, pool, index, local=0):
    buffer = pool.take(0.1)
    buffer.data[...] = index
    store.put(buffer, FrameMeta(index, local))
    buffer.release()


def test_the_last_frames_can_be_had_by_index(pool):
    store = FrameStore(3)
    for index in range(5):
        put(store, pool, index)
    assert store.indices() == [2, 3, 4]
    assert (store.last_index, store.stored) == (4, 3)
    for index, value in ((2, 2), (4, 4), (-1, 4)):
        with store.lease(index) as (pixels, meta):
            assert (pixels[0, 0, 0], meta.index) == (value, value)
    assert pool.free == 5


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (9, NotYetAvailableError, "not there yet; the newest is 7"),
        (1, NoLongerAvailableError, "no longer in memory; the oldest of the 3 kept is 3"),
        (4, NotAvailableError, "frame 4 is on receiver 0, not on receiver 1"),
        (5, NotAvailableError, r"no pixels \(LOST\|OVERRUN\)"),
        (-2, NotAvailableError, "-1 is the newest"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(pool, index, error, text):
    store = FrameStore(3, "frame", RoundRobin(2), rank=1)
    put(store, pool, 1)
    put(store, pool, 3)
    store.put(None, FrameMeta(5, 2, flags=FrameFlags.LOST | FrameFlags.OVERRUN))
    put(store, pool, 7)
    with pytest.raises(error, match=text), store.lease(index):
        pass


def test_an_empty_store_has_no_newest_frame():
    with pytest.raises(NotYetAvailableError, match="no frame with pixels yet"), FrameStore(3).lease():
        pass


def test_a_leased_frame_stays_while_it_leaves_the_store(pool):
    store = FrameStore(1)
    put(store, pool, 0)
    with store.lease(0) as (pixels, _):
        for index in range(1, 20):
            put(store, pool, index)
        assert (pixels == 0).all()
        with pytest.raises(ValueError, match="read-only"):
            pixels[...] = 1
    assert pool.free == 7


def test_many_readers_cannot_take_all_places(pool):
    store = FrameStore(1, max_leases=2)
    with ExitStack() as stack:
        leased = []
        for index in range(20):
            put(store, pool, index)
            leased.append(stack.enter_context(store.lease())[0])
        assert [int(pixels[0, 0, 0]) for pixels in leased] == list(range(20))
        assert pool.free == 8 - 1 - 2
    assert pool.free == 7


def test_a_closed_store_holds_nothing(pool):
    store = FrameStore(3)
    put(store, pool, 0)
    store.close()
    assert pool.free == 8
    with pytest.raises(NoLongerAvailableError, match="erased"), store.lease():
        pass
