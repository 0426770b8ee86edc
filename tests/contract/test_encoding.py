"""DevEncoded values: what is encoded comes back bit-equal, and anything else is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from lima2_bliss.contract import ROI_STATISTICS, ProtocolError
from lima2_bliss.contract.encoding import decode_frame, decode_rows, encode_frame, encode_lima1_image, encode_rows
from lima2_bliss.contract.pixels import DTYPES

dtypes = st.sampled_from(list(DTYPES.values()))
sides = st.integers(1, 9)


@given(dtypes.flatmap(lambda dtype: stn.arrays(dtype, st.tuples(sides, sides, sides))), st.integers(0, 2**40))
def test_a_frame_comes_back_bit_equal_with_its_index(pixels: np.ndarray, index: int) -> None:
    decoded, got = decode_frame(encode_frame(pixels, index))
    assert got == index
    assert decoded.dtype == pixels.dtype
    assert decoded.tobytes() == pixels.tobytes()
    assert decoded.shape == pixels.shape


@given(dtypes.flatmap(lambda dtype: stn.arrays(dtype, st.tuples(sides, sides))), st.integers(0, 2**40))
def test_a_lima1_image_comes_back_bit_equal(pixels: np.ndarray, index: int) -> None:
    decoded, got = decode_frame(encode_lima1_image(pixels, index))
    assert got == index
    assert decoded[0].tobytes() == pixels.tobytes()
    assert decoded.shape == (1, *pixels.shape)


def test_the_header_is_the_one_that_lima2_clients_read() -> None:
    pixels = np.arange(12, dtype="<u2").reshape(1, 3, 4)
    _name, data = encode_frame(pixels, 77)
    assert data[:4] == bytes.fromhex("59415444")
    assert struct.unpack_from("<HHIIHHHHH", data, 4) == (2, 64, 2, 1, 0, 3, 4, 3, 1)
    assert struct.unpack_from("<Q", data, 56) == (77,)
    assert data[64:] == pixels.tobytes()


def test_a_strided_view_is_encoded_as_what_it_shows() -> None:
    whole = np.arange(64, dtype="<u4").reshape(1, 8, 8)
    decoded, _index = decode_frame(encode_frame(whole[:, ::2, 1::3], 0))
    assert np.array_equal(decoded, whole[:, ::2, 1::3])


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused_with_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_frame(("DATA_ARRAY", data))


def test_rows_come_back_and_a_cut_payload_is_refused() -> None:
    rows = np.zeros(3, ROI_STATISTICS)
    rows["frame_idx"] = [4, 5, 6]
    name, data = encode_rows(rows)
    assert np.array_equal(decode_rows((name, data), ROI_STATISTICS), rows)
    with pytest.raises(ProtocolError):
        decode_rows((name, data[:-1]), ROI_STATISTICS)


def test_a_side_beyond_the_header_is_refused() -> None:
    with pytest.raises(ProtocolError, match="65535"):
        encode_frame(np.zeros((1, 1, 70000), "u1"), 0)
