"""Scans saved under the basic policy and the ESRF data policy by the writer inside BLISS, read like an analyst does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from ruamel.yaml import YAML
from saved_files import all_files, broken_links, far_names, stamps
from test_smx_scans import SETUP as SMX_SETUP

pytestmark = pytest.mark.stack

PAGE = Path(__file__).resolve().parents[2] / "doc" / "how-to" / "saving.md"

#: Detectors whose images have their number in the first pixel.
STAMPED = """
for each in (sim1, sim3):
    clean(each)
    each.detector.update({"size.x": 32, "size.y": 24, "stamp_frame_number": True})
"""


def test_basic_policy_images_and_results_are_all_in_the_scan_file_that_can_be_moved(bliss_values, tmp_path: Path):
    said = bliss_values(
        SMX_SETUP
        + STAMPED
        + """
det.detector["stamp_frame_number"] = True
loopscan(3, 0.01, diode)
scan = loopscan(20, 0.01, det, sim3)
say(file=scan.scan_info["filename"], entry=f"{int(scan.scan_number)}.1", hits=det.last_outcome.hits.hits,
    nb_peaks=read(scan, "nb_peaks").tolist(), pixels=read(scan, "nb_sparse").tolist(), logged=Logged.lines)
clean(det); clean(sim3)
""",
        timeout_s=180,
    )
    assert said["logged"] == []
    scan_file = Path(said["file"])
    assert scan_file.parent.parent == tmp_path
    elsewhere = shutil.move(scan_file.parent, tmp_path / "elsewhere")
    with h5py.File(elsewhere / scan_file.name, "r") as file:
        entry = said["entry"]
        assert list(file) == ["1.1", "2.1"]
        assert list(broken_links(file[entry])) == []
        assert all(not name.startswith("/") for name in far_names(file[entry]))
        assert stamps(file, f"{entry}/measurement/simulator") == list(range(20))
        assert stamps(file, f"{entry}/measurement/sim3") == list(range(20))
        measurement, detector = file[f"{entry}/measurement"], file[f"{entry}/instrument/simulator"]
        for name in ("hits", "sparse_frames", "peaks", "mean_images", "peak_images", "frame_flags", "timestamp"):
            assert measurement[f"simulator_{name}"] == detector[name], name
        assert detector["peaks/nPeaks"][:].tolist() == said["nb_peaks"]
        assert np.diff(detector["sparse_frames/frame_ptr"][:]).tolist() == said["pixels"]
        assert len(detector["hits/data"]) == said["hits"] == detector["is_hit"][:].sum()
        assert detector["hits/data"][0].tolist() == detector["image"][detector["hits/frame_index"][0]].tolist()
        assert detector["peak_images"].shape[1:] == detector["mean_images"].shape[1:] == (512, 512)
        assert sum(detector["peaks/nPeaks"][:]) == detector["peak_images"][-2:].sum()
        assert file[f"{entry}/measurement/sim3_frame_index"][:].tolist() == list(range(20))
    code = _block("run: analyst")
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True)
    assert f"hits: {said['hits']} of 20\nspots: {sum(said['nb_peaks'])}\n" in done.stdout, done.stderr
    assert f"sparse pixels: {sum(said['pixels'])}\n" in done.stdout


def _block(mark: str) -> str:
    """A code block of the page on saving."""
    (found,) = re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)\n```", PAGE.read_text(), re.S)
    return found


def test_the_configuration_on_the_page_is_that_of_the_session_tested_here(stack):
    for mark, file in (
        ("check: policy session", "sessions/policy.yml"),
        ("check: nexus writer", "tango/nexuswriter.yml"),
    ):
        shown, used = (YAML(typ="safe").load(text) for text in (_block(mark), (stack.config_dir / file).read_text()))
        assert set(shown) == set(used)
        assert set(shown.get("scan_saving", ())) == set(used.get("scan_saving", ()))
        for device in shown.get("device", ()):
            assert set(device) == set(used["device"][0])
            assert device["class"] == used["device"][0]["class"]


def test_nothing_is_saved_that_is_not_wanted_and_files_are_never_mixed(bliss_values, tmp_path: Path):
    said = bliss_values(
        STAMPED
        + """
def files():
    return sorted(os.path.relpath(os.path.join(where, name), data_path)
                  for where, below, names in os.walk(data_path) for name in names + below)

def taken(scan):
    with h5py.File(scan.scan_info["filename"]) as file:
        entry = file[f"{int(scan.scan_number)}.1/measurement"]
        return {name: entry[name][:, 0, 0].tolist() if entry[name].ndim == 3 else len(entry[name]) for name in entry}

