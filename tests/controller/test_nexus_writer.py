"""Scans saved by the external writer process: complete files with links, under both data policies, and its failures."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from nexus_writer import nexus_writer
from saved_files import broken_links, far_names, stamps
from test_saving_policies import STAMPED
from test_smx_scans import SETUP as SMX_SETUP

from lima2_bliss.stack import Stack

pytestmark = pytest.mark.stack

#: `written(scan)`: the file, once the writer has completed it.
EXTERNAL = """
SCAN_SAVING.writer = "nexus"
def written(scan):
    wait(lambda: scan.writer._is_scan_finished())
    return [scan.scan_info["filename"], f"{int(scan.scan_number)}.1"]
"""


@pytest.fixture(scope="module")
def writer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen]:
    """The writer process, for the tests of this module."""
    with nexus_writer(stack, tmp_path_factory.mktemp("nexus") / "writer.log") as process:
        yield process


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two file systems: one read-only, one of 8 MB."""
    libc = ctypes.CDLL(None, use_errno=True)
    places = {"read_only": (tmp_path / "read_only", 1), "small": (tmp_path / "small", 0)}
    mounted = []
    try:
        for place, flags in places.values():
            place.mkdir()
            if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, b"size=8m"):
                pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
            mounted.append(place)
        yield {name: str(place) for name, (place, _) in places.items()}
    finally:
        for place in mounted:
            libc.umount2(os.fsencode(place), 2)


def test_external_writer_makes_complete_files_with_links_also_after_ctrl_c(writer, bliss_values, tmp_path: Path):
    said = bliss_values(
        SMX_SETUP
        + STAMPED
        + EXTERNAL
        + """
det.detector["stamp_frame_number"] = True
scan = loopscan(20, 0.01, det, sim3)
say(scan=written(scan), hits=det.last_outcome.hits.hits, spots=read(scan, "nb_peaks").tolist())
sim3.detector["nb_prefetch_frames"] = 1
stopped = interrupted(lambda: sim3.take(5000, 0.002), received(sim3, 60))
say(stopped=stopped, second=written(session.scans[-1]))
say(unsaved=streams(loopscan(3, 0.01, sim3, save=False))["sim3:image"], logged=Logged.lines)
SCAN_SAVING.writer = "hdf5"
clean(det); clean(sim3)
""",
        timeout_s=180,
    )
    assert said["logged"] == []
    scan_file, entry = Path(said["scan"][0]), said["scan"][1]
    moved = Path(shutil.move(scan_file.parent, tmp_path / "elsewhere")) / scan_file.name
    with h5py.File(moved, "r") as file:
        assert list(broken_links(file[entry])) == []
        assert all(not name.startswith("/") for name in far_names(file[entry]))
        assert file[f"{entry}/writer/status"].asstr()[()] == "SUCCEEDED"
        assert stamps(file, f"{entry}/measurement/simulator") == list(range(20))
        assert stamps(file, f"{entry}/measurement/sim3") == list(range(20))
        detector = file[f"{entry}/instrument/simulator"]
        assert detector["peaks/nPeaks"][:].tolist() == said["spots"]
        assert len(detector["hits/data"]) == said["hits"]
        assert len(detector["sparse_frames/frame_ptr"]) == 21
        assert file[f"{entry}/measurement/simulator_mean_images"] == detector["mean_images"]
        kind, _, taken, _ = said["stopped"]
        entry = said["second"][1]
        assert kind == "ScanAbort"
        assert list(broken_links(file[entry])) == []
        assert stamps(file, f"{entry}/measurement/sim3") == list(range(taken["sim3:image"]))
        assert len(file[f"{entry}/measurement/sim3_timestamp"]) == taken["sim3:image"] >= 60
        assert len(file) == 2


