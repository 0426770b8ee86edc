"""Rows of several receivers come out in global frame order, however they arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ProtocolError, RoundRobin
from lima2_bliss.publishing.merger import RowMerger

ROW = np.dtype([("frame_idx", "<i8"), ("part", "<i4")])


def rows_of(dispatch: RoundRobin, receiver: int, frames: int, per_frame: int) -> np.ndarray:
    rows = np.empty((frames, per_frame), ROW)
    for local in range(frames):
        rows[local]["frame_idx"] = dispatch.global_index(receiver, local)
        rows[local]["part"] = np.arange(per_frame)
    return rows.reshape(-1)


@st.composite
def deliveries(draw):
    dispatch = RoundRobin(draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    total = draw(st.integers(0, 40))
    per_frame = {"a": draw(st.integers(1, 3)), "b": 1}
    chunks = []
    for receiver in range(dispatch.receivers):
        for name, count in per_frame.items():
            rows = rows_of(dispatch, receiver, dispatch.count(receiver, total), count)
            cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
            chunks.append([(receiver, name, part) for part in np.split(rows, cuts)])
    order = []
    while any(chunks):
        at = draw(st.sampled_from([i for i, parts in enumerate(chunks) if parts]))
        order.append(chunks[at].pop(0))
    return dispatch, total, per_frame, order, draw(st.integers(1, 50))


@given(deliveries())
def test_any_arrival_order_and_batching_gives_all_frames_in_order_without_gap(delivery):
    dispatch, total, per_frame, order, max_frames = delivery
    merger = RowMerger(dispatch, per_frame)
    taken = []
    for receiver, name, part in order:
        merger.add(receiver, {name: part})
        while (merged := merger.take(max_frames)) is not None:
            taken.append(merged)
    assert [merged.first for merged in taken] == list(np.cumsum([0, *(m.count for m in taken)])[:-1])
    assert sum(merged.count for merged in taken) == total == merger.merged
    for name, count in per_frame.items():
        rows = np.concatenate([merged.rows[name] for merged in taken]) if taken else np.empty((0, count), ROW)
        assert rows.shape == (total, count)
        np.testing.assert_array_equal(rows["frame_idx"], np.repeat(np.arange(total), count).reshape(total, count))
        np.testing.assert_array_equal(rows["part"], np.tile(np.arange(count), (total, 1)))


def test_nothing_comes_out_while_the_next_frame_is_missing():
    dispatch = RoundRobin(2)
    merger = RowMerger(dispatch, {"a": 1})
    merger.add(1, {"a": rows_of(dispatch, 1, 3, 1)})
    assert merger.take(10) is None
    assert merger.waiting_frames == 3
    merger.add(0, {"a": rows_of(dispatch, 0, 1, 1)})
    merged = merger.take(10)
    assert merged is not None
    assert (merged.first, merged.count) == (0, 2)
    assert merger.limit(0) == 2


def test_rows_nobody_asked_for_are_refused():
    with pytest.raises(ProtocolError, match="'b' was not asked for"):
        RowMerger(RoundRobin(1), {"a": 1}).add(0, {"b": np.empty(1, ROW)})