before = files()
unsaved = loopscan(3, 0.01, sim3, save=False)
ct(0.01, sim1, sim3)
say(unsaved=streams(unsaved)["sim3:image"], left=[name for name in files() if name not in before])
sim1.roi_counters.set("all", (0, 0, 32, 24))
numbers = taken(loopscan(3, 0.01, sim1.counters.all_sum))
sim1.saving.enabled = False
say(numbers=numbers, unsaved_images=taken(loopscan(3, 0.01, sim1)), info=sim1.saving.__info__(),
    written=[name for name in files() if "sim" in name])
sim1.saving.enabled = True
say(next=sim1.saving.__info__())
template, SCAN_SAVING.images_path_template = SCAN_SAVING.images_path_template, "same"
first = loopscan(4, 0.01, sim1)
second = taken(loopscan(7, 0.01, sim1))
say(first=taken(first)["sim1"], second=second["sim1"], images=[name for name in files() if name.endswith("master.h5")])
sim1.saving.file_exists_policy = "abort"
say(abort=failure(lambda: loopscan(2, 0.01, sim1)), after=[str(s.name) for s in sim1.device_states().values()])
SCAN_SAVING.images_path_template, SCAN_SAVING.writer = template, "null"
say(null=sim1.saving.__info__())
SCAN_SAVING.writer = "hdf5"
clean(sim1); clean(sim3)
"""
    )
    assert said["unsaved"] == 3
    assert said["left"] == []
    assert said["numbers"]["sim1_all_sum"] == 3
    assert "sim1" not in said["numbers"]
    assert "sim1" not in said["unsaved_images"]
    assert said["unsaved_images"]["sim1_all_sum"] == 3
    assert said["written"] == []
    assert "next images: not saved, enabled is False" in said["info"]
    assert f"next images: {tmp_path}/tests/scanNNNN/sim1_*.h5" in said["next"]
    assert f"scan file:   {tmp_path}/tests/data.h5 (writer hdf5)" in said["next"]
    assert "writer is 'null'" in said["null"]
    assert (said["first"], said["second"]) == ([*range(4)], [*range(7)])
    assert said["images"] == ["tests/same/sim1_0001_master.h5", "tests/same/sim1_master.h5"]
    kind, text, _ = said["abort"]
    assert kind == "SavingError"
    assert "sim1" in text
    assert "exist" in text
    assert set(said["after"]) == {"IDLE"}


def test_esrf_policy_images_are_in_the_dataset_and_in_the_files_of_collection_and_proposal(
    bliss_values, tmp_path: Path
):
    said = bliss_values(
        STAMPED
        + """
SCAN_SAVING.writer = "hdf5"
SCAN_SAVING.newproposal("blc12345")
SCAN_SAVING.newcollection("lysozyme")
SCAN_SAVING.newdataset("first")
info = sim3.saving.__info__()
first = loopscan(4, 0.01, sim1, sim3)
SCAN_SAVING.newdataset("second")
second = loopscan(6, 0.01, sim1, sim3)
say(files=[scan.scan_info["filename"] for scan in (first, second)], info=info, raw=SCAN_SAVING.proposal.path,
    entries=[f"{int(scan.scan_number)}.1" for scan in (first, second)], collection=SCAN_SAVING.collection.path,
    proposal=SCAN_SAVING.proposal.path, logged=Logged.lines)
clean(sim1); clean(sim3)
""",
        session="policy",
    )
    assert said["logged"] == []
    first, second = (Path(name) for name in said["files"])
    collection = first.parent.parent
    assert (first.name, second.name) == ("lysozyme_first.h5", "lysozyme_second.h5")
    assert second.parent.parent == collection
    assert f"{first.parent}/scanNNNN/sim3_*.h5" in said["info"]
    assert {"scan0001/sim3_master.h5", "scan0001/sim1_0_00000.h5"} < set(all_files(first.parent))
    moved = Path(shutil.move(collection.parent, tmp_path / "archive"))
    for path, number, images in ((first, 0, 4), (second, 1, 6)):
        entry, stem = said["entries"][number], path.stem
        for name, place in (
            (f"{collection.name}/{stem}/{path.name}", entry),
            (f"{collection.name}/blc12345_lysozyme.h5", f"{stem}_{entry}"),
            ("blc12345_id00.h5", f"{stem}_{entry}"),
        ):
            with h5py.File(moved / name, "r") as file:
                assert list(broken_links(file[place])) == [], name
                for detector in ("sim1", "sim3"):
                    assert stamps(file, f"{place}/measurement/{detector}") == list(range(images)), name
                    assert file[f"{place}/measurement/{detector}_frame_flags"][:].tolist() == [0] * images
    # one dataset by itself
    alone = Path(shutil.move(moved / collection.name / second.parent.name, tmp_path / "alone"))
    with h5py.File(alone / second.name, "r") as file:
        assert stamps(file, f"{said['entries'][1]}/instrument/sim3/image") == list(range(6))
