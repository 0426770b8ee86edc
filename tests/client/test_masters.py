"""Master files and the image device of an acquisition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - filters
import numpy as np
import pytest
from tango_bench import TangoBench

from lima2_bliss.client import Detector
from lima2_bliss.contract import SavingError
from lima2_bliss.contract.encoding import decode_frame
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TangoBench]:
    """A detector with its image device."""
    bench = TangoBench(tmp_path_factory.mktemp("tango"), {"sim": 2})
    try:
        bench.start_detector("sim", 2, access=True)
        yield bench
    finally:
        bench.close()


@pytest.fixture
def detector(bench: TangoBench) -> Iterator[Detector]:
    names = ["id00/limareceiver/sim1", "id00/limareceiver/sim2"]
    detector = Detector("id00/limacontrol/sim", names, "id00/limaimage/sim", proxy=bench.proxy)
    yield detector
    detector.reset()
    detector.close()


def test_close_writes_a_master_file_with_all_frames_in_global_order(
    detector: Detector, parameters: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, bench: TangoBench
) -> None:
    acquisition, processing = parameters
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "nb_frames_per_file": 3}
    truth = SimulatorParameters.model_validate(acquisition)
    run = detector.prepare(acquisition, processing)
    assert run.master_files == {"frame": tmp_path / "lima2_master.h5"}
    run.start()
    run.wait(timeout_s=10)

    assert run.close() == {"frame": tmp_path / "lima2_master.h5"}
    assert run.close() == run.master_files  # harmless twice

    with h5py.File(tmp_path / "lima2_master.h5") as file:
        frames = file["/entry_0000/instrument/detector/data"]
        assert len(frames) == 20
        for index in range(20):
            assert np.array_equal(frames[index], expected_frame(truth, index)[0])
    pixels, index = decode_frame(bench.proxy("id00/limaimage/sim").readImage(7))
    assert index == 7
    assert np.array_equal(pixels, expected_frame(truth, 7))


def test_a_stopped_acquisition_has_a_master_file_of_what_is_there(
    detector: Detector, parameters: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    acquisition, processing = parameters
    acquisition["acq"]["nb_frames"] = 0
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "nb_frames_per_file": 3}
    run = detector.prepare(acquisition, processing)
    run.start()
    run.wait("saved", 5, timeout_s=10)
    run.stop()
    run.close()

    with h5py.File(run.master_files["frame"]) as file:
        assert len(file["/entry_0000/instrument/detector/data"]) == run.status().processed


def test_a_master_file_that_is_in_the_way_is_named_at_prepare(
    detector: Detector, parameters: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    acquisition, processing = parameters
    (tmp_path / "lima2_master.h5").touch()
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path)}
    with pytest.raises(SavingError, match="lima2_master"):
        detector.prepare(acquisition, processing)


def test_files_of_a_killed_receiver_are_in_the_master_file_as_far_as_they_are_complete(
    own_bench: TangoBench, tmp_path: Path
) -> None:
    own_bench.start("lima2-access", "sim", "id00/limaimage/sim")
    names = ["id00/limareceiver/sim1", "id00/limareceiver/sim2"]
    detector = Detector("id00/limacontrol/sim", names, "id00/limaimage/sim", proxy=own_bench.proxy)
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": 0, "expo_time": 2000, "latency_time": 0}
    acquisition["det"] |= {"size": {"x": 96, "y": 64}}
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "nb_frames_per_file": 5}
    run = detector.prepare(acquisition, processing)
    run.start()
    run.wait("saved", 40, timeout_s=10)
    own_bench.kill("lima2-receiver/sim_2")
    with pytest.raises(ConnectionError):
        run.wait(timeout_s=5)
    run.stop()

    master = run.close(timeout_s=10)["frame"]

    truth = SimulatorParameters.model_validate(acquisition)
    with h5py.File(master) as file:
        frames = file["/entry_0000/instrument/detector/data"]
        for index in (0, 1, 28, 29):
            assert np.array_equal(frames[index], expected_frame(truth, index)[0])
    detector.close()
