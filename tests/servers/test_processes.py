"""Server processes: how they start, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - filters
import tango
from conducting import Conductor
from tango_bench import TangoBench, until


def processing_devices(bench: TangoBench) -> list[str]:
    database = tango.Database("127.0.0.1", bench.port)
    listed = database.get_device_class_list("lima2_receiver/sim_1").value_string
    return [name for name in listed if "limaprocessing" in name]


def test_sigterm_completes_the_files_and_leaves_nothing_in_the_database(own_bench: TangoBench, tmp_path: Path) -> None:
    own_bench.start_detector("sim", 2)
    conductor = Conductor(own_bench)
    saving = {"enabled": True, "base_path": str(tmp_path), "filename_prefix": "run", "nb_frames_per_file": 1000}
    conductor.prepare({"acq": {"nb_frames": 0}, "det": {"size": {"x": 64, "y": 64}}}, {"saving": saving})
    conductor.start()
    until(lambda: conductor.counters(0)["nb_frames_saved"] > 20, 10, "frames saved")

    assert own_bench.terminate("lima2-receiver/sim_1") == 0
    assert own_bench.terminate("lima2-control/sim") == 0

    with h5py.File(tmp_path / "run_0_00000.h5") as file:
        frames = file["/entry_0000/instrument/detector/data"]
        assert len(frames) > 20
        assert frames[len(frames) - 1].shape[-2:] == (64, 64)
    assert not processing_devices(own_bench)


def test_a_killed_receiver_starts_again_without_its_old_processing_devices(own_bench: TangoBench) -> None:
    own_bench.start_detector("sim", 2)
    conductor = Conductor(own_bench)
    conductor.prepare({"acq": {"nb_frames": 2}})
    own_bench.kill("lima2-receiver/sim_1")
    assert processing_devices(own_bench)

    own_bench.start("lima2-receiver", "sim_1", "id00/limareceiver/sim1")

    assert not processing_devices(own_bench)
    conductor = Conductor(own_bench)
    conductor.reset()
    conductor.prepare({"acq": {"nb_frames": 2}})
    conductor.start()
    conductor.until_finished()


def test_servers_that_cannot_start_say_why_in_one_line(own_bench: TangoBench) -> None:
    unknown = own_bench.run("lima2-receiver", "nosuch")
    assert unknown.returncode == 1
    assert "lima2_receiver/nosuch must have one device" in unknown.stderr
    assert "Traceback" not in unknown.stderr

    database = tango.Database("127.0.0.1", own_bench.port)
    database.put_device_property("id00/limareceiver/sim1", {"detector": ["nosuch"]})
    unknown = own_bench.run("lima2-receiver", "sim_1")
    assert unknown.returncode == 1
    assert "detector 'nosuch' is not installed; installed: jungfrau, simulator" in unknown.stderr

    database.put_device_property("id00/limareceiver/sim2", {"rank": ["2"]})
    wrong = own_bench.run("lima2-receiver", "sim_2")
    assert "rank = 2 is not below nb_receivers = 2" in wrong.stderr


def test_a_server_without_a_tango_database_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lima2-control"), "sim"],
        env={"TANGO_HOST": "127.0.0.1:1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 1
    assert "the Tango database does not answer" in done.stderr


def test_a_receiver_can_be_told_to_make_no_processing_devices(own_bench: TangoBench) -> None:
    database = tango.Database("127.0.0.1", own_bench.port)
    database.put_device_property("id00/limareceiver/sim1", {"processing_devices": ["false"]})
    own_bench.start_detector("sim", 2)

    Conductor(own_bench).prepare({"acq": {"nb_frames": 2}})

    assert not processing_devices(own_bench)
    assert "LimaProcessingLegacy" in list(database.get_device_class_list("lima2_receiver/sim_2").value_string)