def test_external_writer_under_the_esrf_policy(writer, bliss_values, tmp_path: Path):
    said = bliss_values(
        STAMPED
        + EXTERNAL
        + """
SCAN_SAVING.newproposal("blc54321")
SCAN_SAVING.newcollection("thaumatin")
SCAN_SAVING.newdataset("grid")
say(scan=written(loopscan(5, 0.01, sim1, sim3)), logged=Logged.lines)
SCAN_SAVING.writer = "hdf5"
clean(sim1); clean(sim3)
""",
        session="policy",
    )
    assert said["logged"] == []
    scan_file, entry = Path(said["scan"][0]), said["scan"][1]
    moved = Path(shutil.move(scan_file.parents[2], tmp_path / "archive"))
    for name, place in (
        ("thaumatin/thaumatin_grid/thaumatin_grid.h5", entry),
        ("thaumatin/blc54321_thaumatin.h5", f"thaumatin_grid_{entry}"),
        ("blc54321_id00.h5", f"thaumatin_grid_{entry}"),
    ):
        with h5py.File(moved / name, "r") as file:
            assert list(broken_links(file[place])) == [], name
            assert stamps(file, f"{place}/measurement/sim1") == list(range(5)), name
            assert stamps(file, f"{place}/instrument/sim3/image") == list(range(5)), name
            assert file[f"{place}/measurement/sim3_frame_index"][:].tolist() == list(range(5))


def test_places_where_nothing_can_be_written_are_refused_in_one_sentence(writer, bliss_values, disks):
    said = bliss_values(
        STAMPED
        + f"disks = {disks!r}"
        + """
for name in ("hdf5", "nexus"):
    SCAN_SAVING.writer = name
    for disk, place in disks.items():
        SCAN_SAVING.base_path = place
        say(**{f"{name}_{disk}": failure(lambda: loopscan(3, 0.01, sim1))})
        say(**{f"{name}_{disk}_left": [files for _, _, files in os.walk(place) if files]})
SCAN_SAVING.base_path, SCAN_SAVING.writer = data_path, "hdf5"
say(states=[str(s.name) for s in sim1.device_states().values()], then=measurement(loopscan(3, 0.01, sim1))["sim1"])
clean(sim1); clean(sim3)
"""
    )
    for writer_name in ("hdf5", "nexus"):
        kind, text, _ = said[f"{writer_name}_read_only"]
        assert kind == "SavingError"
        assert f"the file system of {disks['read_only']} is read-only" in text
        kind, text, _ = said[f"{writer_name}_small"]
        assert kind == "SavingError"
        assert disks["small"] in text
        assert "free space" in text
        assert said[f"{writer_name}_read_only_left"] == []
    assert set(said["states"]) == {"IDLE"}
    assert said["then"] == [3, 24, 32]


def test_a_writer_that_is_killed_ends_the_scan_and_the_images_are_in_files(writer, bliss_values):
    said = bliss_values(
        STAMPED
        + EXTERNAL
        + f"writer_process = {writer.pid}"
        + """
task = gevent.spawn(failure, lambda: loopscan(1000, 0.02, sim3))
wait(received(sim3, 20))
os.kill(writer_process, 9)
say(killed=task.get(timeout=30), states=[str(s.name) for s in sim3.device_states().values()],
    files={name: str(path) for name, path in sim3.last_outcome.files.items()},
    published=streams(session.scans[-1])["sim3:image"],
    absent=failure(lambda: loopscan(3, 0.01, sim3)))
SCAN_SAVING.writer = "hdf5"
clean(sim1); clean(sim3)
"""
    )
    for kind, text, _ in (said["killed"], said["absent"]):
        assert kind == "RuntimeError"
        assert "id00/bliss_nxwriter/tests" in text
    assert set(said["states"]) == {"IDLE"}
    with h5py.File(said["files"]["frame"], "r") as file:
        images = stamps(file, "entry_0000/instrument/sim3/data")
    assert images == list(range(said["published"]))
    assert len(images) >= 20
