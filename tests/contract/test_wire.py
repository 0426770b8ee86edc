"""The access protocol: requests survive the wire, and nothing else is taken for one."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import Lima2Error, NotYetAvailableError, ProtocolError, wire


@given(st.dictionaries(st.text(max_size=8), st.integers(0, 2**40), max_size=5), st.integers(0, wire.MAX_WAIT_MS))
def test_a_request_comes_back_equal(positions: dict[str, int], wait_ms: int) -> None:
    request = wire.ResultsRequest(uuid="u", positions=positions, wait_ms=wait_ms)
    assert wire.decode_request(wire.encode_request(request)) == request


@given(st.binary(max_size=300))
def test_any_bytes_give_a_request_or_our_error(data: bytes) -> None:
    with contextlib.suppress(Lima2Error):
        request = wire.decode_request(data)
        assert request.op in ("hello", "status", "results", "frames")


@pytest.mark.parametrize(
    "text",
    [
        b'{"op": "frames", "indices": []}',
        b'{"op": "frames", "indices": [1], "secret": 1}',
        b'{"op": "results", "wait_ms": 999999}',
        b'{"op": "eval"}',
        b"[]",
        b"null",
    ],
)
def test_requests_beyond_the_limits_are_refused(text: bytes) -> None:
    with pytest.raises(Lima2Error):
        wire.decode_request(text)


def test_a_huge_request_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        wire.decode_request(b" " * (wire.MAX_REQUEST_BYTES + 1))


def test_an_error_reply_raises_the_error_it_carries() -> None:
    with pytest.raises(NotYetAvailableError, match="frame 5"):
        wire.decode_reply(wire.encode_error(NotYetAvailableError("frame 5 is not there yet"), 3))


def test_rows_of_known_streams_are_decoded_and_others_ignored() -> None:
    rows = np.ones(2, wire.STREAM_DTYPES["frame_event"])
    reply = {"streams": [{"name": "frame_event"}, {"name": "later_invention"}]}
    decoded = wire.decode_rows(reply, [rows.tobytes(), b"xx"])
    assert list(decoded) == ["frame_event"]
    assert np.array_equal(decoded["frame_event"], rows)
