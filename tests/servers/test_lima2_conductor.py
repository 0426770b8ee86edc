"""ESRF's own conductor drives our servers.

It needs an environment of its own (its lima2-client is newer than the one that BLISS 2.1 brings), which
``make setup-conductor`` makes.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - filters
from tango_bench import TangoBench, free_port

PLACE = Path(__file__).parents[2] / ".venv-conductor"


def test_the_conductor_of_lima2_runs_acquisitions_on_our_servers(bench: TangoBench, tmp_path: Path) -> None:
    assert PLACE.is_dir(), "the conductor is not installed; run: make setup-conductor"
    port = free_port()
    devices = ["id00/limacontrol/sim", "id00/limareceiver/sim1", "id00/limareceiver/sim2"]
    command = [f"{PLACE}/bin/lima2-conductor", "start", bench.host, "round_robin", *devices, "--port", str(port)]
    with (tmp_path / "conductor.log").open("w") as log:
        conductor = subprocess.Popen(command, stdout=log, stderr=log, env=bench.environment, cwd=tmp_path)
        try:
            script = Path(__file__).with_name("lima2_client_script.py")
            done = subprocess.run(
                [f"{PLACE}/bin/python", str(script), str(port), str(tmp_path)],
                env=bench.environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            conductor.terminate()
            conductor.wait(20)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])

    assert seen["runs"] == ["AcquisitionSuccess"] * 4
    assert seen["failed"] == "AcquisitionFailure"
    assert seen["after failure"] == "AcquisitionSuccess"
    assert seen["input_frame"] == 50
    assert seen["rows"] == 51
    assert "acq.expo_time" in seen["refused"]
    assert "statistics.rect_rois[0]" in seen["roi"]
    assert seen["stopped"] == "AcquisitionSuccess"
    with h5py.File(seen["master"][0]) as file:
        assert len(file[seen["master"][1]]) == seen["endless"]
