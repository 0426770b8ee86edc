"""An SMX acquisition over two receivers: frame sources, results, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - filters
import numpy as np
import pytest
from tango_bench import TangoBench

from lima2_bliss.client import Acquisition, Detector
from lima2_bliss.contract import FrameInfo, NoLongerAvailableError, ParameterError, SavingError
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

Both = tuple[dict[str, Any], dict[str, Any]]
NB_FRAMES, NB_BINS, EVERY = 22, 40, 8
SAVINGS = {
    "saving_dense": "frame",
    "saving_sparse": "sparse_frame",
    "saving_accumulation_corrected": "acc_corrected",
    "saving_accumulation_peak": "acc_peaks",
}


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


@pytest.fixture
def parameters(detector: Detector, tmp_path: Path) -> Both:
    """Crystals on a small detector; each half of the frames with and without spots."""
    acquisition, _ = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": NB_FRAMES, "expo_time": 1000, "latency_time": 0}
    acquisition["det"] |= {"size": {"x": 160, "y": 120}, "nb_prefetch_frames": 4}
    acquisition["det"]["generator"]["type"] = "diffraction"
    poni = tmp_path / "sim.poni"
    poni.write_text(detector.command("poni", acquisition["det"]))
    processing = {
        "class_name": "LimaProcessingSmx",
        "fai": {"poni_path": str(poni), "nb_bins": NB_BINS, "acc_nb_frames_xfer": EVERY},
        "peaks": {"min_spots": 3},
        "buffers": {"nb_frames_buffer": 100, "nb_accumulated_buffer": 5},
    }
    return acquisition, processing


def saving_all(folder: Path, **changed: Any) -> dict[str, Any]:
    common = {"enabled": True, "base_path": str(folder), "nb_frames_per_file": 4, **changed}
    return {section: common | {"filename_prefix": f"run_{source}"} for section, source in SAVINGS.items()}


def run_to_its_end(detector: Detector, parameters: Both) -> Acquisition:
    run = detector.prepare(*parameters)
    run.start()
    run.wait(timeout_s=20)
    return run


def test_results_of_every_stream_come_in_global_order(detector: Detector, parameters: Both) -> None:
    run = run_to_its_end(detector, parameters)
    run.close()

    frames = run.results("smx_frame")
    assert frames["frame_idx"].tolist() == list(range(NB_FRAMES))
    assert 0 < frames["is_hit"].sum() < NB_FRAMES
    background = run.results("background")
    assert len(background) == NB_FRAMES * NB_BINS
    spots, sparse = run.results("spots"), run.results("sparse")
    assert spots["frame_idx"].tolist() == np.repeat(frames["frame_idx"], frames["nb_peaks"]).tolist()
    assert len(sparse) == frames["nb_sparse"].sum()
    for position in (0, 1, len(spots) // 2, len(spots) - 1, len(spots)):
        assert run.results("spots", position).tobytes() == spots[position:].tobytes()
    with pytest.raises(ParameterError, match="count from 0"):
        run.results("spots", -1)

    # frames that are replayed give the same results wherever they were processed
    ends = np.cumsum(frames["nb_sparse"])
    first, again = (sparse[ends[index] - frames["nb_sparse"][index] : ends[index]] for index in (1, 5))
    assert first.tobytes() == again.tobytes()
    pixels = run.frame(1)[0].ravel()
    assert (pixels[first["index"]] == first["intensity"]).all()
    with pytest.raises(ParameterError, match=r"results\('sparse'\)"):
        run.frame(1, "sparse_frame")


def test_dense_and_accumulated_frames_are_read_by_source(detector: Detector, parameters: Both) -> None:
    truth = SimulatorParameters.model_validate(parameters[0])
    run = run_to_its_end(detector, parameters)
    run.close()

    assert run.frame_info == FrameInfo(1, 120, 160, np.dtype("<u2"))
    for index, pixels in run.frames():
        assert np.array_equal(pixels, expected_frame(truth, index))
    # every 4 frames of each receiver, and the last one: local frames 3, 7, 10
    ends = [6, 7, 14, 15, 20, 21]
    peaks = dict(run.frames(source="acc_peaks"))
    assert list(peaks) == ends
    spots = run.results("spots")
    for index, image in peaks.items():
        mine = (spots["frame_idx"] % 2 == index % 2) & (spots["frame_idx"] <= index)
        assert image.dtype == np.dtype("<u4")
        assert image.sum() == mine.sum()
    means = dict(run.frames(source="acc_corrected"))
    assert list(means) == ends
    assert means[21].shape == (1, 120, 160)
    assert [index for index, _ in run.frames(slice(-2, None), "acc_peaks")] == ends[-2:]
    assert run.newest("acc_peaks")[0] in ends[-2:]
    assert np.array_equal(run.frame(14, "acc_peaks"), peaks[14])
    with pytest.raises(NoLongerAvailableError):
        run.frame(13, "acc_peaks")


def test_numbers_of_frames_are_those_of_the_whole_detector(
    detector: Detector, parameters: Both, bench: TangoBench
) -> None:
    acquisition, processing = parameters
    processing["fai"] |= {"acc_nb_frames_xfer": 7, "acc_nb_frames_reset": 0}
    run = detector.prepare(acquisition, processing)

    described = bench.proxy("id00/limareceiver/sim2").pipelineParameters(run.uuid)
    assert '"acc_nb_frames_xfer": 4' in described
    assert '"acc_nb_frames_reset": 0' in described
    assert detector.acquisition(run.uuid).processing_parameters["fai"]["acc_nb_frames_xfer"] == 8
    del processing["fai"]["acc_nb_frames_xfer"]
    assert detector.prepare(acquisition, processing).processing_parameters["fai"]["acc_nb_frames_xfer"] == 100


def test_every_source_is_saved_and_has_its_master(detector: Detector, parameters: Both, tmp_path: Path) -> None:
    acquisition, processing = parameters
    run = run_to_its_end(detector, (acquisition, processing | saving_all(tmp_path)))
    masters = run.close()

    assert masters == {source: tmp_path / f"run_{source}_master.h5" for source in SAVINGS.values()}
    assert run.status().saved == run.status().readable == NB_FRAMES
    names = [path.name for path in run.files()]
    assert names.count("run_sparse_frame_1_00002.h5") == 1
    assert len(names) == 2 * (3 + 3 + 1 + 1)
    assert all((tmp_path / name).exists() for name in names)
    with h5py.File(masters["frame"]) as file:
        assert len(file["/entry_0000/instrument/detector/data"]) == NB_FRAMES
    with h5py.File(masters["acc_peaks"]) as file:
        images = file["/entry_0000/instrument/detector/data"]
        assert images.shape == (6, 120, 160)
        assert images[5].sum() == run.frame(21, "acc_peaks").sum()


def test_frames_that_are_not_to_be_saved_are_counted(detector: Detector, parameters: Both, tmp_path: Path) -> None:
    acquisition, processing = parameters
    processing |= saving_all(tmp_path) | {"veto_dense": {"save": "hits"}}
    run = run_to_its_end(detector, (acquisition, processing))
    run.close()

    hits = int(run.results("smx_frame")["is_hit"].sum())
    status = run.status()
    assert (status.saved, status.vetoed) == (NB_FRAMES, NB_FRAMES - hits)
    assert sum(receiver.source("sparse_frame").vetoed for receiver in status.receivers) == 0


def test_appended_sources_have_the_same_number(detector: Detector, parameters: Both, tmp_path: Path) -> None:
    acquisition, processing = parameters
    (tmp_path / "run_acc_peaks_0003_0_00000.h5").touch()
    run = detector.prepare(acquisition, processing | saving_all(tmp_path, file_exists_policy="append"))

    assert {path.name for path in run.master_files.values()} == {
        f"run_{source}_0004_master.h5" for source in SAVINGS.values()
    }


def test_files_in_the_way_of_any_source_are_told_at_prepare(
    detector: Detector, parameters: Both, tmp_path: Path
) -> None:
    acquisition, processing = parameters
    (tmp_path / "run_acc_peaks_1_00000.h5").touch()
    with pytest.raises(SavingError, match="run_acc_peaks_1_00000"):
        detector.prepare(acquisition, processing | saving_all(tmp_path))

    same = saving_all(tmp_path / "sub")
    for section in same.values():
        section["filename_prefix"] = "same"
    with pytest.raises(ParameterError, match="would write the same files"):
        detector.prepare(acquisition, processing | same)
