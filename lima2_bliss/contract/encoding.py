"""Pixels and rows as Tango DevEncoded values: LImA2's 64-byte and LImA1's 80-byte DATA_ARRAY headers."""

from __future__ import annotations

import struct

import numpy as np

from lima2_bliss.contract.errors import ProtocolError
from lima2_bliss.contract.pixels import CODES, DTYPE_OF_CODE

MAGIC = 0x44544159
DATA_ARRAY = "DATA_ARRAY"
STRUCTURED_ARRAY = "STRUCTURED_ARRAY"
_SPECTRUM, _IMAGE = 1, 2

# magic, version, header size, category, type, endianness, ndim, 6 dims, 6 steps, frame index [, tag, 2 spare]
_HEADER_2 = struct.Struct("<IHHIIHH6H6IQ")
_HEADER_1 = struct.Struct("<IHHIIHH6H6IQQII")
MAX_SIDE = 0xFFFF


def _image_header(layout: struct.Struct, version: int, pixels: np.ndarray, dims: list[int], *tail: int) -> bytes:
    if max(dims) > MAX_SIDE:
        raise ProtocolError(f"image of {dims} pixels cannot be encoded: a side is limited to {MAX_SIDE}")
    steps = [pixels.itemsize]
    for dim in dims[:-1]:
        steps.append(steps[-1] * dim)
    dims6, steps6 = dims + [0] * (6 - len(dims)), steps + [0] * (6 - len(steps))
    code = CODES[pixels.dtype]
    return layout.pack(MAGIC, version, layout.size, _IMAGE, code, 0, len(dims), *dims6, *steps6, *tail)


def encode_frame(pixels: np.ndarray, frame_index: int) -> tuple[str, bytes]:
    """LImA2 DevEncoded of a frame of shape (channels, height, width); ``frame_index`` is the global index."""
    channels, height, width = pixels.shape
    head = _image_header(_HEADER_2, 2, pixels, [width, height, channels], frame_index)
    return DATA_ARRAY, head + np.ascontiguousarray(pixels).tobytes()


def encode_lima1_image(pixels: np.ndarray, frame_index: int) -> tuple[str, bytes]:
    """LImA1 ``readImage`` DevEncoded (header version 4) of an image of shape (height, width)."""
    height, width = pixels.shape
    head = _image_header(_HEADER_1, 4, pixels, [width, height], frame_index, 0, 0, 0)
    return DATA_ARRAY, head + np.ascontiguousarray(pixels).tobytes()


def encode_rows(rows: np.ndarray) -> tuple[str, bytes]:
    """STRUCTURED_ARRAY DevEncoded of packed result records (1D structured array)."""
    head = _HEADER_2.pack(MAGIC, 2, _HEADER_2.size, _SPECTRUM, 0, 0, 1, *([0] * 12), 0)
    return STRUCTURED_ARRAY, head + rows.tobytes()


def decode_frame(encoded: tuple[str, bytes]) -> tuple[np.ndarray, int]:
    """Pixels (channels, height, width) and frame index from either header; raises `ProtocolError` on anything else."""
    name, data = encoded
    if name != DATA_ARRAY:
        raise ProtocolError(f"format {name!r} is not {DATA_ARRAY}")
    if len(data) < _HEADER_2.size:
        raise ProtocolError(f"{len(data)} bytes are too few for a header")
    fields = _HEADER_2.unpack_from(data)
    magic, _version, size, category, code, _endian, ndim = fields[:7]
    if magic != MAGIC or category != _IMAGE or code not in DTYPE_OF_CODE or ndim not in (2, 3):
        raise ProtocolError("not an image in DATA_ARRAY encoding")
    shape = [1, *reversed(fields[7 : 7 + ndim])][-3:]
    dtype = DTYPE_OF_CODE[code]
    expected = int(np.prod(shape)) * dtype.itemsize
    if size not in (_HEADER_2.size, _HEADER_1.size) or len(data) - size != expected:
        raise ProtocolError(f"{len(data) - size} bytes of pixels, expected {expected}")
    return np.frombuffer(data, dtype, offset=size).reshape(shape), int(fields[19])


def decode_rows(encoded: tuple[str, bytes], dtype: np.dtype) -> np.ndarray:
    """Records of ``dtype`` from a STRUCTURED_ARRAY; raises `ProtocolError`."""
    name, data = encoded
    if name != STRUCTURED_ARRAY or len(data) < 8:
        raise ProtocolError(f"format {name!r} is not {STRUCTURED_ARRAY}")
    magic, _version, size = struct.unpack_from("<IHH", data)
    if magic != MAGIC or (len(data) - size) % dtype.itemsize or size > len(data):
        raise ProtocolError("not rows in STRUCTURED_ARRAY encoding")
    return np.frombuffer(data, dtype, offset=size)
