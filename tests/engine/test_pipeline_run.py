"""One acquisition on one receiver: order, counts, results, stores, saving, errors, end."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest

from lima2_bliss.contract import (
    AcquisitionError,
    DeviceTimeoutError,
    FrameFlags,
    NoLongerAvailableError,
    SavingError,
    StateError,
)
from lima2_receivers.engine import processed_pool_size
from lima2_receivers.engine.plugin import FrameItem, FrameOutput


def reconciles(status) -> bool:
    counts = status.counts
    return counts.received + counts.lost == counts.processed + counts.invalid + counts.waiting


def test_every_frame_gets_rows_and_counts_in_order(make_run):
    bench = make_run(nb_frames=300)
    bench.give(300)
    status = bench.end()
    assert status.state == "finished"
    assert status.source_done
    assert (status.counts.expected, status.counts.received, status.counts.processed) == (300, 300, 300)
    assert (status.counts.lost, status.counts.invalid, status.counts.waiting) == (0, 0, 0)
    assert status.last_index == 299
    events = bench.run.log.read("frame_event", 0)
    assert events["frame_idx"].tolist() == list(range(300))
    assert (events["processed_ns"] >= events["received_ns"]).all()
    assert bench.run.log.read("roi_statistics", 0)["avg"].tolist() == list(range(300))
    assert bench.run.log.read("frame_idx", 0)["recv_idx"].tolist() == list(range(300))


def test_workers_with_random_delays_commit_in_local_order(make_run, doubles):
    delays = random.Random(3)

    def dawdle(item):
        time.sleep(delays.random() * 0.004)
        return item

    busy = threading.Lock()

    def alone(item):
        assert busy.acquire(blocking=False), "two ordered nodes at the same time"
        doubles.statistics(item)
        busy.release()
        return item

    bench = make_run(
        rank=1,
        receivers=3,
        processing={"thread": {"nb_threads": 4}},
        make_graph=lambda setup: doubles.graph(setup, parallel=(doubles.Step(dawdle),), ordered=(doubles.Step(alone),)),
    )
    bench.give(200)
    status = bench.end()
    assert status.counts.processed == 200
    assert bench.run.log.read("frame_event", 0)["frame_idx"].tolist() == [3 * local + 1 for local in range(200)]


def test_a_lost_frame_is_a_marked_hole_everywhere(make_run, doubles):
    writer = doubles.MemoryWriter()
    bench = make_run(writers={"frame": writer})
    bench.give(2)
    bench.lose()
    bench.give(1)
    status = bench.end()
    assert (status.counts.received, status.counts.lost, status.counts.processed, status.counts.invalid) == (3, 1, 3, 1)
    assert status.counts.saved == 4
    assert np.isnan(bench.run.log.read("roi_statistics", 0)["avg"]).tolist() == [False, False, True, False]
    assert bench.run.log.read("frame_event", 0)["flags"].tolist() == [0, 0, FrameFlags.LOST, 0]
    assert [entry[1] for entry in writer.written] == [0, 1, None, 3]
    with pytest.raises(LookupError, match=r"no pixels.*LOST"), bench.run.stores["frame"].lease(2):
        pass
    with bench.run.stores["frame"].lease(-1) as (pixels, meta):
        assert (pixels[0, 0, 0], meta.index) == (3, 3)


def test_frames_missing_at_the_cut_become_holes(make_run):
    bench = make_run(nb_frames=10)
    bench.give(3)
    status = bench.end(total_local=5)
    assert (status.counts.received, status.counts.lost, status.counts.invalid) == (3, 2, 2)
    assert bench.run.log.length("frame_event") == 5


def test_a_full_ring_refuses_and_each_overrun_is_counted(make_run, doubles):
    gate = threading.Event()

    def hold(item):
        assert gate.wait(doubles.WAIT_S)
        return doubles.statistics(item)

    bench = make_run(
        processing={"fifo": {"nb_fifo_frames": 4}, "buffers": {"nb_frames_buffer": 3, "nb_input_frames_buffer": 2}},
        make_graph=lambda setup: doubles.graph(setup, ordered=(doubles.Step(hold),)),
    )
    delivered = 0
    while (buffer := bench.run.reserve()) is not None:
        bench.run.deliver(buffer, bench.meta())
        delivered += 1
        assert delivered < 1000
    assert delivered >= 4 + 3  # fifo + store
    for _ in range(5):
        assert bench.run.reserve() is None
        bench.lose(FrameFlags.LOST | FrameFlags.OVERRUN)
    status = bench.run.status()
    assert (status.counts.received, status.counts.lost, status.counts.overrun) == (delivered, 5, 5)
    assert status.counts.waiting == delivered + 5
    gate.set()
    bench.give(2)
    status = bench.end()
    assert (status.counts.processed, status.counts.invalid) == (delivered + 2, 5)
    assert reconciles(status)


def test_full_stores_never_starve_the_source(make_run):
    bench = make_run(
        processing={"fifo": {"nb_fifo_frames": 2}, "buffers": {"nb_frames_buffer": 5, "nb_input_frames_buffer": 7}}
    )
    for _ in range(100):
        bench.give(1)
        bench.run.wait(lambda status: not status.counts.waiting, 10)
    assert bench.run.reserve() is not None
    assert bench.run.stores["input_frame"].indices() == list(range(93, 100))
    assert bench.run.stores["frame"].indices() == list(range(95, 100))


def accumulating_graph(doubles, depth):
    """Sums ``depth`` frames into a buffer of its own; a hole makes the sum INCOMPLETE."""

    def make(setup):
        info = type(setup.input)(1, setup.input.height, setup.input.width, np.dtype("<u4"))
        pool = setup.allocate(info, processed_pool_size(4, 2, 1))
        state = {"count": 0, "sum": None, "flags": FrameFlags.GOOD, "local": 0}

        def accumulate(item):
            if state["count"] == 0:
                state["sum"] = pool.take()
                state["sum"].data[...] = 0
                state["flags"] = FrameFlags.GOOD
            if item.buffer is None:
                state["flags"] = FrameFlags.INCOMPLETE
            else:
                state["sum"].data[...] += item.pixels
            state["count"] += 1
            if state["count"] < depth:
                return None
            state["count"] = 0
            meta = type(item.meta)(state["local"], state["local"], item.meta.timestamp_ns, state["flags"])
            state["local"] += 1
            return FrameItem(meta, state["sum"])

        outputs = {"input_frame": FrameOutput(setup.input, 4), "frame": FrameOutput(info, 4)}
        return doubles.graph(
            setup,
            ordered=(doubles.Step(accumulate), doubles.Step(doubles.statistics)),
            outputs=outputs,
            accumulation=depth,
        )

    return make


def test_accumulation_gives_one_output_frame_for_several_input_frames(make_run, doubles):
    bench = make_run(
        processing={"accumulation": {"enabled": True, "nb_frames": 3}, "fifo": {"nb_fifo_frames": 2}},
        make_graph=accumulating_graph(doubles, 3),
    )
    bench.give(4)
    bench.lose()
    bench.give(55)
    status = bench.end()
    assert (status.counts.received, status.counts.lost) == (59, 1)
    assert (status.counts.processed, status.counts.invalid, status.counts.waiting) == (19, 1, 0)
    sums = bench.run.log.read("roi_statistics", 0)["avg"]
    assert sums[0] == 0 + 1 + 2
    assert sums[1] == 3 + 5
    assert sums[19] == 57 + 58 + 59
    assert bench.run.log.read("frame_event", 0)["frame_idx"].tolist() == list(range(20))
    with bench.run.stores["input_frame"].lease(59) as (pixels, _):
        assert pixels[0, 0, 0] == 59


def test_a_failing_node_ends_the_acquisition_and_names_receiver_node_and_frame(make_run, doubles):
    def broken(item):
        if item.meta.index == 3:
            raise ZeroDivisionError("oops")
        return doubles.statistics(item)

    writer = doubles.MemoryWriter()
    bench = make_run(
        writers={"frame": writer},
        make_graph=lambda setup: doubles.graph(setup, ordered=(doubles.Step(broken, "peaks"),)),
    )
    errors = []
    bench.run.on_error(errors.append)
    bench.give(3)
    bench.run.wait(lambda status: status.counts.processed == 3, 10)
    bench.give(1)
    assert bench.run.finished.wait(10)
    status = bench.run.status()
    assert status.state == "failed"
    assert "fake_1" in status.error
    assert "node peaks failed on frame 3: ZeroDivisionError: oops" in status.error
    assert [str(error) for error in errors] == [str(bench.run.error)]
    assert [entry[0] for entry in writer.written] == [0, 1, 2]
    assert writer.closed == 1
    with pytest.raises(AcquisitionError, match="aborted"):
        bench.run.reserve()


def test_a_saving_failure_ends_the_acquisition_and_closes_the_file(make_run, doubles):
    writer = doubles.MemoryWriter(fail_at=4)
    bench = make_run(writers={"frame": writer})
    with pytest.raises(AcquisitionError, match="aborted"):  # noqa: PT012
        for _ in range(1000):
            bench.give(1)
            time.sleep(0.001)
    assert bench.run.finished.wait(10)
    assert isinstance(bench.run.error, SavingError)
    assert "No space left" in bench.run.status().error
    assert (writer.saved, writer.closed) == (4, 1)
    assert bench.run.log.length("frame_event") >= 4


def test_rows_are_told_before_the_frame_is_saved(make_run, doubles):
    gate = threading.Event()
    writer = doubles.MemoryWriter(gate=gate)
    bench = make_run(writers={"frame": writer})
    told = threading.Event()
    bench.run.subscribe(lambda: told.set() if bench.run.log.length("frame_event") == 1 else None)
    bench.give(1)
    assert told.wait(10)
    assert writer.saved == 0
    gate.set()
    assert bench.end().counts.saved == 1


def test_slow_saving_is_bounded_by_the_buffers(make_run, doubles):
    gate = threading.Event()
    writer = doubles.MemoryWriter(gate=gate)
    bench = make_run(
        writers={"frame": writer},
        processing={"fifo": {"nb_fifo_frames": 4}, "buffers": {"nb_frames_buffer": 1, "nb_input_frames_buffer": 1}},
    )
    delivered = 0
    while (buffer := bench.run.reserve(0.1)) is not None:
        bench.run.deliver(buffer, bench.meta())
        delivered += 1
        assert delivered < 1000
    gate.set()
    status = bench.end()
    assert status.counts.saved == status.counts.processed == delivered


def test_the_end_is_told_when_all_is_saved_and_closed(make_run, doubles):
    writer = doubles.MemoryWriter()
    bench = make_run(writers={"frame": writer})
    seen = []
    bench.run.on_finished(lambda: seen.append((writer.saved, writer.closed, bench.run.status().state)))
    bench.give(20)
    status = bench.end()
    assert seen == [(20, 1, "finished")]
    assert (status.files, status.saved_contiguous) == (1, 20)
    bench.run.on_finished(lambda: seen.append("late"))
    assert seen[-1] == "late"


def test_the_revision_grows_with_every_processed_frame(make_run):
    bench = make_run()
    revisions = []
    for _ in range(10):
        bench.give(1)
        revisions.append(bench.run.wait(lambda status: not status.counts.waiting, 10).revision)
    assert revisions == sorted(set(revisions))


def test_a_failing_or_gone_subscriber_harms_nobody(make_run):
    bench = make_run()
    calls = []
    called = threading.Event()
    bench.run.subscribe(lambda: 1 // 0)
    unsubscribe = bench.run.subscribe(lambda: (calls.append(1), called.set()))
    bench.give(1)
    assert called.wait(10)
    unsubscribe()
    unsubscribe()
    before = len(calls)
    bench.give(5)
    assert bench.end().counts.processed == 6
    assert before == len(calls) > 0


def test_abort_drops_what_is_not_processed_but_saves_the_rest(make_run, doubles):
    gate = threading.Event()

    def hold(item):
        if item.meta.index == 5:
            assert gate.wait(doubles.WAIT_S)
        return doubles.statistics(item)

    writer = doubles.MemoryWriter()
    bench = make_run(
        writers={"frame": writer}, make_graph=lambda setup: doubles.graph(setup, ordered=(doubles.Step(hold),))
    )
    bench.give(20)
    bench.run.wait(lambda status: status.counts.processed == 5, 10)
    bench.run.abort(AcquisitionError("enough"))
    assert not bench.run.finished.is_set()
    with pytest.raises(StateError, match="not finished"):
        bench.run.erase()
    gate.set()
    assert bench.run.finished.wait(10)
    status = bench.run.status()
    assert status.state == "failed"
    assert status.counts.saved == status.counts.processed + status.counts.invalid
    assert status.counts.processed <= 6
    assert writer.closed == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_all_buffers_come_back_whatever_happens(make_run, doubles, threads):
    def sometimes(item):
        if item.meta.index == 40:
            raise ValueError("bad frame")
        return item

    bench = make_run(
        processing={"thread": {"nb_threads": threads}},
        writers={"frame": doubles.MemoryWriter(fail_at=20)},
        make_graph=lambda setup: doubles.graph(setup, parallel=(doubles.Step(sometimes),)),
    )
    with pytest.raises(AcquisitionError):
        bench.give(1000)
    assert bench.run.finished.wait(10)
    bench.run.erase()
    assert bench.memory.used_bytes == 0
    with pytest.raises(NoLongerAvailableError, match="erased"), bench.run.stores["frame"].lease():
        pass


def test_a_source_out_of_order_is_refused(make_run):
    bench = make_run(nb_frames=3)
    bench.give(1)
    bench.local = 5
    with pytest.raises(AcquisitionError, match=r"local frame 5.*where 1 was due"):
        bench.give(1)
    bench.local = 1
    bench.give(2)
    with pytest.raises(AcquisitionError, match="only 3 are expected"):
        bench.give(1)


def test_rows_of_the_wrong_shape_are_refused(make_run, doubles):
    def two_rows(item):
        doubles.statistics(item)
        item.rows["roi_statistics"] = np.repeat(item.rows["roi_statistics"], 2)
        return item

    bench = make_run(make_graph=lambda setup: doubles.graph(setup, ordered=(doubles.Step(two_rows),)))
    bench.give(1)
    assert bench.run.finished.wait(10)
    assert "roi_statistics got (2,) rows" in str(bench.run.error)


def test_wait_gives_up_in_time(make_run):
    bench = make_run()
    with pytest.raises(DeviceTimeoutError, match=r"in 0\.05 s"):
        bench.run.wait(lambda status: status.counts.received == 1, 0.05)


def test_a_parallel_node_may_take_buffers_with_any_number_of_threads(make_run, doubles):
    def make(setup):
        pool = setup.allocate(setup.input, processed_pool_size(2, 2, setup.processing.thread.nb_threads))

        def double(item):
            if item.buffer is not None:
                buffer = pool.take(5.0)
                np.multiply(item.pixels, 2, out=buffer.data)
                if item.meta.index % 7 == 0:
                    time.sleep(0.003)
                item.replace(buffer)
            return item

        outputs = {"input_frame": FrameOutput(setup.input, 2), "frame": FrameOutput(setup.input, 2)}
        return doubles.graph(setup, parallel=(doubles.Step(double),), outputs=outputs)

    bench = make_run(processing={"thread": {"nb_threads": 6}, "fifo": {"nb_fifo_frames": 2}}, make_graph=make)
    bench.give(300)
    assert bench.end().counts.processed == 300
    assert bench.run.log.read("roi_statistics", 0)["avg"].tolist() == [2 * index for index in range(300)]
