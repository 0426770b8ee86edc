"""What saving does with files that are there, and with directories that cannot take new ones."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import FrameMeta, SavingError
from lima2_receivers.saving import existing_files, preflight, resolve_prefix

PIXELS = np.ones((1, 6, 5), "uint16")


def touch(directory, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"old")


def test_abort_names_the_file_and_the_remedy(saving, tmp_path, writer_of):
    touch(tmp_path, "scan_1_00000.h5", "scan_1_00001.h5")
    for refused in (lambda: resolve_prefix(saving, range(2)), lambda: writer_of(saving, rank=1)):
        with pytest.raises(SavingError, match=r"scan_1_00000\.h5 exists already \(and 1 more\).*filename_prefix"):
            refused()
    assert (tmp_path / "scan_1_00000.h5").read_bytes() == b"old"


def test_abort_sees_a_master_file(saving, tmp_path, writer_of):
    touch(tmp_path, "scan_master.h5")
    with pytest.raises(SavingError, match="scan_master"):
        resolve_prefix(saving, [0])
    with pytest.raises(SavingError, match="scan_master"):
        writer_of(saving)


def test_files_of_other_prefixes_do_not_count(saving, tmp_path):
    touch(tmp_path, "scan2_0_00000.h5", "scan_x_0_00000.h5", "scan_0_00000.edf", "scan_0_1.h5", "xscan_0_00000.h5")
    assert existing_files(saving) == []
    assert resolve_prefix(saving, [0]) == saving


def test_prefixes_with_special_characters_are_taken_literally(saving, tmp_path):
    saving.filename_prefix = "a.b+(1)[x]"
    touch(tmp_path, "aab+(1)[x]_0_00000.h5", "a.b+(1)[x]_0_00000.h5")
    assert [path.name for path in existing_files(saving)] == ["a.b+(1)[x]_0_00000.h5"]


def test_append_takes_the_next_free_number(saving, tmp_path):
    saving.file_exists_policy = "append"
    assert resolve_prefix(saving, range(2)).filename_prefix == "scan"
    touch(tmp_path, "scan_0_00000.h5")
    assert resolve_prefix(saving, range(2)).filename_prefix == "scan_0001"
    touch(tmp_path, "scan_0001_1_00000.h5")
    assert resolve_prefix(saving, range(2)).filename_prefix == "scan_0002"
    touch(tmp_path, "scan_0004_master.h5")
    assert resolve_prefix(saving, range(2)).filename_prefix == "scan_0005"


def test_append_also_avoids_files_still_being_written(saving, writer_of):
    saving.file_exists_policy = "append"
    writer_of(saving, rank=1)
    assert resolve_prefix(saving, range(2)).filename_prefix == "scan_0001"


def test_append_that_was_not_resolved_is_refused(saving, tmp_path, writer_of):
    saving.file_exists_policy = "append"
    touch(tmp_path, "scan_0_00000.h5")
    with pytest.raises(SavingError, match="exists already"):
        writer_of(saving)


def test_overwrite_leaves_no_file_of_the_older_acquisition(saving, tmp_path, writer_of):
    saving.file_exists_policy = "overwrite"
    touch(tmp_path, "scan_0_00000.h5", "scan_0_00007.h5", "scan_1_00000.h5", "scan_master.h5", "other_0_00000.h5")
    writer = writer_of(resolve_prefix(saving, [0]))
    assert (tmp_path / "scan_0_00007.h5").exists(), "nothing is lost before the first frame"
    writer.write(PIXELS, FrameMeta(0, 0))
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other_0_00000.h5",
        "scan_0_00000.h5",
        "scan_1_00000.h5",
    ]
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        assert len(file["entry_0000/measurement/data"]) == 1


def test_an_unfinished_file_of_a_killed_receiver_is_replaced(saving, tmp_path, writer_of):
    touch(tmp_path, ".scan_0_00000.h5.part")
    writer = writer_of(saving)
    writer.write(PIXELS, FrameMeta(0, 0))
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["scan_0_00000.h5"]


def test_two_writers_cannot_share_a_file(saving, writer_of):
    first = writer_of(saving)
    with pytest.raises(SavingError, match=r"scan_0_00000\.h5.*it is being written already"):
        writer_of(saving)
    first.write(PIXELS, FrameMeta(0, 0))
    first.close()


def test_a_file_that_appears_meanwhile_is_not_overwritten(saving, tmp_path, writer_of):
    writer = writer_of(saving)
    writer.write(PIXELS, FrameMeta(0, 0))
    touch(tmp_path, "scan_0_00000.h5")
    with pytest.raises(SavingError, match="File exists"):
        writer.close()
    assert (tmp_path / "scan_0_00000.h5").read_bytes() == b"old"


def test_a_missing_directory_is_named(saving, tmp_path, writer_of):
    saving.base_path = str(tmp_path / "missing")
    with pytest.raises(SavingError, match="missing does not exist: create it"):
        preflight(saving)
    with pytest.raises(SavingError, match="does not exist"):
        writer_of(saving)


def test_a_file_is_not_a_directory(saving, tmp_path):
    touch(tmp_path, "file")
    saving.base_path = str(tmp_path / "file")
    with pytest.raises(SavingError, match="is not a directory"):
        preflight(saving)


def test_a_disk_too_small_is_refused_with_figures(saving, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    preflight(saving, nbytes_expected=free, expected_ratio=4)
    with pytest.raises(SavingError, match=r"GB free, .* GB are needed"):
        preflight(saving, nbytes_expected=free, expected_ratio=0.5)
    with pytest.raises(SavingError, match="as safety"):
        preflight(saving, safety_bytes=2 * free)
