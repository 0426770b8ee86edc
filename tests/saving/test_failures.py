"""Disk full, limits, permissions and directories that vanish: a clear error, and all that was written is readable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np
import psutil
import pytest

from lima2_bliss.contract import FrameMeta, SavingError
from lima2_bliss.contract.access import MasterJob
from lima2_receivers.saving import resolve_prefix, write_master

NOISE = np.random.default_rng(0).integers(0, 2**16, (8, 1, 128, 128), dtype="uint16")
DATA = "entry_0000/measurement/data"


def write_until_it_fails(writer, limit: int = 5000) -> SavingError:
    for local in range(limit):
        try:
            writer.write(NOISE[local % 8], FrameMeta(local, local))
        except SavingError as error:
            return error
    raise AssertionError(f"{limit} frames were written without an error")


def assert_readable(directory: Path, count: int) -> None:
    """All frames in the complete files are those that were written, ``count`` of them."""
    found = 0
    for path in sorted(directory.glob("*.h5")):
        with h5py.File(path) as file:
            for pixels in file[DATA]:
                np.testing.assert_array_equal(pixels, NOISE[found % 8, 0])
                found += 1
            assert len(file["entry_0000/instrument/detector/frame_flags"]) == len(file[DATA])
    assert found == count


@pytest.mark.parametrize("frames_per_file", [1, 7, 50, 10_000])
@pytest.mark.parametrize("compression", ["none", "bshuf_lz4"])
def test_a_full_disk_ends_in_a_clear_error_and_readable_files(
    saving, writer_of, small_disk, frames_per_file, compression
):
    saving.base_path = str(small_disk)
    saving.nb_frames_per_file, saving.compression = frames_per_file, compression
    writer = writer_of(saving, (1, 128, 128))
    error = write_until_it_fails(writer)
    assert "No space left on device (errno 28)" in str(error)
    assert "base_path" in str(error)
    assert error.errinfo["path"].startswith(str(small_disk / "scan_0_"))
    assert writer.saved == writer.complete[1] > 50
    assert_readable(small_disk, writer.saved)
    with pytest.raises(SavingError, match="No space left"):
        writer.write(NOISE[0], FrameMeta(writer.saved, writer.saved))
    writer.close()
    assert_readable(small_disk, writer.saved)


def test_a_disk_that_is_full_at_the_start_is_an_error_at_once(saving, writer_of, small_disk):
    (small_disk / "big").write_bytes(bytes((8 << 20) - (512 << 10)))
    saving.base_path = str(small_disk)
    with pytest.raises(SavingError, match=r"No space left on device|GB are needed"):
        writer_of(saving, (1, 128, 128))
    assert [path.name for path in small_disk.iterdir()] == ["big"]


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from test_failures import *
from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
saving = Saving(enabled=True, base_path=sys.argv[1], filename_prefix="scan", nb_frames_per_file=1000)
writer = make_writer(saving, FrameInfo(1, 128, 128, np.dtype("u2")), 0, {{}}, safety_bytes=0)
error = write_until_it_fails(writer)
writer.close()
print(writer.saved, error)
"""


def run_python(code: str, *arguments: str, **options) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_size_limit_ends_in_a_clear_error_and_readable_files(tmp_path):
    output = run_python(LIMITED.format(tests=str(Path(__file__).parent)), str(tmp_path))
    assert "File too large (errno 27)" in output
    assert "nb_frames_per_file" in output
    assert_readable(tmp_path, int(output.split()[0]))


def test_a_directory_removed_in_mid_run_is_noticed_at_the_next_frame(saving, writer_of, tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    saving.base_path = str(place)
    writer = writer_of(saving, (1, 128, 128))
    writer.write(NOISE[0], FrameMeta(0, 0))
    shutil.rmtree(place)
    with pytest.raises(SavingError, match=r"gone/scan_0_00000\.h5: No such file or directory.*directory is gone"):
        writer.write(NOISE[1], FrameMeta(1, 1))
    assert writer.saved == 0, "what nobody can read is not counted as saved"
    writer.close()


def test_a_directory_renamed_in_mid_run_keeps_its_complete_files(saving, writer_of, tmp_path):
    place, moved = tmp_path / "place", tmp_path / "moved"
    place.mkdir()
    saving.base_path = str(place)
    writer = writer_of(saving, (1, 128, 128))
    for local in range(5):
        writer.write(NOISE[local], FrameMeta(local, local))
    place.rename(moved)
    with pytest.raises(SavingError, match=r"scan_0_00001\.h5: No such file or directory"):
        writer.close()
    assert writer.complete == (1, 4)
    assert_readable(moved, 4)


NOBODY = """
import os, sys
sys.path.insert(0, {tests!r})
import h5py
from test_failures import *
from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer, preflight
place = Path(sys.argv[1])
os.chown(place, 65534, 65534)
os.setgid(65534)
os.setuid(65534)
saving = Saving(enabled=True, base_path=str(place), filename_prefix="scan", nb_frames_per_file=4)
writer = make_writer(saving, FrameInfo(1, 128, 128, np.dtype("u2")), 0, {{}}, safety_bytes=0)
for local in range(6):
    writer.write(NOISE[local], FrameMeta(local, local))
place.chmod(0o500)
try:
    writer.close()
except SavingError as error:
    print(error)
print(writer.complete, writer.saved)
try:
    preflight(saving)
except SavingError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_permission_lost_in_mid_run_ends_in_a_clear_error_and_readable_files(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    output = run_python(NOBODY.format(tests=str(Path(__file__).parent)), str(place)).splitlines()
    assert "scan_0_00001.h5: Permission denied (errno 13); give the receiver's user write permission" in output[0]
    assert output[1] == "(1, 4) 4"
    assert "cannot write in" in output[2]
    assert "Permission denied" in output[2]
    assert_readable(place, 4)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_failures import *
from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer
saving = Saving(enabled=True, base_path=sys.argv[1], filename_prefix="scan", nb_frames_per_file=4)
writer = make_writer(saving, FrameInfo(1, 128, 128, np.dtype("u2")), 0, {{}}, safety_bytes=0)
for local in range(6):
    writer.write(NOISE[local], FrameMeta(local, local))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_complete_files_and_a_master_over_them_are_readable(saving, writer_of, tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert_readable(tmp_path, 4)
    job = MasterJob(saving=saving, counts=[6], shape=(1, 128, 128), dtype="uint16")
    with h5py.File(write_master(job)) as file:
        assert file["entry_0000/instrument/detector/frame_flags"][:].tolist() == [0, 0, 0, 0, 1, 1]
        assert file[DATA][:].shape == (6, 128, 128)
    saving.file_exists_policy = "append"
    assert resolve_prefix(saving, [0]).filename_prefix == "scan_0001"


def test_memory_does_not_grow_with_the_number_of_frames(saving, writer_of):
    saving.nb_frames_per_file = 200
    writer = writer_of(saving, (1, 128, 128))
    process = psutil.Process()
    for local in range(5000):
        writer.write(NOISE[local % 8], FrameMeta(local, local))
        if local == 1000:
            before = process.memory_info().rss
    writer.close()
    assert process.memory_info().rss - before < 5e6
