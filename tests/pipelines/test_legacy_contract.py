"""The legacy pipeline keeps the contract of all pipelines."""

from importlib.metadata import entry_points

import numpy as np
import pytest

from lima2_receivers.pipelines.contract_tests import PipelineContract
from lima2_receivers.pipelines.legacy import PIPELINE

RECTANGLE = {"topleft": {"x": 1, "y": 2}, "dimensions": {"x": 10, "y": 12}}
STATISTICS = {
    "rect_rois": [RECTANGLE, RECTANGLE],
    "arc_rois": [{"center": {"x": 20, "y": 20}, "r1": 3, "r2": 9, "a1": 10, "a2": 200}],
}
PROFILES = {"rois": [RECTANGLE, RECTANGLE], "directions": ["vertical", "horizontal"]}
MEASURING = {"statistics": STATISTICS, "profiles": PROFILES}


@pytest.fixture(scope="class", autouse=True)
def maps(tmp_path_factory, request):
    """The examples with files in them."""
    folder = tmp_path_factory.mktemp("maps")
    random = np.random.default_rng(1)
    np.save(folder / "mask.npy", random.random((64, 96)) < 0.1)
    np.save(folder / "dark.npy", random.normal(3, 1, (64, 96)))
    np.save(folder / "flat.npy", random.uniform(0.5, 1.5, (64, 96)))
    mask, dark, flat = ({"enabled": True, "path": str(folder / f"{name}.npy")} for name in ("mask", "dark", "flat"))
    request.cls.examples = {
        "defaults": {},
        "measuring": {**MEASURING, "thread": {"nb_threads": 3}},
        "mask": {"mask": mask, **MEASURING},
        "all maps": {"mask": mask, "background": dark, "flatfield": flat, **MEASURING},
        "accumulation": {"accumulation": {"enabled": True, "nb_frames": 3}, **MEASURING},
        "everything": {
            "mask": mask,
            "background": dark,
            "accumulation": {"enabled": True, "nb_frames": 2},
            "max_countrate_protection": {"enabled": True, "max_countrate": 1e6},
            **MEASURING,
        },
    }


class TestLegacy(PipelineContract):
    pipeline = PIPELINE

    def test_it_is_installed_as_an_entry_point(self):
        (entry,) = (entry for entry in entry_points(group="lima2_receivers.pipelines") if entry.name == "legacy")
        assert entry.load() is PIPELINE
