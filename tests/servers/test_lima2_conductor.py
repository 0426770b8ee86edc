"""ESRF's own conductor drives our servers.

It needs an environment of its own (its lima2-client is newer than the one that BLISS 2.1 brings), which
``make setup-conductor`` makes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - filters
import numpy as np
from tango_bench import TangoBench, free_port

from lima2_bliss.contract.encoding import decode_rows, decode_sparse_frame
from lima2_bliss.contract.records import SMX_FRAME, SPOT

PLACE = Path(__file__).parents[2] / ".venv-conductor"
DEVICES = ["id00/limacontrol/sim", "id00/limareceiver/sim1", "id00/limareceiver/sim2"]


@contextmanager
def running_conductor(bench: TangoBench, folder: Path) -> Iterator[int]:
    """The port of a conductor of detector `sim`."""
    assert PLACE.is_dir(), "the conductor is not installed; run: make setup-conductor"
    port = free_port()
    command = [f"{PLACE}/bin/lima2-conductor", "start", bench.host, "round_robin", *DEVICES, "--port", str(port)]
    with (folder / "conductor.log").open("w") as log:
        conductor = subprocess.Popen(command, stdout=log, stderr=log, env=bench.environment, cwd=folder)
        try:
            yield port
        finally:
            conductor.terminate()
            conductor.wait(20)


def seen_by(script: str, bench: TangoBench, *arguments: Any) -> dict[str, Any]:
    """What a script saw that runs with the conductor's own client."""
    command = [f"{PLACE}/bin/python", str(Path(__file__).with_name(script)), *map(str, arguments)]
    done = subprocess.run(command, env=bench.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_the_conductor_of_lima2_runs_acquisitions_on_our_servers(bench: TangoBench, tmp_path: Path) -> None:
    with running_conductor(bench, tmp_path) as port:
        seen = seen_by("lima2_client_script.py", bench, port, tmp_path)

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


def test_the_conductor_of_lima2_runs_an_smx_acquisition(bench: TangoBench, tmp_path: Path) -> None:
    nb_frames = 21
    poni = tmp_path / "sim.poni"
    detector = {"size": {"x": 160, "y": 120}, "generator": {"type": "diffraction"}}
    poni.write_text(json.loads(bench.proxy(DEVICES[0]).detectorCommand(["poni", json.dumps(detector)])))
    with running_conductor(bench, tmp_path) as port:
        seen = seen_by("lima2_smx_script.py", bench, port, tmp_path / "files", poni, nb_frames)

    assert (seen["result"], seen["warnings"]) == ("AcquisitionSuccess", [])
    assert seen["sources"] == ["acc_corrected", "acc_peaks", "frame", "sparse_frame"]
    assert seen["progress"] == {"frame": nb_frames, "sparse_frame": nb_frames}
    assert seen["rois"] == nb_frames
    uuid = list(bench.proxy(DEVICES[1]).pipelines)[-1]
    devices = [bench.proxy(f"id00/limaprocessing/{uuid}@{rank}") for rank in range(2)]
    sparse = seen["sparse"]  # from the file; our device gives the same
    ours, shape, index = decode_sparse_frame(devices[1].getSparseFrame(5))
    assert (sparse["idx"], sparse["shape"]) == (index, [1, *shape]) == (5, [1, 120, 160])
    assert sparse["pixels"] == len(ours.index) > 0
    assert np.array_equal(sparse["background"], ours.background_avg, equal_nan=True)
    assert sparse["of the frame"]
    assert seen["sparse_frame"][0] == nb_frames - 1
    assert seen["acc_corrected"][:2] == [nb_frames - 1, "float32"]
    assert seen["acc_peaks"][:2] == [nb_frames - 1, "uint32"]
    # receiver 0 has the even frames; receiver 1 gave its first image with frames 1, 3, 5, 7
    assert seen["acc_peaks"][2] == sum(seen["nb_peaks"][::2])
    assert seen["as of 9"] == 7
    with h5py.File(seen["master"][0]) as file:
        assert len(file[seen["master"][1]]) == nb_frames

    for device in devices:
        commands = set(device.get_command_list())
        assert commands >= {"getSparseFrame", "getAccCorrected", "getAccPeaks", "popPeakCounters", "popSpots"}
        assert "getInputFrame" not in commands
    rows = np.concatenate([decode_rows(device.popSmxFrames(), SMX_FRAME) for device in devices])
    rows = rows[np.argsort(rows["frame_idx"])]
    assert rows["frame_idx"].tolist() == list(range(nb_frames))
    assert rows["nb_peaks"].tolist() == seen["nb_peaks"]
    assert 0 < rows["is_hit"].sum() < nb_frames
    assert sum(len(decode_rows(device.popSpots(), SPOT)) for device in devices) == sum(seen["nb_peaks"])
