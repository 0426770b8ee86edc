"""Waiting for scans that are still being saved, and what is told of those that were not."""

from __future__ import annotations

from types import SimpleNamespace

import gevent
import gevent.event
import pytest

from lima2_bliss.contract import DeviceTimeoutError, ParameterError, SavingError
from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.unsaved_scans import UnsavedScans

SHORT = ParameterError("no room", memory_needed=7)


def saving_run(uuid="one", error=None):
    return SimpleNamespace(saved=gevent.event.Event(), outcome=Outcome(uuid, 10), error=error, images_saved=3)


def unsaved(*runs, **options):
    scans = UnsavedScans("det", {"one": "7: take"}, **options)
    scans._at_exit = True
    for run in runs:
        scans.add(run)
    return scans


def test_the_next_scan_begins_while_no_more_than_so_many_are_saved():
    first, second = saving_run(), saving_run("two")
    scans = unsaved(first, second)
    assert scans.prepare(2, lambda: "prepared") == "prepared"
    assert scans.uuids() == ["one", "two"]
    gevent.spawn(first.saved.set)
    assert scans.prepare(1, lambda: scans.uuids()) == ["two"]
    gevent.spawn(second.saved.set)
    assert scans.prepare(0, lambda: len(scans)) == 0


def test_memory_that_is_short_is_waited_for_as_long_as_something_is_saved():
    first = saving_run()
    scans = unsaved(first)
    asked = []

    def prepare():
        asked.append(len(scans))
        if len(scans):
            gevent.spawn(first.saved.set)
            raise SHORT
        return "prepared"

    assert scans.prepare(3, prepare) == "prepared"
    assert asked == [1, 0]
    with pytest.raises(ParameterError, match="no room"):
        scans.prepare(3, lambda: (_ for _ in ()).throw(SHORT))
    with pytest.raises(ParameterError, match="wrong"):
        unsaved(saving_run()).prepare(3, lambda: (_ for _ in ()).throw(ParameterError("wrong")))


def test_a_scan_that_was_not_saved_is_told_twice(caplog):
    run = saving_run(error=SavingError("disk full"))
    scans = unsaved(run)
    run.saved.set()
    gevent.sleep(0)
    scans.prepare(0, lambda: None)
    scans.prepare(0, lambda: None)
    assert [record.getMessage() for record in caplog.records] == [
        "det: the images of scan 7: take are not all saved: disk full",
        "det: before this scan, the images of scan 7: take are not all saved: disk full",
    ]


def test_no_wait_is_without_end():
    with pytest.raises(DeviceTimeoutError, match=r"3 of 10 images of scan 7: take are saved after 0 s; see det"):
        unsaved(saving_run()).wait(timeout_s=0.0)
    with pytest.raises(DeviceTimeoutError, match="nothing was saved for 0 s"):
        unsaved(saving_run(), stall_s=0.0).wait()
