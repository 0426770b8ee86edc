"""Settings of the SMX pipeline: checked at once, checked together before a scan, and turned into its parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import LegacyParameters, Peaks, Saving, SmxParameters
from lima2_bliss.controller.configuration import configuration
from lima2_bliss.controller.parameters import (
    DetectorState,
    check_pipeline,
    image_section,
    pipeline_parameters,
    processing_parameters,
)
from lima2_bliss.controller.rois import ArcRoi, ProfileRoi, RectRoi
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_settings import SmxSettings

SAVING = Saving(enabled=True, base_path="/data/scan0001", filename_prefix="run_det", nb_frames_per_file=20)
ARRAYS = {"csr": "/a.h5", "radius1d": "/r1.npy", "radius2d": "/r2.npy"}


class Memory:
    """A store that lives as long as the test."""

    text: str | None = None

    def get(self) -> str | None:
        return self.text

    def set(self, text: str) -> None:
        self.text = text

    def clear(self) -> None:
        self.text = None


def state(smx=None, image=None, processing=None, **more):
    return DetectorState(
        AcquisitionSettings(),
        ImageSettings(**image or {}),
        ProcessingSettings(**{"pipeline": "smx"} | (processing or {})),
        SavingSettings(),
        SmxSettings(**{"poni": "/geometry.poni"} | (smx or {})),
        **more,
    )


def smx_parameters(smx=None, saving=None, **more) -> SmxParameters:
    made = processing_parameters(state(smx, **more), saving)
    assert isinstance(made, SmxParameters)
    return made


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("unit", "mm", "'r_m', 'r_mm', 'q_nm^-1'"),
        ("error_model", "gauss", "'poisson', 'azimuthal'"),
        ("backend", "cuda", "'auto', 'cpu', 'opencl'"),
        ("save_dense", "hit", "'all', 'hits', 'none' or 'every_nth'"),
        ("patch_size", 4, "3, 5 or 7"),
        ("bins", 1, "greater than or equal to 2"),
        ("cutoff_peak", 0, "greater than 0"),
        ("polarization", 2, "less than or equal to 1"),
        ("radius_range", (5, 2), "larger than the first"),
        ("arrays", {"radius": "/r.npy"}, "'csr', 'radius1d'"),
        ("arrays", {"csr": ""}, "csr: no file given"),
        ("poni", "", "at least 1 character"),
    ],
)
def test_a_wrong_value_is_refused_at_once_with_what_is_allowed(name, value, allowed):
    smx = SettingsSection("det.smx", SmxSettings, {}, Memory())
    with pytest.raises(ParameterError, match=rf"det\.smx: {name}") as caught:
        setattr(smx, name, value)
    assert allowed in str(caught.value)


def test_settings_are_there_again_in_the_next_session():
    store = Memory()
    first = SettingsSection("det.smx", SmxSettings, {"bins": 500}, store)
    first.update({"poni": "/a.poni", "radius_range": (0.01, 0), "arrays": {"absorption": "/abs.npy"}})
    again = SettingsSection("det.smx", SmxSettings, {"bins": 500}, store)
    assert (again.poni, again.bins, again.radius_range) == ("/a.poni", 500, (0.01, 0.0))
    assert again.arrays == {"absorption": "/abs.npy"}


def test_every_setting_says_what_it_is():
    section = SettingsSection("det.smx", SmxSettings, {}, Memory())
    assert all(field.description for field in SmxSettings.model_fields.values())
    assert "a frame with at least so many spots is a hit" in section.__info__()


def test_the_configuration_file_chooses_the_pipeline_to_start_from():
    node = {"name": "det", "control": "a/b/c", "receivers": ["a/b/d"], "access": "a/b/e", "publisher": "a/b/f"}
    given = configuration(node | {"defaults": {"processing": {"pipeline": "smx"}, "smx": {"bins": 400}}})
    assert ProcessingSettings(**given.defaults.processing).pipeline == "smx"
    assert SmxSettings(**given.defaults.smx).bins == 400


# --- together ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"image": {"binning": (2, 2)}}, r"^det: image\.binning = \(2, 2\) cannot be used with pipeline smx"),
        ({"image": {"roi": (0, 0, 8, 8), "flip": "both"}}, r"image\.roi = .*, image\.flip = 'both' cannot be used"),
        ({"image": {"rotation": "180"}}, "image.rotation = '180'"),
        ({"processing": {"accumulation": 4}}, "processing.accumulation = 4 cannot be used with pipeline smx"),
        ({"processing": {"max_countrate": 1e6}}, r"processing\.max_countrate = 1e\+06 cannot"),
        ({"processing": {"mask": "/m.h5"}}, "processing.mask = '/m.h5' is of pipeline legacy.* use smx.mask"),
        ({"processing": {"background": "/d.h5"}}, "use smx.dark"),
        ({"smx": {"poni": None}}, "smx.poni is not set; give the PONI file of pyFAI, or csr, radius1d, radius2d"),
        ({"smx": {"arrays": ARRAYS}}, "both give the geometry"),
        ({"smx": {"poni": None, "arrays": {"csr": "/a.h5"}}}, "lacks radius1d, radius2d"),
        ({"smx": {"poni": None, "arrays": ARRAYS, "solid_angle": True}}, "smx.solid_angle is computed from the PONI"),
        ({"smx": {"polarization": 0.9, "arrays": {"polarization": "/p.npy"}}}, "same correction"),
        ({"smx": {"error_model": "variance"}}, r"needs the file of the variance"),
        ({"smx": {"save_dense": "every_nth"}}, "needs smx.dense_every >= 1"),
        ({"smx": {"save_sparse": "every_nth"}}, "needs smx.sparse_every >= 1"),
        ({"smx": {"patch_size": 3, "connected": 10}}, "smx.connected = 10 pixels are more than"),
        ({"smx": {"min_spots": 9, "max_spots": 8}}, "no frame could be a hit"),
    ],
)
def test_what_does_not_go_together_is_told_before_the_scan(settings, match):
    with pytest.raises(ParameterError, match=match):
        check_pipeline("det", state(**settings))


def test_all_faults_are_told_at_once():
    wrong = state({"poni": None, "save_dense": "every_nth"}, image={"binning": (2, 1)}, processing={"mask": "/m"})
    with pytest.raises(ParameterError) as caught:
        check_pipeline("det", wrong)
    for part in ("image.binning", "processing.mask", "smx.poni", "smx.dense_every"):
        assert part in str(caught.value)


def test_the_legacy_pipeline_minds_none_of_it():
    plain = state({"poni": None}, image={"binning": (2, 2)}, processing={"pipeline": "legacy", "mask": "/m.h5"})
    check_pipeline("det", plain)
    assert isinstance(processing_parameters(plain, None), LegacyParameters)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_settings_become_parameters_of_the_pipeline():
    made = smx_parameters(
        {
            "bins": 400,
            "unit": "q_nm^-1",
            "radius_range": (0.5, 20),
            "mask": "/mask.npy",
            "dark": "/dark.npy",
            "flat": "/flat.npy",
            "solid_angle": True,
            "polarization": 0.95,
            "dummy": -1,
            "cutoff_pick": 3.5,
            "min_spots": 7,
            "backend": "cpu",
            "threads_per_frame": 2,
            "accumulated_every": 50,
            "arrays": {"absorption": "/abs.npy"},
        },
        processing={"nb_threads": 3, "nb_frames_buffer": 12},
        rois={"arc": ArcRoi(50, 50, 0, 10, 0, 360), "box": RectRoi(1, 2, 3, 4)},
        profiles={"line": ProfileRoi(0, 0, 9, 5)},
    )
    fai = made.fai
    assert (fai.poni_path, fai.nb_bins, fai.unit) == ("/geometry.poni", 400, "q_nm^-1")
    assert (fai.radius_min, fai.radius_max) == (0.5, 20)
    assert (fai.mask_path, fai.dark_path, fai.flat_path) == ("/mask.npy", "/dark.npy", "/flat.npy")
    assert (fai.correct_solid_angle, fai.correct_polarization, fai.polarization_factor) == (True, True, 0.95)
    assert (fai.do_dummy, fai.dummy, fai.absorption_path) == (True, -1, "/abs.npy")
    assert (fai.cutoff_pick, made.peaks.min_spots, fai.acc_nb_frames_xfer) == (3.5, 7, 50)
    assert (made.compute.backend, made.compute.threads_per_frame, made.thread.nb_threads) == ("cpu", 2, 3)
    assert made.buffers.nb_frames_buffer == 12
    assert len(made.statistics.rect_rois) == len(made.statistics.arc_rois) == len(made.profiles.rois) == 1


def test_ready_arrays_take_the_place_of_the_poni_file():
    fai = smx_parameters({"poni": None, "arrays": ARRAYS}).fai
    assert (fai.poni_path, fai.csr_path, fai.radius1d_path, fai.radius2d_path) == ("", *ARRAYS.values())


def test_untouched_settings_are_the_defaults_of_the_pipeline():
    made, plain = smx_parameters(), SmxParameters()
    assert made.peaks == plain.peaks
    assert made.fai == plain.fai.model_copy(update={"poni_path": "/geometry.poni"})
    assert (made.veto_dense, made.compute) == (plain.veto_dense, plain.compute)
    assert not made.saving_dense.enabled


@given(
    st.fixed_dictionaries(
        {
            "cutoff_peak": st.floats(0.1, 1e6),
            "patch_size": st.sampled_from([3, 5, 7]),
            "connected": st.integers(1, 49),
            "min_spots": st.integers(1, 100_000),
            "max_spots": st.integers(1, 100_000),
        }
    )
)
def test_settings_that_are_accepted_are_accepted_by_the_pipeline(values):
    settings = SmxSettings(poni="/a.poni", **values)
    assert smx_parameters(settings.model_dump()).peaks == Peaks(**values)


def test_limits_are_those_of_the_pipeline():
    with pytest.raises(ValidationError, match="less than or equal to 49"):
        SmxSettings(connected=50)


# --- saving -----------------------------------------------------------------------------------------------------------


def test_each_frame_source_has_its_own_files():
    made = smx_parameters(saving=SAVING)
    sections = (
        made.saving_dense,
        made.saving_sparse,
        made.saving_accumulation_corrected,
        made.saving_accumulation_peak,
    )
    assert [section.layout().master_file for section in sections] == [
        Path(f"/data/scan0001/run_det_{source}_master.h5")
        for source in ("frame", "sparse_frame", "acc_corrected", "acc_peaks")
    ]
    assert all(section.enabled and section.nb_frames_per_file == 20 for section in sections)


def test_a_scan_without_saving_writes_nothing():
    made = smx_parameters({"save_dense": "hits"})
    assert not any(getattr(made, name).enabled for name in SmxParameters.model_fields if name.startswith("saving"))


def test_what_is_not_to_be_saved_has_no_files():
    made = smx_parameters({"save_dense": "none", "accumulated_every": 0}, SAVING)
    assert not image_section(made).enabled
    assert made.saving_sparse.enabled
    assert not made.saving_accumulation_peak.enabled
    assert not smx_parameters({"save_accumulated": False}, SAVING).saving_accumulation_corrected.enabled


def test_frames_beside_the_hits_can_be_kept():
    made = smx_parameters(
        {"save_dense": "hits", "dense_every": 100, "keep_before": 1, "keep_after": 2, "save_sparse": "every_nth"}
        | {"sparse_every": 5}
    )
    dense, sparse = made.veto_dense, made.veto_sparse
    assert (dense.save, dense.every, dense.keep_before, dense.keep_after) == ("hits", 100, 1, 2)
    assert (sparse.save, sparse.every, sparse.keep_before) == ("every_nth", 5, 0)


def test_parameters_are_read_back_as_those_of_their_pipeline():
    made = smx_parameters(saving=SAVING)
    assert pipeline_parameters(made.model_dump(mode="json")) == made
    legacy = processing_parameters(state(processing={"pipeline": "legacy"}), SAVING)
    assert pipeline_parameters(legacy.model_dump(mode="json")) == legacy
    assert image_section(legacy).filename_prefix == "run_det"


@pytest.mark.parametrize("raw", ["none", "all", "hits"])
def test_raw_frames_are_chosen_apart_from_images(raw):
    settings = replace(state({"save_dense": "none", "keep_before": 2, "keep_after": 1}), saving=SavingSettings(raw=raw))
    check_pipeline("det", settings)
    made = processing_parameters(settings, SAVING)
    assert isinstance(made, SmxParameters)
    assert (made.saving_raw.enabled, made.saving_raw.filename_prefix) == (raw != "none", "run_det_raw_frame")
    assert made.veto_raw.save == raw
    assert (made.veto_raw.keep_before, made.veto_raw.keep_after) == ((2, 1) if raw == "hits" else (0, 0))
    assert not made.saving_dense.enabled
    assert made.saving_sparse.enabled
    assert not processing_parameters(settings, None).saving_raw.enabled
