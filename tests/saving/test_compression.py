"""Chunks compressed outside HDF5 are read by HDF5 as the frame they came from."""

from __future__ import annotations

import ctypes
import io
import threading
import time
import zlib

import bitshuffle
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_receivers.saving import compression
from lima2_receivers.saving.compression import make_codec

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]
COMPRESSIONS = ["none", "bshuf_lz4", "gzip", "zstd"]


def random_frame(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(3, shape).astype(dtype)


def through_hdf5(frame: np.ndarray, name: str, nb_threads: int) -> np.ndarray:
    """Write a frame as one ready chunk, read it by HDF5's own filters."""
    codec = make_codec(name, nb_threads)
    try:
        with h5py.File(io.BytesIO(), "w") as file:
            shape = (1, *frame.shape)
            data = file.create_dataset("data", shape, frame.dtype, chunks=shape, **codec.options)
            data.id.write_direct_chunk((0,) * len(shape), codec.encode(frame))
            return data[0]
    finally:
        codec.close()


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(COMPRESSIONS),
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 130), st.integers(1, 130)),
    nb_threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_frame_comes_back_bit_exact(name, dtype, shape, nb_threads, seed):
    frame = random_frame(shape, dtype, seed)
    np.testing.assert_array_equal(through_hdf5(frame, name, nb_threads), frame)


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize(
    "frame", [np.zeros((1, 512, 512), "u2"), np.full((1, 1, 1), 65535, "u2")], ids=["empty", "1 px"]
)
def test_extreme_frames_come_back(name, frame):
    np.testing.assert_array_equal(through_hdf5(frame, name, 2), frame)


def test_noise_that_does_not_compress_comes_back():
    frame = np.random.default_rng(0).integers(0, 2**32, (1, 300, 300), "u4")
    for name in COMPRESSIONS:
        np.testing.assert_array_equal(through_hdf5(frame, name, 2), frame)


def test_several_threads_give_the_same_bshuf_lz4_bytes_as_one():
    frame = random_frame((1, 333, 257), "u2")
    one, three = make_codec("bshuf_lz4", 1), make_codec("bshuf_lz4", 3)
    assert bytes(one.encode(frame)) == bytes(three.encode(frame))
    three.close()


@pytest.mark.parametrize("nb_threads", [1, 3])
def test_gzip_is_a_plain_zlib_stream_of_the_byte_shuffled_frame(nb_threads):
    frame = random_frame((1, 200, 301), "u2")
    codec = make_codec("gzip", nb_threads)
    expected = frame.view("u1").reshape(-1, 2).T.tobytes()
    assert zlib.decompress(bytes(codec.encode(frame))) == expected
    codec.close()


def test_gzip_without_isal_is_readable_too(monkeypatch):
    monkeypatch.setattr(compression, "isal_zlib", None)
    frame = random_frame((1, 100, 100), "u2")
    np.testing.assert_array_equal(through_hdf5(frame, "gzip", 2), frame)


@given(first=st.binary(max_size=200), second=st.binary(max_size=200))
def test_checksums_of_parts_combine(first, second):
    combined = compression._adler_combined(zlib.adler32(first), zlib.adler32(second), len(second))
    assert combined == zlib.adler32(first + second)


def test_a_compressing_thread_uses_one_openmp_thread():
    openmp = ctypes.CDLL(bitshuffle.ext.__file__)
    if not hasattr(openmp, "omp_get_max_threads"):
        pytest.skip("this bitshuffle has no OpenMP")
    seen = []

    def work() -> None:
        make_codec("bshuf_lz4").encode(random_frame((1, 64, 64), "u2"))
        seen.append(openmp.omp_get_max_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1]


@pytest.mark.parametrize("name", ["bshuf_lz4", "gzip", "zstd"])
def test_other_threads_run_while_a_frame_is_compressed(name):
    frame = random_frame((1, 4096, 2048), "u2")
    codec = make_codec(name)
    codec.encode(frame)
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.wait(0.0005):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    codec.encode(frame)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert sum(begin < tick < end for tick in ticks) >= 3
