"""Frame sources beside `frame`, and result streams with another number of rows in each frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import (
    SPOT,
    FrameInfo,
    FrameMeta,
    NotAvailableError,
    NotYetAvailableError,
    ParameterError,
    ResultStream,
    RoundRobin,
    SparseFrame,
)
from lima2_bliss.contract.access import AttachJob
from lima2_bliss.contract.records import SMX_FRAME
from lima2_bliss.contract.wire import MAX_ROWS, SourceStatus
from lima2_receivers.access import ImageSource, ReceiverReader, ReceiverReaders
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.plugin import SparseHolder
from lima2_receivers.engine.results_log import ResultsLog

MEAN = FrameInfo(1, 64, 48, np.dtype("<f4"))
SPOTS = [
    ResultStream("smx_frame", SMX_FRAME, 1),
    ResultStream("spots", SPOT, None, counted_by=("smx_frame", "nb_peaks")),
]


@pytest.fixture
def reader(server):
    with ReceiverReader(server.endpoint) as connected:
        yield connected


@pytest.fixture
def pipeline(receiver):
    """Receiver 1 of 2 with mean images up to frames 9 and 19, and one sparse frame."""
    dispatch = RoundRobin(2)
    pipeline = receiver.add(dispatch=dispatch, rank=1)
    means, sparse = (FrameStore(3, source, dispatch, 1) for source in ("acc_corrected", "sparse_frame"))
    pool = BufferPool(MEAN, 3)
    for number, index in enumerate((9, 19)):
        buffer = pool.acquire()
        buffer.data[...] = index / 2
        means.put(buffer, FrameMeta(index, number))
        buffer.release()
    some = np.ones(2, "f4")
    sparse.put(SparseHolder(SparseFrame(np.array([1, 5], "i4"), some, some, some)), FrameMeta(1, 0))
    pipeline.stores |= {"acc_corrected": means, "sparse_frame": sparse}
    yield pipeline
    means.close()
    assert pool.free == pool.total


def test_accumulated_images_are_read_like_frames(pipeline, reader):
    newest = reader.frame("", -1, "acc_corrected")
    assert newest.meta.index == 19
    assert newest.pixels.dtype == np.dtype("<f4")
    assert (newest.pixels == 9.5).all()

    answers = dict(reader.frames("", [9, 8, 21], "acc_corrected"))
    assert (answers[9].pixels == 4.5).all()
    assert isinstance(answers[8], NotAvailableError)
    assert "on receiver 0" in str(answers[8])
    assert isinstance(answers[21], NotYetAvailableError)


def test_sparse_frames_are_refused_with_where_to_find_them(pipeline, reader):
    pipeline.feed(1)
    for indices in ([1], [-1], [1, -1]):
        with pytest.raises(
            ParameterError, match=r"result streams sparse.*getSparseFrame.*pixels: frame, acc_corrected"
        ):
            list(reader.frames("", indices, "sparse_frame"))
    assert reader.frame("", 1).meta.index == 1  # the server goes on


def test_the_image_source_shows_the_source_that_its_job_names(pipeline, server):
    told = pipeline.status()
    told.sources = {"acc_corrected": SourceStatus(frame_info=MEAN.to_json(), last_index=19)}
    pipeline.status = lambda: told
    with ReceiverReaders() as readers:
        source = ImageSource(AttachJob(uuid="run-1", endpoints=[server.endpoint], source="acc_corrected"), readers)
        assert source.info() == MEAN
        assert source.last_index() == 19
        assert (source.read(-1).pixels == 9.5).all()


@given(counts=st.lists(st.integers(0, 40), max_size=12), position=st.integers(0, 500))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streams_of_variable_length_are_read_by_position(receiver, reader, counts, position):
    receiver.add().log = log = ResultsLog(SPOTS)
    all_rows = log_spots(log, counts)
    _, rows = reader.results("", {"smx_frame": 0, "spots": position})
    assert rows["smx_frame"]["nb_peaks"].tolist() == counts
    assert rows["spots"].tobytes() == all_rows[position:].tobytes()


def test_a_frame_with_more_rows_than_a_reply_takes_comes_in_parts(receiver, reader):
    receiver.add().log = log = ResultsLog(SPOTS)
    all_rows = log_spots(log, [MAX_ROWS + 10, 3])
    got = []
    while len(got) < len(all_rows):
        rows = reader.results("", {"spots": len(got)})[1]["spots"]
        assert 0 < len(rows) <= MAX_ROWS
        got += rows["x"].tolist()
    assert got == all_rows["x"].tolist()


def log_spots(log: ResultsLog, counts: list[int]) -> np.ndarray:
    """Log a frame for each count; all rows of the spots."""
    parts = [np.zeros(0, SPOT)]
    for index, count in enumerate(counts):
        spots = np.zeros(count, SPOT)
        spots["frame_idx"] = index
        spots["x"] = np.arange(count) + 1000 * index
        log.append({"smx_frame": np.array([(index, index, count, 0, 0, 0)], SMX_FRAME), "spots": spots})
        parts.append(spots)
    return np.concatenate(parts)
