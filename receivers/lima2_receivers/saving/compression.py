"""Compression of whole frames outside HDF5: bytes that HDF5 takes as one ready chunk, and the matching filters.

Figures (one core, 1 megapixel uint16, Poisson counts below 3; raw GB/s, ratio): bshuf_lz4 2.2, 5.9;
gzip by ISA-L after byte shuffle 0.7, 6.1 (libdeflate 0.34, 5.0; zlib 0.15, 4.5); zstd after byte shuffle 0.58, 6.6
(without shuffle 0.51, 5.1). All of them release the GIL.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import bitshuffle
import hdf5plugin
import imagecodecs
import numpy as np

from lima2_bliss.contract.parameters import Compression

isal_zlib: Any
try:
    from isal import isal_zlib
except ImportError:  # no wheel for this platform: libdeflate gives the same format at half the speed
    isal_zlib = None

#: Bytes of one chunk: anything with a buffer.
Chunk = Any
Part = TypeVar("Part")

_LEVEL = 1
_ZLIB_HEADER = b"\x78\x01"
_DEFLATE_END = b"\x03\x00"  # an empty last block
_ADLER_MODULUS = 65521
_BSHUF_HEADER = struct.Struct(">QI")  # raw bytes of the chunk, bytes of one block
_BSHUF_BLOCK_BYTES = 8192
_OPENMP = ctypes.CDLL(bitshuffle.ext.__file__)
_thread = threading.local()
_zstd_encode: Callable[..., Any] = imagecodecs.zstd_encode
_zlib_encode: Callable[..., Any] = imagecodecs.deflate_encode  # libdeflate, with zlib header


@dataclass(frozen=True)
class Codec:
    """How one frame becomes one chunk: ``encode`` gives its bytes, ``options`` create the dataset that reads them."""

    name: Compression
    options: Mapping[str, Any]
    encode: Callable[[np.ndarray], Chunk]
    close: Callable[[], None]


@dataclass
class Stopwatch:
    """Time spent so far [s]."""

    seconds: float = 0.0


def timed(codec: Codec, watch: Stopwatch) -> Codec:
    """The same codec, whose time is added to ``watch``."""

    def encode(frame: np.ndarray) -> Chunk:
        begin = time.perf_counter()
        try:
            return codec.encode(frame)
        finally:
            watch.seconds += time.perf_counter() - begin

    return replace(codec, encode=encode)


class _Workers:
    """Applies a function to the parts of one frame, in ``nb`` threads when more than one."""

    def __init__(self, nb: int) -> None:
        self.nb = nb
        self._pool = ThreadPoolExecutor(nb, "compress") if nb > 1 else None

    def map(self, function: Callable[[np.ndarray], Part], parts: Sequence[np.ndarray]) -> list[Part]:
        """Results in the order of the parts."""
        return list(self._pool.map(function, parts) if self._pool else map(function, parts))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


def make_codec(name: Compression, nb_threads: int = 1) -> Codec:
    """The codec of a saving parameter. Frames must be C-contiguous.

    With ``nb_threads`` > 1 the parts of each bshuf_lz4 or gzip frame are compressed in parallel.
    """
    workers = _Workers(nb_threads if name in ("bshuf_lz4", "gzip") else 1)
    encoders: dict[Compression, Callable[[np.ndarray], Chunk]] = {
        "none": lambda frame: frame,
        "bshuf_lz4": lambda frame: _bshuf_lz4(frame, workers),
        "gzip": lambda frame: _gzip(frame, workers),
        "zstd": lambda frame: _zstd_encode(_byte_shuffled(frame), level=_LEVEL),
    }
    options: dict[Compression, dict[str, Any]] = {
        "none": {},
        "bshuf_lz4": dict(hdf5plugin.Bitshuffle(nelems=0, cname="lz4")),
        "gzip": {"shuffle": True, "compression": "gzip", "compression_opts": _LEVEL},
        "zstd": {"shuffle": True, **hdf5plugin.Zstd(clevel=_LEVEL)},
    }
    return Codec(name, options[name], encoders[name], workers.close)


def _split(flat: np.ndarray, nb_parts: int, multiple: int) -> list[np.ndarray]:
    """``flat`` in about equal parts, all but the last a multiple of ``multiple`` elements long."""
    step = max(-(-flat.size // (nb_parts * multiple)) * multiple, multiple)
    return [flat[start : start + step] for start in range(0, flat.size, step)]


def _block_of(itemsize: int) -> int:
    """Pixels in one bitshuffle block: the library's own default."""
    return max(_BSHUF_BLOCK_BYTES // itemsize // 8 * 8, 128)


def _bshuf_lz4(frame: np.ndarray, workers: _Workers) -> bytes:
    """Blocks are compressed on their own, so the parts of a frame simply follow one another."""
    block = _block_of(frame.itemsize)
    parts = workers.map(_bshuf_lz4_part, _split(frame.reshape(-1), workers.nb, block))
    return b"".join([_BSHUF_HEADER.pack(frame.nbytes, block * frame.itemsize), *parts])


def _bshuf_lz4_part(part: np.ndarray) -> Any:
    _one_openmp_thread()
    return bitshuffle.compress_lz4(part, _block_of(part.itemsize))


def _one_openmp_thread() -> None:
    """Keep bitshuffle's OpenMP team of this thread at one: waiting threads spin (8.7 ms of CPU per frame, not 1)."""
    if not getattr(_thread, "set", False):
        set_threads = getattr(_OPENMP, "omp_set_num_threads", None)  # absent in a build without OpenMP
        if set_threads is not None:
            set_threads(1)
        _thread.set = True


def _byte_shuffled(frame: np.ndarray) -> np.ndarray:
    """First bytes of all pixels, then the second ones, ...: what HDF5's shuffle filter undoes."""
    if frame.itemsize == 1:
        return frame.reshape(-1).view("u1")
    pixels = frame.reshape(-1, 1).view("u1")
    planes = np.empty((frame.itemsize, frame.size), "u1")
    for place, plane in enumerate(planes):
        plane[:] = pixels[:, place]
    return planes.reshape(-1)


def _gzip(frame: np.ndarray, workers: _Workers) -> bytes:
    """A zlib stream; parts end on a byte (full flush), so they can be made apart and joined."""
    shuffled = _byte_shuffled(frame)
    if isal_zlib is None:
        return _zlib_encode(shuffled, level=_LEVEL)
    if workers.nb == 1:
        return isal_zlib.compress(shuffled, _LEVEL)
    parts = _split(shuffled, 4 * workers.nb, 1)  # more than threads: high bytes take no time, low bytes all of it
    streams, checksum = [], 1
    for part, (stream, adler) in zip(parts, workers.map(_deflate_part, parts), strict=True):
        streams.append(stream)
        checksum = _adler_combined(checksum, adler, part.size)
    return b"".join([_ZLIB_HEADER, *streams, _DEFLATE_END, checksum.to_bytes(4, "big")])


def _deflate_part(part: np.ndarray) -> tuple[bytes, int]:
    """Deflate blocks without an end, and the Adler-32 of what they hold."""
    stream = isal_zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(part) + stream.flush(zlib.Z_FULL_FLUSH), isal_zlib.adler32(part)


def _adler_combined(first: int, second: int, second_length: int) -> int:
    """Adler-32 of two strings one after the other, from theirs (RFC 1950: two sums modulo 65521)."""
    low_1, high_1, low_2, high_2 = first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16
    low = (low_1 + low_2 - 1) % _ADLER_MODULUS
    high = (high_1 + high_2 + second_length * (low_1 - 1)) % _ADLER_MODULUS
    return high << 16 | low
