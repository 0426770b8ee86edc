"""Rows of several receivers come out in global frame order, however they arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import ProtocolError, RoundRobin
from lima2_bliss.contract.wire import STREAM_DTYPES
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


COUNTED = {"spots": ("smx_frame", "nb_peaks"), "sparse": ("smx_frame", "nb_sparse")}


def smx_rows_of(indices, peaks, pixels):
    """All rows of the frames ``indices`` of one receiver, by stream."""
    frames = np.zeros(len(indices), STREAM_DTYPES["smx_frame"])
    frames["frame_idx"], frames["nb_peaks"], frames["nb_sparse"] = indices, peaks, pixels
    rows = {"smx_frame": frames}
    for name, column, counts in (("spots", "frame_idx", peaks), ("sparse", "index", pixels)):
        rows[name] = np.zeros(sum(counts), STREAM_DTYPES[name])
        rows[name][column] = np.repeat(indices, counts)
        rows[name]["intensity"] = np.concatenate([np.arange(count) for count in counts] or [[]])
    return rows


@st.composite
def counted_deliveries(draw):
    dispatch = RoundRobin(draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    total = draw(st.integers(0, 30))
    peaks = draw(st.lists(st.integers(0, 5), min_size=total, max_size=total))
    pixels = draw(st.lists(st.sampled_from([0, 1, 40]), min_size=total, max_size=total))
    chunks = []
    for receiver in range(dispatch.receivers):
        indices = [dispatch.global_index(receiver, local) for local in range(dispatch.count(receiver, total))]
        rows = smx_rows_of(indices, [peaks[i] for i in indices], [pixels[i] for i in indices])
        for name, of_stream in rows.items():
            cuts = sorted(draw(st.lists(st.integers(0, len(of_stream)), max_size=4)))
            chunks.append([(receiver, name, part) for part in np.split(of_stream, cuts)])
    order = []
    while any(chunks):
        at = draw(st.sampled_from([i for i, parts in enumerate(chunks) if parts]))
        order.append(chunks[at].pop(0))
    return dispatch, total, peaks, pixels, order, draw(st.integers(1, 40)), draw(st.sampled_from([1, 200, 10**6]))


@given(counted_deliveries())
def test_counted_rows_come_frame_after_frame_however_they_are_cut(delivery):
    dispatch, total, peaks, pixels, order, max_frames, max_bytes = delivery
    merger = RowMerger(dispatch, {"smx_frame": 1}, COUNTED)
    taken = []
    for receiver, name, part in order:
        merger.add(receiver, {name: part})
        while (merged := merger.take(max_frames, max_bytes)) is not None:
            taken.append(merged)
            assert len(merged.flat["spots"]) == merged.counts["spots"].sum()
            assert merged.count == 1 or sum(rows.nbytes for rows in merged.flat.values()) <= max_bytes
    assert sum(merged.count for merged in taken) == total == merger.merged
    expected = smx_rows_of(np.arange(total), peaks, pixels)
    for name in COUNTED:
        rows = np.concatenate([np.empty(0, STREAM_DTYPES[name]), *(merged.flat[name] for merged in taken)])
        np.testing.assert_array_equal(rows, expected[name])
    frames = np.concatenate([np.empty(0, STREAM_DTYPES["smx_frame"]), *(m.rows["smx_frame"][:, 0] for m in taken)])
    np.testing.assert_array_equal(frames, expected["smx_frame"])
    assert all(merger.waiting_bytes(receiver) == 0 for receiver in range(dispatch.receivers))


def test_a_dropped_stream_is_not_waited_for_any_more():
    merger = RowMerger(RoundRobin(1), {"smx_frame": 1}, COUNTED)
    rows = smx_rows_of([0, 1], [1, 1], [2, 2])
    merger.add(0, {"smx_frame": rows["smx_frame"], "spots": rows["spots"]})
    assert merger.take(10) is None
    assert merger.lagging(0) == {"smx_frame", "spots", "sparse"}
    merger.drop("sparse")
    merger.add(0, {"sparse": rows["sparse"]})
    merged = merger.take(10)
    assert merged is not None
    assert (merged.count, set(merged.flat)) == (2, {"spots"})


def test_a_stream_far_ahead_of_another_is_not_asked_for():
    merger = RowMerger(RoundRobin(1), {"smx_frame": 1}, COUNTED)
    rows = smx_rows_of(np.arange(200), [1] * 200, [1] * 200)
    merger.add(0, {"smx_frame": rows["smx_frame"], "spots": rows["spots"][:100], "sparse": rows["sparse"][:50]})
    assert merger.lagging(0) == {"spots", "sparse"}


def test_a_negative_row_count_is_refused():
    merger = RowMerger(RoundRobin(1), {"smx_frame": 1}, COUNTED)
    frames = np.zeros(1, STREAM_DTYPES["smx_frame"])
    frames["nb_peaks"] = -1
    with pytest.raises(ProtocolError, match="-1 rows"):
        merger.add(0, {"smx_frame": frames})


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
