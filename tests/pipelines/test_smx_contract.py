"""The SMX pipeline keeps the contract of all pipelines."""

from importlib.metadata import entry_points

import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.simulator import SimulatorParameters
from lima2_receivers.detectors.simulator.poni import poni_text
from lima2_receivers.pipelines.contract_tests import PipelineContract
from lima2_receivers.pipelines.smx import PIPELINE

RECTANGLE = {"topleft": {"x": 1, "y": 2}, "dimensions": {"x": 10, "y": 12}}


@pytest.fixture(scope="class", autouse=True)
def geometry(tmp_path_factory, request):
    """The examples with files in them."""
    folder = tmp_path_factory.mktemp("geometry")
    parameters = parse(SimulatorParameters, {"det": {"size": {"x": 96, "y": 64}}}, "parameters")
    (folder / "small.poni").write_text(poni_text(parameters))
    random = np.random.default_rng(1)
    np.save(folder / "mask.npy", random.random((64, 96)) < 0.1)
    np.save(folder / "dark.npy", random.normal(3, 1, (64, 96)))
    np.save(folder / "flat.npy", random.uniform(0.5, 1.5, (64, 96)))
    fai = {"poni_path": str(folder / "small.poni"), "nb_bins": 30}
    peaks = {"min_spots": 1, "connected": 1, "cutoff_peak": 2.0, "patch_size": 3}
    maps = {f"{name}_path": str(folder / f"{name}.npy") for name in ("mask", "dark", "flat")}
    request.cls.examples = {
        "plain": {"fai": fai},
        "reference": {"fai": fai, "peaks": peaks, "compute": {"backend": "reference"}},
        "many spots": {"fai": {**fai, "acc_nb_frames_xfer": 2, "acc_nb_frames_reset": 4}, "peaks": peaks},
        "all maps": {
            "fai": {**fai, **maps, "error_model": "azimuthal", "correct_solid_angle": True, "do_dummy": True},
            "peaks": peaks,
        },
        "threads and regions": {
            "fai": {**fai, "acc_nb_frames_xfer": 0},
            "thread": {"nb_threads": 3},
            "compute": {"threads_per_frame": 2},
            "statistics": {"rect_rois": [RECTANGLE]},
            "profiles": {"rois": [RECTANGLE], "directions": ["vertical"]},
        },
    }


class TestSmx(PipelineContract):
    pipeline = PIPELINE
    inputs = (FrameInfo(1, 64, 96, np.dtype("<u2")), FrameInfo(1, 64, 96, np.dtype("<f4")))

    def test_it_is_installed_as_an_entry_point(self):
        (entry,) = (entry for entry in entry_points(group="lima2_receivers.pipelines") if entry.name == "smx")
        assert entry.load() is PIPELINE
