"""A receiver that has dropped old rows of one stream says so of that stream, and still gives the others."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from lima2_bliss.contract import FRAME_EVENT, NoLongerAvailableError, ResultStream
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, SPARSE_PIXEL, SPARSE_STREAM
from lima2_bliss.contract.wire import PipelineStatus, ResultsRequest, decode_rows, gone_streams
from lima2_receivers.access.waiting import ResultsWait, read_results
from lima2_receivers.engine.results_log import ResultsLog

PIXELS = 40_000


@pytest.fixture
def log():
    log = ResultsLog(
        [
            ResultStream(FRAME_EVENT_STREAM, FRAME_EVENT, 1),
            ResultStream(SPARSE_STREAM, SPARSE_PIXEL, PIXELS, max_bytes=1),
        ]
    )
    for _ in range(5):
        log.append({FRAME_EVENT_STREAM: np.zeros(1, FRAME_EVENT), SPARSE_STREAM: np.zeros(PIXELS, SPARSE_PIXEL)})
    return log


def ask(log, positions):
    pipeline = SimpleNamespace(log=log, status=lambda: PipelineStatus(uuid="u"))
    request = ResultsRequest(uuid="u", positions=positions)
    answer = read_results(ResultsWait(None, request, pipeline, time.monotonic()), due=True)
    return {"streams": answer.streams}, [rows.tobytes() for rows in answer.rows]


def test_the_stream_is_marked_and_the_others_come(log):
    first = log.first(SPARSE_STREAM)
    assert first > 0
    reply, parts = ask(log, {SPARSE_STREAM: 0, FRAME_EVENT_STREAM: 0})
    assert gone_streams(reply) == {SPARSE_STREAM: first}
    assert len(decode_rows(reply, parts, without=[SPARSE_STREAM])[FRAME_EVENT_STREAM]) == 5
    with pytest.raises(NoLongerAvailableError, match=f"rows of stream sparse were dropped .* kept is {first}"):
        decode_rows(reply, parts)


def test_rows_that_are_kept_come_without_a_mark(log):
    reply, parts = ask(log, {SPARSE_STREAM: log.first(SPARSE_STREAM), FRAME_EVENT_STREAM: 5})
    assert gone_streams(reply) == {}
    assert len(decode_rows(reply, parts)[SPARSE_STREAM]) == 5 * PIXELS - log.first(SPARSE_STREAM)
