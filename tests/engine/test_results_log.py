"""Rows by position: all of a frame or nothing, for any number of readers, for ever."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import AcquisitionError, NoLongerAvailableError, NotAvailableError, ResultStream
from lima2_receivers.engine import ResultsLog

ONE = ResultStream("one", np.dtype("<i8"), 1)
THREE = ResultStream("three", np.dtype([("frame", "<i4"), ("part", "<i4")]), 3)


def rows(frame: int) -> dict:
    return {
        "one": np.array([frame], ONE.dtype),
        "three": np.array([(frame, part) for part in range(3)], THREE.dtype),
    }


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(0, 300), position=st.integers(0, 1000), max_rows=st.integers(1, 1000))
def test_a_read_gives_exactly_the_rows_from_its_position(frames, position, max_rows):
    log = ResultsLog([ONE, THREE])
    log._rows["three"].chunk_rows = 7  # so that reads cross chunks
    for frame in range(frames):
        log.append(rows(frame))
    every = [(frame, part) for frame in range(frames) for part in range(3)]
    assert log.read("three", position, max_rows).tolist() == every[position : position + max_rows]
    assert (log.length("one"), log.length("three"), log.frames) == (frames, 3 * frames, frames)


def test_readers_see_whole_frames_and_lose_nothing():
    log = ResultsLog([ONE, THREE])
    frames = 3000
    failures = []

    def read_all():
        position = 0
        while position < 3 * frames:
            lengths = log.lengths()
            if lengths["three"] != 3 * lengths["one"]:
                failures.append(lengths)
            new = log.read("three", position)
            if len(new) % 3 or new["frame"].tolist() != [(position + i) // 3 for i in range(len(new))]:
                failures.append((position, new))
                return
            position += len(new)

    readers = [threading.Thread(target=read_all) for _ in range(3)]
    for reader in readers:
        reader.start()
    for frame in range(frames):
        log.append(rows(frame))
    for reader in readers:
        reader.join(30)
    assert failures == []


def test_what_was_read_stays_as_it_was_and_cannot_be_changed():
    log = ResultsLog([ONE])
    log.append({"one": np.array([7])})
    first = log.read("one", 0)
    for value in range(100):
        log.append({"one": np.array([value])})
    assert first.tolist() == [7]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_a_frame_with_missing_unknown_or_wrong_rows_changes_nothing():
    log = ResultsLog([ONE, THREE])
    with pytest.raises(AcquisitionError, match="no rows for stream three"):
        log.append({"one": rows(0)["one"]})
    with pytest.raises(AcquisitionError, match="unknown streams spots; streams of this pipeline: one, three"):
        log.append({**rows(0), "spots": np.zeros(1)})
    with pytest.raises(AcquisitionError, match="takes"):
        log.append({**rows(0), "one": np.zeros(1, "f4")})
    assert log.lengths() == {"one": 0, "three": 0}


def test_asking_for_what_is_not_there_says_what_is():
    log = ResultsLog([ONE])
    assert log.read("one", 5).tolist() == []
    with pytest.raises(NotAvailableError, match="'spots'; streams of this pipeline: one"):
        log.read("spots", 0)
    with pytest.raises(NotAvailableError, match="count from 0"):
        log.read("one", -1)


def test_a_very_long_stream_forgets_its_oldest_rows_and_says_so():
    log = ResultsLog([ONE], max_stream_bytes=1)  # the least: two chunks
    total = 3 * log._rows["one"].chunk_rows
    for value in range(total):
        log.append({"one": np.array([value])})
    first = log.first("one")
    assert 0 < first < total
    assert log.read("one", first, 1).tolist() == [first]
    assert log.read("one", total - 1).tolist() == [total - 1]
    with pytest.raises(NoLongerAvailableError, match=f"oldest kept is {first}"):
        log.read("one", 0)
