"""Pixels, sparse frames and rows as Tango DevEncoded values, in the layouts of LImA2 (and of LImA1 for images)."""

from __future__ import annotations

import struct

import numpy as np

from lima2_bliss.contract.errors import ProtocolError
from lima2_bliss.contract.pixels import CODES, DTYPE_OF_CODE
from lima2_bliss.contract.sparse import SparseFrame

MAGIC = 0x44544159
VIDEO_MAGIC = 0x5644454F
DATA_ARRAY = "DATA_ARRAY"
STRUCTURED_ARRAY = "STRUCTURED_ARRAY"
SMX_SPARSE_FRAME = "SMX_SPARSE_FRAME"
VIDEO_IMAGE = "VIDEO_IMAGE"
_SPECTRUM, _IMAGE = 1, 2

# magic, version, header size, category, type, endianness, ndim, 6 dims, 6 steps, frame index [, tag, 2 spare]
_HEADER_2 = struct.Struct("<IHHIIHH6H6IQ")
_HEADER_1 = struct.Struct("<IHHIIHH6H6IQQII")
# width, height, number of bins, number of pixels, frame index; then int32 places and float32 values of the pixels, and
# float32 mean and deviation of the bins
_HEADER_SPARSE = struct.Struct("<HHIII")
# magic, version, mode, image number, width, height, byte order (0: little), header size, 2 spare; in network byte order
_HEADER_VIDEO = struct.Struct("!IHHqiiHHHH")
_PLACE, _VALUE = np.dtype("<i4"), np.dtype("<f4")
_VIDEO_MODES = {np.dtype("uint8"): 0, np.dtype("uint16"): 1, np.dtype("int32"): 2, np.dtype("int64"): 3}
_VIDEO_INT32 = 2
MAX_SIDE = 0xFFFF
MAX_SPARSE_INDEX = 0xFFFFFFFF


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


def encode_lima1_video(pixels: np.ndarray | None, number: int) -> tuple[str, bytes]:
    """LImA1 ``video_last_image`` DevEncoded of an image of shape (height, width); None: there is none yet.

    Its clients know only whole numbers: other types become int32, rounded and cut to its range; NaN is -1.
    """
    if pixels is None:
        return VIDEO_IMAGE, _HEADER_VIDEO.pack(VIDEO_MAGIC, 1, 0, -1, 0, 0, 0, _HEADER_VIDEO.size, 0, 0)
    mode = _VIDEO_MODES.get(pixels.dtype)
    if mode is None:
        limits = np.iinfo(np.int32)
        whole = np.rint(np.nan_to_num(pixels, nan=-1.0)) if pixels.dtype.kind == "f" else pixels
        # float32 has no 2**31 - 1
        pixels, mode = np.clip(whole, limits.min, limits.max, dtype=np.float64).astype("<i4"), _VIDEO_INT32
    height, width = pixels.shape
    head = _HEADER_VIDEO.pack(VIDEO_MAGIC, 1, mode, number, width, height, 0, _HEADER_VIDEO.size, 0, 0)
    return VIDEO_IMAGE, head + np.ascontiguousarray(pixels).tobytes()


def encode_rows(rows: np.ndarray) -> tuple[str, bytes]:
    """STRUCTURED_ARRAY DevEncoded of packed result records (1D structured array)."""
    head = _HEADER_2.pack(MAGIC, 2, _HEADER_2.size, _SPECTRUM, 0, 0, 1, *([0] * 12), 0)
    return STRUCTURED_ARRAY, head + rows.tobytes()


def encode_sparse_frame(frame: SparseFrame, shape: tuple[int, int], frame_index: int) -> tuple[str, bytes]:
    """LImA2 DevEncoded of a sparse frame of an image of ``shape`` (height, width); spots are not part of it.

    ``frame_index`` is the global index. Raises `ProtocolError` for what its header cannot say.
    """
    height, width = shape
    nb_pixels, nb_bins = len(frame.index), len(frame.background_avg)
    if max(height, width) > MAX_SIDE:
        raise ProtocolError(f"image of {[width, height]} pixels cannot be encoded: a side is limited to {MAX_SIDE}")
    if not 0 <= frame_index <= MAX_SPARSE_INDEX:
        raise ProtocolError(f"sparse frame {frame_index} cannot be encoded: the index is limited to {MAX_SPARSE_INDEX}")
    if len(frame.intensity) != nb_pixels or len(frame.background_std) != nb_bins:
        raise ProtocolError(
            f"sparse frame {frame_index} has {nb_pixels} places for {len(frame.intensity)} values and "
            f"{nb_bins} means for {len(frame.background_std)} deviations; they must go in pairs"
        )
    head = _HEADER_SPARSE.pack(width, height, nb_bins, nb_pixels, frame_index)
    values = (frame.intensity, frame.background_avg, frame.background_std)
    parts = [frame.index.astype(_PLACE, copy=False), *(each.astype(_VALUE, copy=False) for each in values)]
    return SMX_SPARSE_FRAME, head + b"".join(part.tobytes() for part in parts)


def decode_sparse_frame(encoded: tuple[str, bytes]) -> tuple[SparseFrame, tuple[int, int], int]:
    """Sparse frame (float32 intensities, no spots), (height, width) and frame index; raises `ProtocolError`."""
    name, data = encoded
    if name != SMX_SPARSE_FRAME:
        raise ProtocolError(f"format {name!r} is not {SMX_SPARSE_FRAME}")
    if len(data) < _HEADER_SPARSE.size:
        raise ProtocolError(f"{len(data)} bytes are too few for a header")
    width, height, nb_bins, nb_pixels, frame_index = _HEADER_SPARSE.unpack_from(data)
    expected = nb_pixels * (_PLACE.itemsize + _VALUE.itemsize) + 2 * nb_bins * _VALUE.itemsize
    if len(data) - _HEADER_SPARSE.size != expected:
        raise ProtocolError(f"{len(data) - _HEADER_SPARSE.size} bytes of pixels and bins, expected {expected}")
    index = np.frombuffer(data, _PLACE, nb_pixels, _HEADER_SPARSE.size)
    values = np.frombuffer(data, _VALUE, offset=_HEADER_SPARSE.size + index.nbytes)
    if nb_pixels and not 0 <= index.min() <= index.max() < width * height:
        raise ProtocolError(
            f"pixels {index.min()} to {index.max()} are not in an image of {width} x {height} = {width * height}"
        )
    intensity, average, deviation = np.split(values, [nb_pixels, nb_pixels + nb_bins])
    return SparseFrame(index, intensity, average, deviation), (height, width), frame_index


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
