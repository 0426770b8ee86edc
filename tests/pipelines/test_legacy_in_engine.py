"""The legacy pipeline on the engine's threads: order, counts, holes and buffers with real back-pressure."""

import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin
from lima2_receivers.engine import MemoryManager, PipelineRun
from lima2_receivers.pipelines.legacy import PIPELINE
from lima2_receivers.pipelines.trial import trial_setup

INFO = FrameInfo(1, 40, 50, np.dtype("u2"))
RANK, DEPTH, FRAMES, WAIT_S = 1, 3, 60, 10.0


@pytest.fixture
def start_run():
    started = []

    def start(processing: dict, block: int) -> PipelineRun:
        account = MemoryManager(1 << 30).account("trial")
        acquisition = {"acq": {"nb_frames": 2 * FRAMES}, "img": {"binning": {"x": 2, "y": 2}, "rotation": "90cw"}}
        small = {"fifo": {"nb_fifo_frames": 4}, "buffers": {"nb_frames_buffer": 5, "nb_input_frames_buffer": 3}}
        setup = trial_setup(
            PIPELINE, INFO, processing | small, acquisition, RANK, RoundRobin(2, block), allocate=account.allocate
        )
        PIPELINE.check(setup)
        run = PipelineRun("receiver", PIPELINE.tango_class, setup, PIPELINE.build(setup), account)
        started.append(run)
        run.start()
        return run

    yield start
    for run in started:
        run.abort()
        assert run.finished.wait(WAIT_S)
        run.erase()


def feed(run: PipelineRun, lost: set[int]) -> None:
    """All frames of this receiver; the pixels of local frame n are n."""
    for local in range(FRAMES):
        meta = FrameMeta(run.setup.dispatch.global_index(RANK, local), local)
        if local in lost:
            meta.flags = FrameFlags.LOST
            run.lost(meta)
            continue
        buffer = run.reserve(WAIT_S)
        assert buffer is not None
        buffer.data[...] = local
        run.deliver(buffer, meta)
    run.close_input()
    assert run.finished.wait(WAIT_S)


def roi(width: int, height: int) -> dict:
    return {"statistics": {"rect_rois": [{"topleft": {"x": 0, "y": 0}, "dimensions": {"x": width, "y": height}}]}}


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_come_out_in_order_with_their_statistics(start_run, threads):
    run = start_run(roi(20, 25) | {"thread": {"nb_threads": threads}}, 1)
    feed(run, lost={7, 8})
    status = run.status()
    assert (status.state, status.counts.processed, status.counts.invalid) == ("finished", FRAMES - 2, 2)
    rows = run.log.read("roi_statistics", 0)
    assert rows["frame_idx"].tolist() == [2 * local + 1 for local in range(FRAMES)]
    expected = [np.nan if local in (7, 8) else 4.0 * local for local in range(FRAMES)]
    np.testing.assert_array_equal(rows["avg"], expected)
    with run.stores["frame"].lease(-1) as (pixels, meta):
        assert pixels.shape == (1, 25, 20)
        assert (pixels == 4 * (FRAMES - 1)).all()
        assert meta.index == 2 * FRAMES - 1


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_have_their_own_numbers_and_one_row_each(start_run, threads):
    accumulation = {"accumulation": {"enabled": True, "nb_frames": DEPTH}}
    run = start_run(roi(20, 25) | accumulation | {"thread": {"nb_threads": threads}}, DEPTH)
    feed(run, lost={4})
    status = run.status()
    assert (status.state, status.counts.processed, status.counts.invalid) == ("finished", FRAMES // DEPTH - 1, 1)
    rows = run.log.read("roi_statistics", 0)
    assert rows["frame_idx"].tolist() == [2 * local + 1 for local in range(FRAMES // DEPTH)]
    sums = [4.0 * sum(n for n in range(first, first + DEPTH) if n != 4) for first in range(0, FRAMES, DEPTH)]
    np.testing.assert_array_equal(rows["max"], sums)


def test_a_count_rate_that_is_too_high_fails_the_run_with_the_pixel_in_its_error(start_run):
    protection = {"max_countrate_protection": {"enabled": True, "max_countrate": 200}}  # 100 ms: 20 counts
    run = start_run(protection | {"thread": {"nb_threads": 2}}, 1)
    buffer = run.reserve(WAIT_S)
    buffer.data[...] = 0
    buffer.data[0, 30, 40] = 21
    run.deliver(buffer, FrameMeta(1, 0))
    assert run.finished.wait(WAIT_S)
    assert run.status().state == "failed"
    assert "x=40 y=30 of frame 1 has 21 counts" in run.error.what
