"""Parameters that cannot work are refused at prepare, in one error that names every fault."""

import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.simulator import SimulatorParameters
from lima2_receivers.detectors.simulator.poni import poni_text
from lima2_receivers.pipelines.smx import PIPELINE
from lima2_receivers.pipelines.trial import trial_setup

INFO = FrameInfo(1, 64, 96, np.dtype("<u2"))


@pytest.fixture(scope="module")
def poni(tmp_path_factory):
    path = tmp_path_factory.mktemp("geometry") / "small.poni"
    parameters = parse(SimulatorParameters, {"det": {"size": {"x": 96, "y": 64}}}, "parameters")
    path.write_text(poni_text(parameters))
    return str(path)


def refusal(processing, acquisition=None, info=INFO):
    with pytest.raises(ParameterError) as caught:
        PIPELINE.check(trial_setup(PIPELINE, info, processing, acquisition or {}))
    return caught.value.what


def test_good_parameters_pass(poni):
    PIPELINE.check(trial_setup(PIPELINE, INFO, {"fai": {"poni_path": poni, "nb_bins": 30}}))


@pytest.mark.parametrize(
    ("fai", "words"),
    [
        ({}, ["poni_path"]),
        ({"poni_path": "/nowhere/to.poni"}, ["poni_path", "/nowhere/to.poni"]),
        ({"poni_path": "POINT", "error_model": "variance"}, ["error_model", "variance_path"]),
        ({"poni_path": "POINT", "dark_path": "/nowhere/dark.npy"}, ["dark", "/nowhere/dark.npy"]),
        ({"csr_path": "/nowhere/csr.h5"}, ["csr"]),
        ({"poni_path": "POINT", "radius_min": 5.0, "radius_max": 6.0}, ["radius_min"]),
    ],
)
def test_a_set_up_that_cannot_work_names_what_is_wrong(poni, fai, words):
    text = refusal({"fai": {key: poni if value == "POINT" else value for key, value in fai.items()}})
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("section", "given"),
    [
        ("fai", {"cutoff_pick": 0}),
        ("fai", {"noise": -1}),
        ("fai", {"nb_bins": 1}),
        ("fai", {"cutoff_clip": -1}),
        ("peaks", {"cutoff_peak": 0}),
        ("peaks", {"patch_size": 4}),
        ("fai", {"error_model": "gaussian"}),
        ("fai", {"poni_path": "a.poni", "csr_path": "b.h5"}),
        ("fai", {"correct_solid_angle": True}),
    ],
)
def test_values_that_are_not_allowed_are_refused_before_anything_is_read(section, given):
    text = refusal({section: given})
    assert next(iter(given)) in text or "poni_path" in text


def test_a_geometry_of_another_detector_names_both_sizes(poni):
    text = refusal({"fai": {"poni_path": poni}}, info=FrameInfo(1, 128, 128, np.dtype("<u2")))
    assert "64" in text
    assert "96" in text
    assert "128" in text


def test_every_fault_is_named_at_once(poni):
    processing = {
        "fai": {"poni_path": poni, "nb_bins": 30, "mask_path": "/nowhere/mask.npy", "acc_nb_frames_xfer": 0},
        "peaks": {"patch_size": 3, "connected": 10, "min_spots": 9, "max_spots": 8},
        "statistics": {"rect_rois": [{"topleft": {"x": 90, "y": 0}, "dimensions": {"x": 10, "y": 10}}]},
        "saving_dense": {"enabled": True, "filename_prefix": "same"},
        "saving_sparse": {"enabled": True, "filename_prefix": "same"},
        "saving_accumulation_peak": {"enabled": True},
    }
    text = refusal(processing, {"img": {"binning": {"x": 2, "y": 2}, "flip": "both"}})
    words = [
        "img.binning",
        "img.flip",
        "rect_rois[0]",
        "peaks.connected",
        "peaks.min_spots",
        "same",
        "/nowhere/mask.npy",
    ]
    for word in [*words, "acc_nb_frames_xfer"]:
        assert word in text, text


def test_frames_of_several_channels_are_refused(poni):
    assert "one channel" in refusal({"fai": {"poni_path": poni}}, info=FrameInfo(2, 64, 96, np.dtype("<u2")))
