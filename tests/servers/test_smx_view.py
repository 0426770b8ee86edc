"""What LImA2 clients get of an SMX acquisition, from stores and a log filled by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lima2_bliss.contract import (
    SPOT,
    FrameInfo,
    FrameMeta,
    NoLongerAvailableError,
    NotAvailableError,
    ResultStream,
    RoundRobin,
    SparseFrame,
    SparseInfo,
)
from lima2_bliss.contract.encoding import decode_frame, decode_rows, decode_sparse_frame
from lima2_bliss.contract.records import PEAK_COUNTER, SMX_FRAME
from lima2_bliss.contract.wire import Counts, PipelineStatus, SourceStatus
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.plugin import FrameOutput, SparseHolder
from lima2_receivers.engine.results_log import ResultsLog
from lima2_receivers.servers.processing_smx import pop_peak_counters, smx_counters, smx_newest_indices
from lima2_receivers.servers.run_view import ResultCursor, encoded_as_of, encoded_frame, input_source

SHAPE = (4, 6)
TRANSFER = 5
DISPATCH, RANK = RoundRobin(2), 1
STREAMS = [
    ResultStream("smx_frame", SMX_FRAME, 1),
    ResultStream("spots", SPOT, None, counted_by=("smx_frame", "nb_peaks"), max_bytes=1),
]


def sparse_frame(index: int) -> SparseFrame:
    bins = np.full(3, index, "f4")
    return SparseFrame(np.arange(index % 5, dtype="i4"), np.full(index % 5, index, "u2"), bins, bins / 2)


def one_image(info: FrameInfo, value: int) -> Any:
    buffer = BufferPool(info, 1).acquire()
    assert buffer is not None
    buffer.data[...] = value
    return buffer


class HandFedRun:
    """Receiver 1 of 2: frame 1, 3, 5, ... with ``index % 5`` pixels above background and as many spots."""

    def __init__(self, count: int, kept: int = 4) -> None:
        dense = FrameInfo(1, *SHAPE, np.dtype("<u2"))
        mean = FrameInfo(1, *SHAPE, np.dtype("<f4"))
        sparse = SparseInfo(SHAPE, np.dtype("u2"), np.arange(3, dtype="f4"), np.zeros(SHAPE, "f4"))
        infos = {"frame": dense, "sparse_frame": sparse, "acc_corrected": mean}
        outputs = {source: FrameOutput(info, kept) for source, info in infos.items()}  # type: ignore[arg-type]
        self.graph = SimpleNamespace(outputs=outputs)
        self.stores = {source: FrameStore(kept, source, DISPATCH, RANK) for source in outputs}
        self.log = ResultsLog(STREAMS)
        for local in range(count):
            index = DISPATCH.global_index(RANK, local)
            meta = FrameMeta(index, local)
            self.stores["frame"].put(one_image(dense, index), meta)
            self.stores["sparse_frame"].put(SparseHolder(sparse_frame(index)), meta)
            if local % TRANSFER == TRANSFER - 1:
                self.stores["acc_corrected"].put(one_image(mean, index), FrameMeta(index, local // TRANSFER))
            nb_peaks = index % 5
            spots = np.zeros(nb_peaks, SPOT)
            spots["frame_idx"] = index
            rows = np.array([(index, local, nb_peaks, nb_peaks > 2, 0, 0)], SMX_FRAME)
            self.log.append({"smx_frame": rows, "spots": spots})

    def status(self) -> PipelineStatus:
        sources = {"frame": SourceStatus(saved=3), "sparse_frame": SourceStatus(saved=7)}
        counts = Counts(received=11, lost=1, processed=8, invalid=1, vetoed=2)
        return PipelineStatus(uuid="u", counts=counts, sources=sources)


def run_of(count: int, **options: Any) -> Any:
    return HandFedRun(count, **options)


def test_peak_counters_are_popped_once_in_the_layout_of_lima2() -> None:
    run = run_of(6)
    cursor = ResultCursor(run)
    rows = decode_rows(pop_peak_counters(cursor), PEAK_COUNTER)

    assert PEAK_COUNTER.itemsize == 12
    assert rows["frame_idx"].tolist() == [1, 3, 5, 7, 9, 11]
    assert rows["recv_idx"].tolist() == list(range(6))
    assert rows["nb_peaks"].tolist() == [1, 3, 0, 2, 4, 1]
    assert not len(decode_rows(pop_peak_counters(cursor), PEAK_COUNTER))


def test_a_pop_is_limited_and_the_next_one_goes_on() -> None:
    run = run_of(6)
    cursor = ResultCursor(run, max_bytes=4 * SMX_FRAME.itemsize)
    assert [len(cursor.pop("smx_frame", SMX_FRAME)) for _ in range(3)] == [4, 2, 0]
    assert not len(cursor.pop("sparse", SPOT))


def test_spots_have_their_frames_and_those_dropped_are_an_error_once() -> None:
    run = run_of(6)
    cursor = ResultCursor(run)
    assert cursor.pop("spots", SPOT)["frame_idx"].tolist() == [1, 3, 3, 3, 7, 7, 9, 9, 9, 9, 11]

    many = np.zeros(100_000, SPOT)
    run.log.append({"smx_frame": np.array([(13, 6, len(many), 1, 0, 0)], SMX_FRAME), "spots": many})
    with pytest.raises(NoLongerAvailableError, match="dropped"):
        cursor.pop("spots", SPOT)
    assert len(cursor.pop("spots", SPOT)) == run.log.length("spots") - run.log.first("spots")


def test_frames_of_every_source_are_encoded_in_their_layout() -> None:
    run = run_of(6)
    pixels, index = decode_frame(encoded_frame(run, "frame", 9))
    assert (index, pixels.dtype, pixels.shape, pixels.max()) == (9, np.dtype("u2"), (1, *SHAPE), 9)

    frame, shape, index = decode_sparse_frame(encoded_frame(run, "sparse_frame", 9))
    assert (index, shape) == (9, SHAPE)
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame.intensity.tolist() == [9.0] * 4
    assert frame.background_std.tolist() == [4.5] * 3
    assert decode_sparse_frame(encoded_frame(run, "sparse_frame", -1))[2] == 11


def test_a_frame_that_is_not_kept_says_why() -> None:
    run = run_of(6)
    with pytest.raises(NoLongerAvailableError):
        encoded_frame(run, "sparse_frame", 1)
    with pytest.raises(NotAvailableError, match="on receiver 0"):
        encoded_frame(run, "sparse_frame", 2)
    with pytest.raises(NotAvailableError, match="keeps no acc_peaks; it keeps frame, sparse_frame, acc_corrected"):
        encoded_as_of(run, "acc_peaks", -1)


def test_an_accumulated_image_is_that_of_the_frames_so_far() -> None:
    run = run_of(12)  # images end with local frames 4 and 9: global 9 and 19

    for asked, found in ((-1, 19), (19, 19), (100, 19), (18, 9), (9, 9)):
        pixels, index = decode_frame(encoded_as_of(run, "acc_corrected", asked))
        assert (index, pixels[0, 0, 0]) == (found, found), asked
    with pytest.raises(NotAvailableError, match="up to frame 8 is kept; those that are end with frame 9, 19"):
        encoded_as_of(run, "acc_corrected", 8)


def test_counters_have_the_names_that_the_conductor_looks_for() -> None:
    counters = smx_counters(run_of(1).status())

    assert counters["nb_frames_source"] == 12
    assert counters["nb_frames_input"] == counters["nb_frames_sparse"] == 9
    assert (counters["nb_frames_saved_dense"], counters["nb_frames_saved_sparse"]) == (3, 7)
    assert (counters["nb_frames_saved_acc_peaks"], counters["nb_frames_vetoed"]) == (0, 2)


def test_newest_indices_have_the_names_that_the_conductor_looks_for() -> None:
    assert smx_newest_indices(run_of(0)) == {
        **dict.fromkeys(("source_idx", "input_idx", "processed_idx", "sparse_idx"), -1),
        **dict.fromkeys(("acc_corrected_idx", "acc_peaks_idx"), -1),
    }
    newest = smx_newest_indices(run_of(6))
    assert (newest["input_idx"], newest["sparse_idx"], newest["acc_corrected_idx"]) == (11, 11, 9)


def test_where_raw_frames_are_no_images_they_are_what_came_in():
    run = HandFedRun(3)
    assert input_source(run) == "input_frame"
    raw = FrameInfo(1, 512, 1024, np.dtype("<u2"))
    store = FrameStore(2, "raw_frame", RoundRobin(2), RANK)
    store.put(one_image(FrameInfo(1, 2, 2, raw.dtype), 1), FrameMeta(7, 3))
    run.stores["raw_frame"] = store
    assert input_source(run) == "raw_frame"
    assert smx_newest_indices(run)["source_idx"] == 7
    status = PipelineStatus(uuid="u", sources={"raw_frame": SourceStatus(saved=4)})
    assert smx_counters(status)["nb_frames_saved_raw"] == 4
    assert "nb_frames_saved_raw" not in smx_counters(PipelineStatus(uuid="u"))
