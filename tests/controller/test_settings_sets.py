"""Settings under names: saved, listed, compared, loaded as a whole or not at all."""

from __future__ import annotations

from datetime import datetime

import pytest
from detector_views import Memory

from lima2_bliss.contract import ConnectionLostError, NotAvailableError, ParameterError
from lima2_bliss.controller import sections as sections_module
from lima2_bliss.controller import settings_sets
from lima2_bliss.controller.configuration import Defaults
from lima2_bliss.controller.sections import Sections
from lima2_bliss.controller.settings_sets import SettingsSets

SERVER = {"size": {"x": 64, "y": 32}, "stamp": False}


class FakeConnection:
    """Control of a simulator of SERVER's parameters; refuses images wider than 1000 pixels."""

    def __init__(self):
        self.answers = True

    def detector_defaults(self):
        if not self.answers:
            raise ConnectionLostError("control is not running")
        return SERVER

    def defaults_if_known(self):
        return SERVER if self.answers else {}

    def info_if_known(self):
        return {}

    def shape(self, _parameters):
        return None

    def check(self, acquisition, _processing):
        if acquisition["det"].get("size", {}).get("x", 0) > 1000:
            raise ParameterError("size.x is above 1000")


@pytest.fixture
def stores(monkeypatch):
    """What beacon's Redis would keep, by key."""
    kept = {}
    monkeypatch.setattr(sections_module, "TextSetting", lambda name: kept.setdefault(name, Memory()))
    return kept


@pytest.fixture
def detector(stores):
    """(settings of a detector, its sets, its connection)."""
    connection = FakeConnection()
    settings = Sections("det", Defaults(saving={"compression": "zstd"}), connection, lambda: None)
    sets = SettingsSets("det.settings", settings, Memory(), lambda: datetime(2026, 1, 2, 3, 4, 5))
    return settings, sets, connection


def change(settings):
    settings.detector.update({"size.x": 128})
    settings.image.update({"roi": (70, 0, 40, 20)})
    settings.saving.compression = "gzip"
    settings.roi_counters.set("one", (1, 2, 3, 4))
    settings.roi_profiles.set("edge", (0, 0, 5, 5), "horizontal")


def test_what_was_saved_is_there_again_after_loading(detector):
    settings, sets, _ = detector
    before = settings.snapshot()
    sets.save("plain")
    change(settings)
    sets.save("wide")
    changed = sets.load("plain")
    assert settings.snapshot() == before
    assert {row[0] for row in changed.rows} == {
        "image.roi",
        "saving.compression",
        "detector.size.x",
        "roi_counters.one",
        "roi_profiles.edge",
    }
    sets.load("wide")
    assert (settings.image.roi, settings.detector["size.x"], settings.saving.compression) == (
        (70, 0, 40, 20),
        128,
        "gzip",
    )
    assert settings.roi_profiles["edge"].direction == "horizontal"
    assert len(sets.compare("wide")) == 0


def test_a_set_keeps_where_its_regions_were_given(detector):
    settings, sets, _ = detector
    settings.image.flip = "left_right"
    settings.roi_counters.set("one", (0, 0, 4, 4))
    sets.save("flipped")
    settings.image.flip = "none"
    assert settings.roi_counters["one"].x == 60
    assert [row[0] for row in sets.compare("flipped").rows] == ["image.flip"]
    settings.roi_counters.set("one", (0, 0, 4, 4))
    rows = sets.compare("flipped").rows
    assert rows[1][1:] == ("rect (0, 0, 4, 4) at flip left_right, detector_shape [32, 64]", "rect (0, 0, 4, 4)")
    sets.load("flipped")
    settings.image.flip = "none"
    assert settings.roi_counters["one"].x == 60
    settings.image.roi = (0, 0, 10, 10)
    sets.save("left out")
    assert sets.load("left out").rows == []
    assert list(settings.roi_counters.left_out()) == ["one"]


def test_regions_are_left_out_of_a_detector_that_is_too_small(stores):
    told = []
    settings = Sections("det", Defaults(), FakeConnection(), lambda: told.append(settings.roi_counters.left_out()))
    settings.roi_counters.set("one", (50, 0, 10, 10))
    settings.detector.update({"size.x": 32})
    assert list(told[-1]) == ["one"]
    assert settings.now().rois == {}
    settings.detector.reset()
    assert told[-1] == {}


