"""A setting is checked at once, kept over sessions, and can be reset."""

from __future__ import annotations

import json

import pytest
from detector_views import Memory

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.detector_settings import DetectorSettings, deep_merged, flatten, nest
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.settings_models import ImageSettings, ProcessingSettings, SavingSettings


def test_a_good_value_is_there_again_in_the_next_session():
    store = Memory()
    SettingsSection("det.saving", SavingSettings, {}, store).compression = "gzip"
    assert SettingsSection("det.saving", SavingSettings, {}, store).compression == "gzip"


def test_a_wrong_value_is_refused_and_changes_nothing():
    store = Memory()
    saving = SettingsSection("det.saving", SavingSettings, {}, store)
    with pytest.raises(ParameterError, match=r"det\.saving.*compression = 'jpeg'"):
        saving.compression = "jpeg"
    assert saving.compression == "bshuf_lz4"
    assert store.text is None


def test_an_unknown_name_is_refused_with_the_names_that_exist():
    saving = SettingsSection("det.saving", SavingSettings, {}, Memory())
    with pytest.raises(ParameterError, match=r"compresion: unknown.*frames_per_file"):
        saving.compresion = "gzip"
    with pytest.raises(AttributeError, match="frames_per_file"):
        _ = saving.compresion


def test_several_values_are_set_together_or_not_at_all():
    processing = SettingsSection("det.processing", ProcessingSettings, {}, Memory())
    with pytest.raises(ParameterError, match="accumulation"):
        processing.update({"mask": "/mask.h5", "accumulation": 0})
    assert processing.mask is None


def test_reset_goes_back_to_the_configuration_file():
    store = Memory()
    saving = SettingsSection("det.saving", SavingSettings, {"compression": "zstd"}, store)
    saving.compression = "none"
    saving.reset()
    assert saving.compression == "zstd"
    assert store.text is None


def test_a_wrong_value_in_the_configuration_file_says_where_it_is():
    with pytest.raises(ParameterError, match=r"det\.saving in the configuration file: .*compression"):
        SettingsSection("det.saving", SavingSettings, {"compression": "jpeg"}, Memory())


def test_a_stored_value_that_is_no_longer_valid_gives_way_to_the_default(caplog):
    store = Memory(json.dumps({"compression": "lzf", "frames_per_file": 7}))
    saving = SettingsSection("det.saving", SavingSettings, {}, store)
    assert (saving.compression, saving.frames_per_file) == ("bshuf_lz4", 7)
    assert "det.saving.compression" in caplog.text


def test_what_a_user_sees_names_every_setting_with_its_meaning():
    text = SettingsSection("det.saving", SavingSettings, {}, Memory()).__info__()
    assert text.startswith("det.saving:")
    assert "frames_per_file" in text
    assert "images in one file" in text


@pytest.mark.parametrize(
    ("given", "kept"), [(90, "90cw"), (0, "none"), (180, "180"), (270, "90ccw"), ("90ccw", "90ccw")]
)
def test_rotation_is_given_in_degrees_or_words(given, kept):
    image = SettingsSection("det.image", ImageSettings, {}, Memory())
    image.rotation = given
    assert image.rotation == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rotation", 45),
        ("binning", (0, 1)),
        ("binning", (65, 1)),
        ("roi", (0, 0, 0, 5)),
        ("roi", (-1, 0, 5, 5)),
        ("flip", "x"),
    ],
)
def test_wrong_image_geometry_is_refused(name, value):
    image = SettingsSection("det.image", ImageSettings, {}, Memory())
    with pytest.raises(ParameterError, match=name):
        image.update({name: value})


def test_binning_by_one_number_and_no_roi():
    image = SettingsSection("det.image", ImageSettings, {}, Memory())
    image.update({"binning": 2, "roi": (1, 2, 3, 4)})
    assert image.binning == (2, 2)
    image.roi = None
    assert image.roi is None


def test_the_check_of_a_section_can_refuse_a_value():
    def refuse(_values):
        raise ParameterError("does not fit")

    image = SettingsSection("det.image", ImageSettings, {}, Memory(), check=refuse)
    with pytest.raises(ParameterError, match="does not fit"):
        image.flip = "both"
    assert image.flip == "none"


SERVER = {"generator": {"type": "gauss", "seed": 1}, "size": {"x": 64, "y": 32}, "stamp": False, "level": 1.5}


def detector_settings(store=None, configured=None, check=None):
    return DetectorSettings("det.detector", configured or {}, store or Memory(), lambda: SERVER, check)


def test_detector_settings_are_named_with_dots():
    settings = detector_settings()
    settings["generator.seed"] = 5
    settings.level = 2
    assert settings["generator.seed"] == 5
    assert settings.generator == {"type": "gauss", "seed": 5}
    assert settings.overrides() == {"generator": {"seed": 5}, "level": 2}


def test_detector_settings_refuse_what_the_server_does_not_know():
    settings = detector_settings()
    with pytest.raises(ParameterError, match=r"no 'generator\.sed'; did you mean 'generator\.seed'"):
        settings["generator.sed"] = 5
    with pytest.raises(ParameterError, match=r"generator\.seed.*must be of type int"):
        settings["generator.seed"] = "five"
    with pytest.raises(ParameterError, match="must be of type bool"):
        settings.stamp = 1


def test_detector_settings_ask_the_server_before_they_are_kept():
    def refuse(tree):
        raise ParameterError(f"refused {tree}")

    store = Memory()
    with pytest.raises(ParameterError, match=r"refused {'size': {'x': 7}}"):
        detector_settings(store, check=refuse)["size.x"] = 7
    assert store.text is None


def test_detector_settings_start_from_the_configuration_and_return_to_it():
    store = Memory()
    settings = detector_settings(store, {"size": {"x": 128}})
    assert settings["size.x"] == 128
    settings["size.x"] = 256
    assert detector_settings(store, {"size": {"x": 128}})["size.x"] == 256
    settings.reset()
    assert settings.overrides() == {"size": {"x": 128}}


def test_nesting_is_the_inverse_of_flattening():
    assert nest(dict(flatten(SERVER))) == SERVER
    assert deep_merged(SERVER, {"size": {"x": 1}})["size"] == {"x": 1, "y": 32}
