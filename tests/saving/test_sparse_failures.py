"""Sparse files after a failure: a clear error, and every frame that was written before it is readable."""

from __future__ import annotations

import errno
import itertools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_frames import NB_BINS, assert_same, info_of, job_of, meta_of, random_frame, saving_in

from lima2_bliss.contract import SPOT, SavingError, SparseFrame, SparseInfo
from lima2_receivers.saving import appended_rows, make_writer, open_sparse, write_master, writer

BIG = (200, 300)
FRAMES = [random_frame(seed) for seed in range(30)]


def big_info() -> SparseInfo:
    radius = np.hypot(*np.indices(BIG)).astype("f4")
    return SparseInfo(BIG, np.dtype("u2"), np.linspace(0, 361, NB_BINS).astype("f4"), radius)


def noise_frame(seed: int) -> SparseFrame:
    """20 000 pixels that do not compress, and 30 spots."""
    rng = np.random.default_rng(seed % 8)
    index = np.sort(rng.choice(BIG[0] * BIG[1], 20_000, replace=False)).astype("i4")
    spots = np.zeros(30, SPOT)
    for field in ("x", "y", "intensity", "sigma"):
        spots[field] = rng.uniform(0, 19, 30)
    background = rng.uniform(1, 50, (2, NB_BINS)).astype("f4")
    return SparseFrame(index, rng.integers(0, 2**16, 20_000, "u2"), *background, spots, True)


def write_until_it_fails(writer, limit: int = 3000) -> SavingError:
    for local in range(limit):
        try:
            writer.write(noise_frame(local), meta_of(local, local, noise_frame(local)))
        except SavingError as error:
            return error
    raise AssertionError(f"{limit} frames were written without an error")


def assert_readable(directory: Path, expected: list[SparseFrame]) -> None:
    """All frames in the complete files are those that were written, one after another."""
    found = []
    for path in sorted(directory.glob("*.h5")):
        with open_sparse(path) as frames:
            found += list(frames)
    assert len(found) == len(expected)
    for got, frame in zip(found, expected, strict=True):
        assert_same(got, frame)


@pytest.mark.parametrize("frames_per_file", [1, 7, 1000])
@pytest.mark.parametrize("compression", ["none", "bshuf_lz4"])
def test_a_full_disk_ends_in_a_clear_error_and_readable_sparse_files(small_disk, frames_per_file, compression):
    saving = saving_in(small_disk, frames_per_file, compression=compression)
    writer = make_writer(saving, big_info(), 0, {}, safety_bytes=0)
    error = write_until_it_fails(writer)
    assert "No space left on device (errno 28)" in str(error)
    with pytest.raises(SavingError):
        writer.write(noise_frame(0), meta_of(0, 0, None))
    writer.close()
    assert writer.saved == writer.complete[1] > 3
    assert_readable(small_disk, [noise_frame(local) for local in range(writer.saved)])
    assert not [path for path in small_disk.iterdir() if path.suffix == ".part"]


@settings(max_examples=40, deadline=None)
@given(fails_at=st.integers(0, 120), frames_per_file=st.integers(1, 12), chunk_bytes=st.sampled_from([64, 200, 2000]))
def test_a_frame_that_cannot_be_written_costs_no_other_one(fails_at, frames_per_file, chunk_bytes):
    """Whichever chunk fails, once: pixels, background or spots."""
    calls, original = itertools.count(), writer.make_codec

    def failing_codec(*arguments):
        codec = original(*arguments)

        def encode(values):
            if active and next(calls) == fails_at:
                raise OSError(errno.EIO, "disk")
            return codec.encode(values)

        return replace(codec, encode=encode)

    active = False
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "make_codec", failing_codec)
        patch.setattr(appended_rows, "CHUNK_BYTES", chunk_bytes)
        saver = make_writer(saving_in(directory, frames_per_file), info_of(), 0, {}, safety_bytes=0)
        active, written = True, 0
        try:
            for local, frame in enumerate(FRAMES):
                saver.write(frame, meta_of(local, local, frame))
                written += 1
            saver.close()
        except SavingError as error:
            assert "sparse_0_" in str(error)  # noqa: PT017  any of the calls may fail, or none
        saver.close()
        # the frame that completes a file is in memory when the file's last chunk fails, and is saved by the second try
        assert saver.saved in (written, written + 1)
        assert saver.complete[1] == saver.saved
        assert_readable(Path(directory), FRAMES[: saver.saved])
        path = write_master(job_of(saving_in(directory, frames_per_file), [len(FRAMES)]))
        if saver.saved:
            with open_sparse(path) as frames:
                assert np.count_nonzero(frames.flags == 0) == saver.saved


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from test_sparse_failures import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
writer = make_writer(saving_in(sys.argv[1], 1000), big_info(), 0, {{}}, safety_bytes=0)
error = write_until_it_fails(writer)
writer.close()
print(writer.saved, error)
"""


def test_a_file_size_limit_ends_in_a_clear_error_and_readable_sparse_files(tmp_path):
    code = LIMITED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "File too large (errno 27)" in done.stdout
    saved = int(done.stdout.split()[0])
    assert saved > 3
    assert_readable(tmp_path, [noise_frame(local) for local in range(saved)])


def test_a_directory_removed_in_mid_run_is_noticed_at_the_next_sparse_frame(tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    writer = make_writer(saving_in(place), info_of(), 0, {}, safety_bytes=0)
    writer.write(FRAMES[0], meta_of(0, 0, FRAMES[0]))
    shutil.rmtree(place)
    with pytest.raises(SavingError, match=r"gone/sparse_0_00000\.h5: No such file or directory"):
        writer.write(FRAMES[1], meta_of(1, 1, FRAMES[1]))
    assert writer.saved == 0
    writer.close()


def test_memory_does_not_grow_with_the_number_of_sparse_frames(tmp_path):
    """One file of 1500 frames holds 180 MB of pixels."""
    frames = [noise_frame(seed) for seed in range(8)]
    writer = make_writer(saving_in(tmp_path, 1500), big_info(), 0, {}, safety_bytes=0)
    process = psutil.Process()
    for local in range(1500):
        writer.write(frames[local % 8], meta_of(local, local, frames[local % 8]))
        if local == 200:
            before = process.memory_info().rss
    grown = process.memory_info().rss - before
    writer.close()
    assert grown < 10e6
