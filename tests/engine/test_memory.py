"""Frame memory: one budget, clear refusals, memory used again."""

from __future__ import annotations

import os
import weakref

import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.engine import MemoryManager
from lima2_receivers.engine.host_memory import default_budget_bytes, usable_bytes


def test_the_budget_holds_and_the_refusal_says_who_uses_it(doubles):
    size = doubles.INFO.nbytes
    memory = MemoryManager(10 * size)
    memory.account("first").allocate(doubles.INFO, 6)
    second = memory.account("second")
    with pytest.raises(ParameterError, match=r"second need.*\(5 of .*first: .*wait until these.*fewer buffers"):
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


def test_an_acquisition_gets_all_its_memory_or_nothing_and_nothing_is_released_in_vain(doubles):
    size = doubles.INFO.nbytes
    old = []
    memory = MemoryManager(
        10 * size, lambda: old and (old.pop().release() or True), lambda: sum(account.nbytes for account in old)
    )
    running = memory.account("running").allocate(doubles.INFO, 4)
    old.append(memory.account("old"))
    old[0].allocate(doubles.INFO, 5)
    new = memory.account("new", at_once=False)
    pools = [new.allocate(doubles.INFO, 4), new.allocate(doubles.INFO, 3)]
    with pytest.raises(ParameterError, match=r"new need .*\(4 of .*, 3 of ") as refused:
        new.commit()
    assert refused.value.errinfo == {
        "memory_needed": str(7 * size),
        "memory_free": str(size),
        "memory_budget": str(10 * size),
    }
    assert (len(old), memory.used_bytes, pools[0].bound) == (1, 9 * size, False)
    new.release()
    small = memory.account("small", at_once=False)
    pools = [small.allocate(doubles.INFO, 4), small.allocate(doubles.INFO, 2)]
    assert pools[0].acquire() is None
    small.commit()
    assert (old, memory.used_bytes, running.bound) == ([], 10 * size, True)
    assert pools[0].acquire() is not None


def test_the_default_budget_is_half_of_what_the_process_may_use(tmp_path):
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("1:cpu:/old\n0::/system.slice/receiver.service\n")
    service = tmp_path / "system.slice" / "receiver.service"
    service.mkdir(parents=True)
    (service / "memory.max").write_text("max\n")
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert usable_bytes(cgroup, tmp_path) == physical
    assert usable_bytes(tmp_path / "none", tmp_path) == physical
    (service.parent / "memory.max").write_text("1048576\n")
    assert usable_bytes(cgroup, tmp_path) == 1 << 20
    assert default_budget_bytes() == usable_bytes() // 2
