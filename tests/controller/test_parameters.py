"""Settings and a scan's request become the parameters of control and receivers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import AcquisitionParameters, LegacyParameters, Saving
from lima2_bliss.controller.configuration import configuration
from lima2_bliss.controller.image_files import detector_prefix, image_saving
from lima2_bliss.controller.parameters import (
    DetectorState,
    acquisition_parameters,
    check_capabilities,
    check_image,
    check_pipeline,
    processing_parameters,
)
from lima2_bliss.controller.rois import ArcRoi, ProfileRoi, RectRoi
from lima2_bliss.controller.scan_request import ScanRequest, scan_request
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)


def state(image=None, processing=None, **more):
    return DetectorState(
        AcquisitionSettings(latency_time=1e-3),
        ImageSettings(**image or {}),
        ProcessingSettings(**processing or {}),
        SavingSettings(),
        **more,
    )


def test_raw_frames_are_saved_beside_the_images_when_asked():
    saving = Saving(enabled=True, base_path="/data", filename_prefix="scan_det", nb_frames_per_file=7)
    for raw, prefix in (("all", "scan_det_raw_frame"), ("none", "lima2_raw")):
        settings = replace(state(), saving=SavingSettings(raw=raw))
        check_pipeline("det", settings)
        made = processing_parameters(settings, saving)
        assert isinstance(made, LegacyParameters)
        assert (made.saving_raw.enabled, made.saving_raw.filename_prefix) == (raw == "all", prefix)
        assert made.saving == saving
        assert not processing_parameters(settings, None).saving_raw.enabled
    with pytest.raises(ParameterError, match=r"det: saving\.raw = 'hits' needs a pipeline that finds hits"):
        check_pipeline("det", replace(state(), saving=SavingSettings(raw="hits")))


def test_a_step_scan_takes_one_frame_per_software_trigger():
    request = scan_request("det", {"acq_nb_frames": 20, "acq_expo_time": 0.01, "acq_trigger_mode": "software"})
    acq = AcquisitionParameters.model_validate(acquisition_parameters(state(), request)).acq
    assert (acq.nb_frames, acq.nb_frames_per_trigger, acq.trigger_mode) == (20, 1, "software")
    assert (acq.expo_time, acq.latency_time) == (10_000, 1_000)


def test_accumulated_exposures_share_the_count_time():
    request = ScanRequest(5, 0.1, "software", images_per_trigger=1)
    acq = acquisition_parameters(state(processing={"accumulation": 4}), request)["acq"]
    assert (acq["nb_frames"], acq["nb_frames_per_trigger"], acq["expo_time"]) == (20, 4, 25_000)


def test_a_count_time_too_short_to_share_is_refused():
    with pytest.raises(ParameterError, match="below 1 us"):
        acquisition_parameters(state(processing={"accumulation": 100}), ScanRequest(1, 1e-5, "software"))


def test_an_endless_scan_stays_endless():
    request = scan_request("det", {"acq_nb_frames": 0, "acq_expo_time": 0.1, "acq_trigger_mode": "software"})
    assert request.endless
    assert acquisition_parameters(state(), request)["acq"]["nb_frames"] == 0


def test_the_latency_of_a_scan_goes_before_the_setting():
    request = scan_request("det", {"acq_expo_time": 0.1, "latency_time": 0.002})
    assert acquisition_parameters(state(), request)["acq"]["latency_time"] == 2_000


@pytest.mark.parametrize(
    ("word", "frames", "trigger", "per_trigger"),
    [
        ("INTERNAL_TRIGGER", 10, "internal", 1),
        ("INTERNAL_TRIGGER_MULTI", 10, "software", 1),
        ("EXTERNAL_TRIGGER", 10, "external", 10),
        ("EXTERNAL_TRIGGER_MULTI", 10, "external", 1),
        ("EXTERNAL_GATE", 10, "gate", 1),
        ("software", 10, "software", 1),
    ],
)
def test_lima1_trigger_words_are_understood(word, frames, trigger, per_trigger):
    request = scan_request("det", {"acq_nb_frames": frames, "acq_expo_time": 1, "acq_trigger_mode": word})
    assert (request.trigger, request.images_per_trigger) == (trigger, per_trigger)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"acq_expo_time": 0}, "acq_expo_time = 0"),
        ({}, "acq_expo_time"),
        ({"acq_expo_time": 1, "acq_nb_frame": 3}, "acq_nb_frame: unknown parameter"),
        ({"acq_expo_time": 1, "acq_trigger_mode": "magic"}, "'magic' is unknown; allowed: internal, software"),
        (
            {"acq_expo_time": 1, "acq_nb_frames": 5, "acq_frames_per_point": 2, "acq_trigger_mode": "software"},
            "no multiple",
        ),
    ],
)
def test_wrong_scan_parameters_give_one_error_that_names_the_detector(params, match):
    with pytest.raises(ParameterError, match=match) as caught:
        scan_request("det", params)
    assert str(caught.value).startswith("det")


def test_image_settings_become_pipeline_geometry():
    values = acquisition_parameters(
        state(image={"binning": (2, 1), "roi": (1, 2, 30, 40), "flip": "both", "rotation": 90}),
        ScanRequest(1, 1, "internal"),
    )
    img = AcquisitionParameters.model_validate(values).img
    assert (img.binning.x, img.binning.y, img.flip, img.rotation) == (2, 1, "both", "90cw")
    assert (img.roi.topleft.x, img.roi.topleft.y, img.roi.dimensions.x, img.roi.dimensions.y) == (1, 2, 30, 40)


def test_only_changed_detector_parameters_are_sent():
    assert "det" not in acquisition_parameters(state(), ScanRequest(1, 1, "internal"))
    sent = acquisition_parameters(state(detector={"size": {"x": 64}}), ScanRequest(1, 1, "internal"))
    assert sent["det"] == {"size": {"x": 64}}


def test_rectangles_come_before_arcs_as_the_pipeline_orders_its_rows():
    rois = {"ring": ArcRoi(5, 5, 1, 2, 0, 360), "a": RectRoi(0, 0, 2, 2), "b": RectRoi(1, 1, 2, 2)}
    profiles = {"p": ProfileRoi(0, 0, 3, 4, "horizontal")}
    settings = state(rois=rois, profiles=profiles)
    assert settings.roi_order() == ["a", "b", "ring"]
    made = processing_parameters(settings, None)
    assert [roi.topleft.x for roi in made.statistics.rect_rois] == [0, 1]
    assert made.statistics.arc_rois[0].r2 == 2
    assert made.profiles.directions == ["horizontal"]
    assert LegacyParameters.model_validate(made.model_dump()) == made


def test_without_regions_the_pipeline_computes_none():
    made = processing_parameters(state(), None)
    assert not made.statistics.enabled
    assert not made.profiles.enabled
    assert not made.saving.enabled


def test_corrections_are_on_when_a_file_is_given():
    made = processing_parameters(state(processing={"mask": "/m.h5", "max_countrate": 1e5, "accumulation": 3}), None)
    assert (made.mask.enabled, made.mask.path, made.background.enabled) == (True, "/m.h5", False)
    assert (made.accumulation.enabled, made.accumulation.nb_frames) == (True, 3)
    assert made.max_countrate_protection.enabled


LIMITS = {"expo_time_range": [1000, 10**9], "latency_time_range": [0, 10**9], "trigger_modes": ["internal", "software"]}


def test_all_that_the_detector_cannot_do_is_in_one_error():
    request = ScanRequest(1, 5.0, "gate")
    with pytest.raises(ParameterError, match=r"det: exposure 5 s is out of range \(1e-06 to 1 s\).*'gate' is not"):
        check_capabilities("det", request, acquisition_parameters(state(), request), LIMITS)


def test_what_the_detector_can_do_passes():
    request = ScanRequest(1, 0.5, "internal")
    check_capabilities("det", request, acquisition_parameters(state(), request), LIMITS)


def test_an_image_roi_must_fit_the_binned_detector():
    check_image(ImageSettings(binning=(2, 2), roi=(0, 0, 50, 50)), (100, 100))
    with pytest.raises(ParameterError, match="outside the image of 50 x 50"):
        check_image(ImageSettings(binning=(2, 2), roi=(0, 0, 51, 50)), (100, 100))
    with pytest.raises(ParameterError, match="larger than the detector"):
        check_image(ImageSettings(binning=(64, 1)), (100, 32))


@pytest.mark.parametrize(
    ("prefix", "expected"), [("sim_", "sim"), ("", "sim"), ("scan_", "scan_sim"), ("a_sim_b", "a_sim_b")]
)
def test_file_prefixes_name_the_detector(prefix, expected):
    assert detector_prefix(prefix, "sim") == expected


def test_images_go_to_the_scans_directory_which_is_made(tmp_path):
    saving = image_saving(SavingSettings(compression="gzip"), "sim", str(tmp_path / "a" / "b"), "sim_")
    assert (tmp_path / "a" / "b").is_dir()
    assert isinstance(saving, Saving)
    assert (saving.enabled, saving.filename_prefix, saving.compression) == (True, "sim", "gzip")


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be created"):
        image_saving(SavingSettings(), "sim", str(tmp_path / "file" / "b"), "sim_")


NODE = {
    "plugin": "generic",
    "package": "lima2_bliss.controller",
    "class": "Lima2Detector",
    "name": "sim",
    "control": "a/b/c",
    "receivers": ["a/b/1"],
    "access": "a/b/image",
    "publisher": "a/b/publisher",
}


def test_the_configuration_takes_bliss_keys_and_ours():
    assert configuration(NODE).receivers == ["a/b/1"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"receivers": []}, "receivers"),
        ({"recievers": []}, "recievers: unknown"),
        ({"defaults": {"imag": {}}}, "defaults.imag"),
    ],
)
def test_a_wrong_configuration_names_the_fault(change, match):
    with pytest.raises(ParameterError, match=match):
        configuration({**NODE, **change})
