"""DevEncoded values: what is encoded comes back bit-equal, and anything else is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from lima2_bliss.contract import ROI_STATISTICS, ProtocolError, SparseFrame
from lima2_bliss.contract.encoding import (
    decode_frame,
    decode_rows,
    decode_sparse_frame,
    encode_frame,
    encode_lima1_image,
    encode_rows,
    encode_sparse_frame,
)
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


# --- sparse frames ----------------------------------------------------------------------------------------------------

FLOATS = st.floats(width=32, allow_nan=True)


@st.composite
def sparse_frames(draw: st.DrawFn) -> tuple[SparseFrame, tuple[int, int]]:
    height, width = draw(sides), draw(sides)
    index = sorted(draw(st.sets(st.integers(0, height * width - 1))))
    nb_bins = draw(st.integers(0, 12))

    def values(count: int) -> np.ndarray:
        return draw(stn.arrays("<f4", count, elements=FLOATS))

    frame = SparseFrame(np.array(index, "<i4"), values(len(index)), values(nb_bins), values(nb_bins))
    return frame, (height, width)


@given(sparse_frames(), st.integers(0, 2**32 - 1))
def test_a_sparse_frame_comes_back_bit_equal(given_frame: tuple[SparseFrame, tuple[int, int]], index: int) -> None:
    frame, shape = given_frame
    decoded, got_shape, got = decode_sparse_frame(encode_sparse_frame(frame, shape, index))
    assert (got_shape, got) == (shape, index)
    for name in ("index", "intensity", "background_avg", "background_std"):
        assert getattr(decoded, name).tobytes() == getattr(frame, name).tobytes()


def test_a_sparse_frame_has_the_layout_that_lima2_clients_read() -> None:
    frame = SparseFrame(np.array([5, 11], "i8"), np.array([7, 9], "u2"), np.array([1.5], "f8"), np.array([0.25], "f4"))
    name, data = encode_sparse_frame(frame, (3, 4), 77)
    assert name == "SMX_SPARSE_FRAME"
    assert data == struct.pack("<HHIII2i2f1f1f", 4, 3, 1, 2, 77, 5, 11, 7.0, 9.0, 1.5, 0.25)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_no_sparse_frame(data: bytes) -> None:
    try:
        frame, (height, width), _ = decode_sparse_frame(("SMX_SPARSE_FRAME", data))
    except ProtocolError:
        return
    assert len(frame.index) == len(frame.intensity)
    assert all(0 <= place < height * width for place in frame.index)


@pytest.mark.parametrize("place", [-1, 12])
def test_a_pixel_outside_the_image_is_refused(place: int) -> None:
    one = np.ones(1, "f4")
    encoded = encode_sparse_frame(SparseFrame(np.array([place]), one, one, one), (3, 4), 0)
    with pytest.raises(ProtocolError, match="not in an image of 4 x 3"):
        decode_sparse_frame(encoded)


def test_what_the_header_of_a_sparse_frame_cannot_say_is_refused() -> None:
    none, one = np.zeros(0, "f4"), np.ones(1, "f4")
    frame = SparseFrame(np.zeros(0, "i4"), none, none, none)
    with pytest.raises(ProtocolError, match="65535"):
        encode_sparse_frame(frame, (1, 70000), 0)
    for index in (-1, 2**32):
        with pytest.raises(ProtocolError, match="index is limited"):
            encode_sparse_frame(frame, (1, 1), index)
    with pytest.raises(ProtocolError, match="go in pairs"):
        encode_sparse_frame(SparseFrame(np.zeros(0, "i4"), one, none, none), (1, 1), 0)
    with pytest.raises(ProtocolError, match="too few"):
        decode_sparse_frame(("SMX_SPARSE_FRAME", b"12"))
    with pytest.raises(ProtocolError, match="DATA_ARRAY"):
        decode_sparse_frame(("DATA_ARRAY", bytes(16)))
