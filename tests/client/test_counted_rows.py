"""Streams with another number of rows in each frame, put together from several receivers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.client.results import CountedRows
from lima2_bliss.contract import SPOT, NoLongerAvailableError, RoundRobin
from lima2_bliss.contract.records import SMX_FRAME
from lima2_bliss.contract.wire import ResultsRequest


class HandFedLink:
    """A receiver's log of spots, of which it gives at most ``most`` rows in a reply and keeps those from ``first``."""

    def __init__(self, receiver: str, most: int = 7) -> None:
        self.receiver = receiver
        self.rows = {"smx_frame": np.zeros(0, SMX_FRAME), "spots": np.zeros(0, SPOT)}
        self.most = most
        self.first = 0

    def feed(self, index: int, nb_peaks: int) -> None:
        spots = np.zeros(nb_peaks, SPOT)
        spots["frame_idx"] = index
        spots["x"] = np.arange(nb_peaks)
        row = np.zeros(1, SMX_FRAME)
        row["frame_idx"], row["nb_peaks"] = index, nb_peaks
        for stream, rows in (("smx_frame", row), ("spots", spots)):
            self.rows[stream] = np.concatenate([self.rows[stream], rows])

    def ask(self, request: ResultsRequest) -> tuple[dict[str, Any], list[bytes]]:
        [(stream, position)] = request.positions.items()
        about: dict[str, Any] = {"name": stream}
        rows = self.rows[stream][position : position + self.most]
        if stream == "spots" and len(rows) and position < self.first:
            about["gone"], rows = self.first, rows[:0]
        return {"streams": [about]}, [rows.tobytes()]


@given(
    counts=st.lists(st.integers(0, 9), max_size=25),
    lag=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    position=st.integers(0, 60),
)
def test_rows_of_all_receivers_come_in_global_order_by_position(
    counts: list[int], lag: list[int], position: int
) -> None:
    dispatch = RoundRobin(len(lag))
    links = [HandFedLink(f"receiver {rank}") for rank in range(len(lag))]
    stream = CountedRows(links, "u", "spots", dispatch)  # type: ignore[arg-type]
    locals_of = [dispatch.count(rank, len(counts)) for rank in range(len(lag))]
    fed = [0] * len(lag)
    for still_missing in (lag, [0] * len(lag)):  # first with receivers that are behind, then all
        for rank, link in enumerate(links):
            while fed[rank] < locals_of[rank] - still_missing[rank]:
                index = dispatch.global_index(rank, fed[rank])
                link.feed(index, counts[index])
                fed[rank] += 1
        there = dispatch.contiguous(fed)
        expected = [(index, place) for index in range(there) for place in range(counts[index])][position:]
        rows = stream.read(position)
        assert list(zip(rows["frame_idx"].tolist(), rows["x"].tolist(), strict=True)) == expected


def test_rows_that_were_dropped_are_an_error_and_later_ones_are_read() -> None:
    link = HandFedLink("receiver 0")
    for index in range(4):
        link.feed(index, 2)
    link.first = 4
    stream = CountedRows([link], "u", "spots", RoundRobin())  # type: ignore[list-item]
    with pytest.raises(NoLongerAvailableError, match="the oldest kept is 4"):
        stream.read(0)
    assert stream.read(4)["frame_idx"].tolist() == [2, 2, 3, 3]
