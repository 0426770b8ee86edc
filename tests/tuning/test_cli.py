"""The command, on files as the pipeline leaves them and on files that the session makes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import LegacyParameters, Saving
from lima2_receivers.pipelines.smx.tables import load_tables
from lima2_receivers.saving import make_writer, write_master
from lima2_receivers.tuning.cli import main

INFO = FrameInfo(1, 256, 256, np.dtype("u2"))


@pytest.fixture
def scan(tmp_path, crystal):
    """Saves the frames as two receivers would, one frame in three vetoed; gives the path of the master file."""

    def save(processing=None, geometry=None):
        used = processing or crystal.processing()
        saving = Saving(enabled=True, base_path=str(tmp_path), filename_prefix="scan", nb_frames_per_file=4)
        params = {"processing": used.model_dump(mode="json")}
        for rank in range(2):
            writer = make_writer(saving, INFO, rank, params | {"geometry": geometry or {}}, safety_bytes=0)
            for index in range(rank, 12, 2):
                flags = FrameFlags.VETOED if index % 3 == 1 else FrameFlags.GOOD
                frame = None if flags else crystal.frames[index][None]
                writer.write(frame, FrameMeta(index, index // 2, 0, flags, hit=bool(crystal.hits[index])))
            writer.close()
        job = MasterJob(saving=saving, counts=[6, 6], shape=INFO.shape, dtype="<u2", metadata={"params": params})
        return write_master(job)

    return save


def rows_of(capsys):
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("lima2-smx-tune: ")
    assert said.err.count("\n") == 1
    return said.err


def test_the_master_file_of_a_scan_needs_nothing_else(scan, capsys, crystal):
    main([str(scan()), "--set", "cutoff_peak=4,5", "--set", "min_spots=10", "--json"])
    report = rows_of(capsys)
    assert (report["nb_frames"], report["nb_in_source"], report["left_out"]) == (8, 12, {"VETOED": 4})
    assert report["present"] == {"peaks.cutoff_peak": 5.0, "peaks.min_spots": 10}
    assert [row["values"]["peaks.cutoff_peak"] for row in report["rows"]] == [4, 5]
    assert report["rows"][0]["hits"] == sum(crystal.hits[index] for index in range(12) if index % 3 != 1)


def test_one_file_of_a_receiver_will_do(scan, capsys, tmp_path):
    scan()
    main([str(tmp_path / "scan_1_00000.h5"), "--frames", "1:4", "--json"])
    report = rows_of(capsys)
    assert (report["nb_frames"], report["nb_in_source"], report["left_out"]) == (2, 4, {"VETOED": 1})


def test_a_poni_file_that_is_gone_is_made_again_from_the_receivers_files(scan, capsys, tmp_path, crystal):
    gone = crystal.processing(fai={"poni_path": str(tmp_path / "gone.poni")})
    description = load_tables(crystal.processing().fai, INFO).description
    main([str(scan(gone, description)), "--json"])
    again = rows_of(capsys)["rows"]
    main([str(tmp_path / "scan_master.h5"), "--poni", str(crystal.poni), "--json"])
    given = rows_of(capsys)["rows"]
    for key in ("hits", "spots_per_hit", "pixels_per_frame"):
        assert again[0][key] == given[0][key]
    assert not list(tmp_path.glob("*.poni"))


def test_frames_of_the_session_come_as_numpy_file_with_parameters_and_truth(tmp_path, capsys, crystal):
    np.save(tmp_path / "frames.npy", crystal.frames)
    np.save(tmp_path / "truth.npy", crystal.hits)
    np.save(tmp_path / "mask.npy", np.eye(256, dtype="u1"))
    (tmp_path / "params.json").write_text(crystal.processing(fai={"mask_path": "/gone.npy"}).model_dump_json())
    files = [tmp_path / "frames.npy", "--params", tmp_path / "params.json", "--truth", tmp_path / "truth.npy"]
    main([*map(str, files), "--mask", str(tmp_path / "mask.npy"), "--set", "cutoff_peak=4,9", "--frames", "0:10:2"])
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith(f"{tmp_path}/frames.npy: 5 of 12 frames, 256 x 256 uint16; reference on")
    assert table[2].split()[-3:] == ["found", "missed", "false"]
    assert len(table) == 6
    main([*map(str, files), "--mask", "", "--max-frames", "2", "--json"])
    assert rows_of(capsys)["nb_frames"] == 2


def test_a_poni_file_is_enough_for_any_frames(tmp_path, capsys, crystal):
    np.save(tmp_path / "frames.npy", crystal.frames[:1])
    main([str(tmp_path / "frames.npy"), "--poni", str(crystal.poni), "--set", "backend=reference", "--json"])
    assert rows_of(capsys)["rows"][0]["backend"] == "reference"


def test_errors_are_one_line(tmp_path, capsys, crystal, scan):
    master = scan()
    frames, poni = tmp_path / "frames.npy", ("--poni", crystal.poni)
    np.save(frames, crystal.frames)
    (tmp_path / "bad.json").write_text('{"fai": {"cutof": 3}}')
    (tmp_path / "list.json").write_text("[]")
    assert "FILE" in refusal(capsys)
    assert "unrecognized arguments: --foo" in refusal(capsys, master, "--foo")
    assert "there is no file" in refusal(capsys, tmp_path / "none.h5")
    assert "did you mean cutoff_peak" in refusal(capsys, master, "--set", "cutofpeak=3")
    assert "peaks.cutoff_peak = -3" in refusal(capsys, master, "--set", "cutoff_peak=-3")
    assert "--frames 5" in refusal(capsys, master, "--frames", "5")
    assert "--frames ::0" in refusal(capsys, master, "--frames", "::0")
    assert "says nothing of parameters, and so has no geometry; give --poni" in refusal(capsys, frames)
    assert "fai.cutof: unknown parameter" in refusal(capsys, frames, "--params", tmp_path / "bad.json")
    assert "holds no object" in refusal(capsys, frames, "--params", tmp_path / "list.json")
    assert "cannot be read" in refusal(capsys, frames, "--params", tmp_path / "none.json")
    assert "is not valid JSON" in refusal(capsys, frames, "--params", crystal.poni)
    assert "there is no file" in refusal(capsys, frames, "--poni", tmp_path / "none.poni")
    assert "truth has the shape (256,)" in refusal(capsys, frames, *poni, "--truth", _vector(tmp_path))
    assert "for the detector" in refusal(capsys, _half(tmp_path, crystal), *poni)


def _vector(place):
    np.save(place / "vector.npy", np.ones(256, "u1"))
    return place / "vector.npy"


def _half(place, crystal):
    np.save(place / "half.npy", crystal.frames[:, :128])
    return place / "half.npy"


def test_a_scan_with_another_pipeline_needs_a_geometry(scan, capsys, crystal):
    master = scan(LegacyParameters())
    assert "was taken with LimaProcessingLegacy, and so has no geometry" in refusal(capsys, master)
    main([str(master), "--poni", str(crystal.poni), "--set", "backend=reference", "--frames", ":1", "--json"])
    assert rows_of(capsys)["nb_frames"] == 1


def test_the_help_says_how_to_begin():
    done = subprocess.run(
        [sys.executable, "-m", "lima2_receivers.tuning.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert "lima2-smx-tune scan_master.h5 --set cutoff_peak=3,4,5 --set min_spots=5,10" in done.stdout