def test_differences_are_a_table(detector):
    settings, sets, _ = detector
    sets.save("plain")
    change(settings)
    text = sets.compare("plain").__info__()
    assert text.splitlines()[0] == "plain and now: 5 different (-: not set there)"
    assert ["saving.compression", "'zstd'", "'gzip'"] in [line.split() for line in text.splitlines()]
    assert "rect (1, 2, 3, 4)" in text
    sets.save("wide")
    assert sets.compare("wide", "plain").rows[0][1:] == ("[70, 0, 40, 20]", "None")
    assert sets.compare("wide", "wide").__info__() == "wide and wide: no difference"


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("saving", {"compression": "jpeg"}, "compression"),
        ("saving", {"compresion": "gzip"}, "compresion"),
        ("image", {"roi": [60, 0, 10, 10]}, "outside the image of 64 x 32"),
        ("image", {"binning": [64, 64]}, "larger than the detector"),
        ("detector", {"size.x": 2000}, "above 1000"),
        ("detector", {"size.z": 2}, "no 'size.z'"),
        ("roi_counters", {"far": {"kind": "rect", "numbers": [63, 0, 5, 5]}}, "'far'.*outside"),
        ("roi_counters", {"far": {"numbers": [63, 0, 5, 5]}}, "regions"),
        ("gone", {"x": 1}, "no settings gone"),
    ],
)
def test_a_set_that_is_no_longer_good_changes_nothing(detector, section, values, words):
    settings, sets, _ = detector
    sets.save("plain")
    change(settings)
    present = settings.snapshot()
    stored = sets["plain"] | {"acquisition": {"frames_per_point": 7}, section: values}
    with pytest.raises(ParameterError, match=words):
        settings.plan(stored)()
    assert settings.snapshot() == present


def test_without_control_only_what_it_need_not_check_can_be_loaded(detector):
    settings, sets, connection = detector
    settings.saving.compression = "gzip"
    sets.save("gzip")
    settings.saving.compression = "none"
    sets.save("none")
    settings.detector.update({"size.x": 128})
    sets.save("wide")
    connection.answers = False
    with pytest.raises(ConnectionLostError):
        sets.load("gzip")
    assert settings.saving.compression == "none"
    settings.detector.reset()
    sets.load("gzip")
    assert settings.saving.compression == "gzip"


def test_reset_goes_back_to_the_configuration_and_keeps_sets_and_regions(detector):
    settings, sets, _ = detector
    change(settings)
    sets.save("wide")
    sets.reset()
    assert settings.saving.compression == "zstd"
    assert settings.roi_counters.keys() == ["one"]
    assert sets.list() == ["wide"]


def test_names_are_checked_listed_and_removed(detector):
    settings, sets, _ = detector
    assert "no sets" in sets.__info__()
    sets.save("run 1")
    with pytest.raises(ParameterError, match=r"has 'run 1' already, of 2026-01-02 03:04:05; save.*replace=True"):
        sets.save("run 1")
    settings.saving.compression = "none"
    assert "1 different" in sets.__info__()
    sets.save("run 1", replace=True)
    assert "the present settings" in sets.__info__()
    assert "run 1" in sets
    for wrong in ("", "now", "a/b", "x" * 65, 5):
        with pytest.raises(ParameterError, match="is no name for a set"):
            sets.save(wrong)
    for call in (sets.load, sets.compare, sets.remove):
        with pytest.raises(NotAvailableError, match="has no 'run 2'; there are: run 1"):
            call("run 2")
    sets.remove("run 1")
    assert sets.list() == []


def test_number_and_size_are_bounded(detector, monkeypatch):
    _, sets, _ = detector
    monkeypatch.setattr(settings_sets, "MAX_SETS", 2)
    sets.save("a")
    sets.save("b")
    with pytest.raises(ParameterError, match=r"2 sets, no more are kept; remove\(\) one of a, b"):
        sets.save("c")
    sets.save("b", replace=True)
    monkeypatch.setattr(settings_sets, "MAX_BYTES", 100)
    with pytest.raises(ParameterError, match="remove regions"):
        sets.save("b", replace=True)


def test_unreadable_sets_are_told_and_not_overwritten(detector):
    settings, _, _ = detector
    store = Memory('{"a": 5}')
    with pytest.raises(ParameterError, match="unreadable"):
        SettingsSets("det.settings", settings, store).save("b")
    assert store.text == '{"a": 5}'
