"""Frame memory: one budget, clear refusals, memory used again."""

from __future__ import annotations

import weakref

import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.engine import MemoryManager


def test_the_budget_holds_and_the_refusal_says_who_uses_it(doubles):
    size = doubles.INFO.nbytes
    memory = MemoryManager(10 * size)
    memory.account("first").allocate(doubles.INFO, 6)
    second = memory.account("second")
    with pytest.raises(ParameterError, match=r"5 buffers.*second exceed.*first: .*erase older"):
        second.allocate(doubles.INFO, 5)
    second.allocate(doubles.INFO, 4)
    assert memory.used_bytes == 10 * size


def test_freed_memory_is_used_again(doubles):
    memory = MemoryManager(1 << 20)
    account = memory.account("first")
    pool = account.allocate(doubles.INFO, 6)
    address = pool.memory.ctypes.data
    account.release()
    account.release()
    assert (memory.used_bytes, memory.idle_bytes) == (0, 6 * doubles.INFO.nbytes)
    again = memory.account("second").allocate(doubles.INFO, 5)  # a little less also fits
    assert again.memory.ctypes.data == address
    assert memory.idle_bytes == 0


def test_an_erased_acquisition_that_is_still_referred_to_holds_no_memory(doubles):
    memory = MemoryManager(1 << 20)
    account = memory.account("first")
    pool = account.allocate(doubles.INFO, 6)
    arena = weakref.ref(pool.memory)
    account.release()
    memory.settle()
    memory.settle()
    assert arena() is None
    assert pool.take is not None


def test_memory_that_a_reader_holds_is_not_given_to_another_acquisition(doubles):
    memory = MemoryManager(1 << 20)
    account = memory.account("first")
    held = account.allocate(doubles.INFO, 6).take()
    account.release()
    assert memory.idle_bytes == 0
    assert memory.used_bytes == 6 * doubles.INFO.nbytes
    held.release()
    assert memory.idle_bytes == 6 * doubles.INFO.nbytes
    assert memory.used_bytes == 0


def test_idle_memory_gives_way_to_other_sizes(doubles):
    size = doubles.INFO.nbytes
    memory = MemoryManager(10 * size)
    account = memory.account("first")
    account.allocate(doubles.INFO, 4)
    account.release()
    memory.account("second").allocate(doubles.INFO, 8)
    assert memory.used_bytes + memory.idle_bytes <= 10 * size


def test_memory_that_nobody_uses_goes_back_after_some_prepares(doubles):
    memory = MemoryManager(1 << 20)
    account = memory.account("first")
    account.allocate(doubles.INFO, 4)
    account.release()
    memory.settle()
    assert memory.idle_bytes > 0
    memory.settle()
    assert memory.idle_bytes == 0


def test_room_is_made_before_refusing(doubles):
    size = doubles.INFO.nbytes
    old = []
    memory = MemoryManager(10 * size, lambda: old and (old.pop().release() or True))
    old.append(memory.account("old"))
    old[0].allocate(doubles.INFO, 9)
    memory.account("new").allocate(doubles.INFO, 7)
    assert old == []
    assert memory.used_bytes == 7 * size
