"""Frame sources beside the dense frames: sparse frames, accumulated images, variable numbers of result rows, veto."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_bliss.contract import SPOT, AcquisitionError, FrameFlags, FrameMeta, ResultStream, SparseFrame, SparseInfo
from lima2_bliss.contract.parameters import Veto
from lima2_bliss.contract.records import SMX_FRAME, SMX_FRAME_STREAM, SPOTS_STREAM
from lima2_receivers.engine.plugin import FrameItem, FrameOutput, SparseHolder

COUNTING = ResultStream(SMX_FRAME_STREAM, SMX_FRAME, 1)
SPOTS = ResultStream(SPOTS_STREAM, SPOT, None, counted_by=(SMX_FRAME_STREAM, "nb_peaks"))
SPARSE = SparseInfo((4, 6), np.dtype("<u2"), np.arange(3, dtype="f4"), np.ones((4, 6), "f4"))


def find(item):
    """Frame n has n % 4 spots; with 3 it is a hit."""
    number = item.meta.index % 4 if item.buffer is not None else 0
    item.meta.hit = number == 3
    item.rows[SMX_FRAME_STREAM] = np.array([(item.meta.index, item.meta.local, number, number == 3, 0, 0)], SMX_FRAME)
    item.rows[SPOTS_STREAM] = np.zeros(number, SPOT)
    item.rows[SPOTS_STREAM]["frame_idx"] = item.meta.index
    if item.buffer is None:
        item.more["sparse_frame"] = (None, item.meta)
    else:
        pixels = SparseFrame(
            np.arange(number, dtype="i4"),
            np.ones(number, "u2"),
            np.zeros(3, "f4"),
            np.zeros(3, "f4"),
            is_hit=number == 3,
        )
        item.more["sparse_frame"] = (SparseHolder(pixels), item.meta)
    return item


class HandOut:
    """Every third frame hands out a buffer of its own; so does the end."""

    name = "hand out"

    def __init__(self, pool):
        self.pool = pool
        self.number = 0

    def give(self, item):
        buffer = self.pool.take()
        buffer.data[...] = 100 + self.number
        item.more["acc"] = (buffer, FrameMeta(item.meta.index, self.number))
        self.number += 1
        return item

    def process(self, item):
        return self.give(item) if item.meta.local % 3 == 2 else item

    def last(self):
        return self.give(FrameItem(FrameMeta(99, -1), None))


@pytest.fixture
def make_smx_like(make_run, doubles):
    """A run with the sources frame, sparse_frame and acc, and the writers it is given."""

    def make(veto=None, writers=None, **arguments):
        made = []

        def graph(setup):
            pool = setup.allocate(setup.input, 6)
            hand_out = HandOut(pool)
            made.append((pool, hand_out))
            saving = setup.processing.saving
            return doubles.graph(
                setup,
                parallel=(doubles.Step(find),),
                ordered=(hand_out,),
                results=(COUNTING, SPOTS),
                outputs={
                    "frame": FrameOutput(setup.input, 4, saving, veto or Veto()),
                    "sparse_frame": FrameOutput(SPARSE, 5, saving, veto or Veto()),
                    "acc": FrameOutput(setup.input, 2, saving),
                },
                last=hand_out.last,
                close=lambda: made.append("closed"),
            )

        bench = make_run(writers=writers, make_graph=graph, **arguments)
        return bench, made

    return make


class SparseWriter:
    """Keeps (index, number of pixels or None)."""

    def __init__(self):
        self.written = []
        self.complete = (0, 0)

    @property
    def saved(self):
        return len(self.written)

    def write(self, sparse, meta):
        self.written.append((meta.index, None if sparse is None else len(sparse.index), meta.hit))

    def close(self):
        self.complete = (1, self.saved)


def test_each_source_has_its_store_its_files_and_its_counts(make_smx_like, doubles):
    writers = {"frame": doubles.MemoryWriter(), "sparse_frame": SparseWriter(), "acc": doubles.MemoryWriter()}
    bench, made = make_smx_like(writers=writers, nb_frames=10)
    bench.give(10)
    status = bench.end()
    assert status.error == ""
    assert [index for index, *_ in writers["frame"].written] == list(range(10))
    assert writers["sparse_frame"].written == [(n, n % 4, n % 4 == 3) for n in range(10)]
    assert writers["acc"].written == [(2, 100, 0), (5, 101, 0), (8, 102, 0), (99, 103, 0)]
    assert {name: source.saved for name, source in status.sources.items()} == {
        "frame": 10,
        "sparse_frame": 10,
        "acc": 4,
    }
    assert status.sources["sparse_frame"].frame_info["nb_bins"] == 3
    with bench.run.stores["sparse_frame"].lease(7) as (sparse, meta):
        assert isinstance(sparse, SparseFrame)
        assert (meta.index, len(sparse.index), sparse.is_hit) == (7, 3, True)
    with bench.run.stores["acc"].lease(-1) as (pixels, meta):
        assert (meta.index, pixels[0, 0, 0]) == (99, 103)
    pool = made[0][0]
    bench.run.erase()
    assert pool.memory.size == 0 or pool.free == pool.total  # nobody holds a hand-out any more
    assert made[-1] == "closed"


def test_rows_of_another_number_in_each_frame(make_smx_like):
    bench, _ = make_smx_like(nb_frames=9)
    bench.give(3)
    bench.lose()
    bench.give(5)
    bench.end()
    counts = bench.run.log.read(SMX_FRAME_STREAM, 0)["nb_peaks"]
    assert counts.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 0]
    assert bench.run.log.read(SPOTS_STREAM, 0)["frame_idx"].tolist() == [1, 2, 2, 5, 6, 6, 7, 7, 7]
    assert bench.run.log.lengths()[SPOTS_STREAM] == counts.sum()


def test_rows_that_are_not_as_many_as_counted_end_the_acquisition(make_run, doubles):
    def wrong(item):
        find(item)
        item.rows[SPOTS_STREAM] = np.zeros(2, SPOT)
        item.more.clear()
        return item

    bench = make_run(
        make_graph=lambda setup: doubles.graph(setup, ordered=(doubles.Step(wrong),), results=(COUNTING, SPOTS))
    )
    bench.give(1)
    bench.end()
    assert isinstance(bench.run.error, AcquisitionError)
    assert "spots got (2,) rows" in bench.run.error.what


def test_vetoed_frames_are_holes_that_are_counted(make_smx_like, doubles):
    writers = {"frame": doubles.MemoryWriter(), "sparse_frame": SparseWriter()}
    bench, _ = make_smx_like(Veto(save="hits", keep_before=1), writers, nb_frames=10)
    bench.give(9)
    bench.lose()
    status = bench.end()
    kept = [index for index, value, _ in writers["frame"].written if value is not None]
    assert kept == [2, 3, 6, 7]
    vetoed = [index for index, _, flags in writers["frame"].written if flags & FrameFlags.VETOED]
    assert vetoed == [0, 1, 4, 5, 8]
    assert writers["frame"].written[9] == (9, None, FrameFlags.LOST)
    assert [number for _, number, _ in writers["sparse_frame"].written].count(None) == 6
    assert (status.counts.saved, status.counts.vetoed, status.counts.invalid) == (10, 5, 1)
    assert status.counts.saved == status.counts.processed + status.counts.invalid
    assert [event["flags"] for event in bench.run.log.read("frame_event", 0)] == [0] * 9 + [1]


def test_an_abort_saves_what_was_processed(make_smx_like, doubles):
    writers = {"frame": doubles.MemoryWriter(), "acc": doubles.MemoryWriter()}
    bench, _ = make_smx_like(Veto(save="hits", keep_before=3), writers)
    bench.give(5)
    bench.run.wait(lambda status: status.counts.processed == 5, 10)
    bench.run.abort()
    assert bench.run.finished.wait(10)
    assert len(writers["frame"].written) == 5
    assert [index for index, *_ in writers["acc"].written] == [2]
