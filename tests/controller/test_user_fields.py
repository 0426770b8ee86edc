"""Fields that users add to the metadata: what is accepted, how references are read, how two sources are merged."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.bliss_objects import value_of
from lima2_bliss.controller.dataset_metadata import dataset_fields
from lima2_bliss.controller.metadata_view import MetadataView, leaves
from lima2_bliss.controller.user_fields import Value, check_fields, merged, quantity, read_fields


class Known:
    """A session of two objects, one of which cannot be read."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def names(self) -> list[str]:
        return ["mono", "broken"]

    def read(self, name: str, attribute: str) -> Value:
        self.asked.append((name, attribute))
        if name == "broken":
            raise ParameterError("it cannot be read: no power")
        return Value(attribute) if attribute == "unit" else Value(12.4, "keV")

    def name_of(self, given: Any) -> str | None:
        return "mono" if given is self else None


class Memory:
    """A store that lives as long as the test."""

    text: str | None = None

    def get(self) -> str | None:
        return self.text

    def set(self, text: str) -> None:
        self.text = text

    def clear(self) -> None:
        self.text = None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"energy": "far"}, "energy = 'far' is no number > 0"),
        ({"energy": -1}, "energy = -1 is no number > 0"),
        ({"energy": 12, "energy@units": "erg"}, "units 'erg' are not known; allowed: keV, eV, MeV"),
        ({"energy": 12, "wavelength": 1e-10}, "give one of them"),
        ({"a": None}, "a = None: give a text"),
        ({"a": [1, "b"]}, "give a text, a number, a list of these"),
        ({"a": []}, "give a text"),
        ({"a": float("nan")}, "give a text"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "groups may be 5 deep"),
        ({"a": {"value": 1, "units": 2}}, "units = 2 is no text"),
        ({"b@units": "mm"}, "there is no field b"),
        ({"b": 1, "b@colour": "red"}, "allowed are NAME@units"),
        ({"@NX_class": "NXsource"}, "the detector is an NXdetector"),
        ({"geometry": {"a": 1}}, "geometry is written by the detector itself"),
        ({"a.b": 1}, "'a.b' is no name"),
        ({"a": "$"}, "is no reference; write $NAME"),
        ({"a": "$mon"}, "there is no object mon; like it: mono"),
        ({"a": "x" * 70_000}, "65536 are possible"),
    ],
)
def test_fields_that_cannot_be_written_are_refused_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check_fields("det.metadata", fields, Known())
    assert "det.metadata: " in caught.value.what
    assert words in caught.value.what


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ParameterError, match=r"a = None.*; b = None.*; c\.d = None"):
        check_fields("det.metadata", {"a": None, "b": None, "c": {"d": None}})


def test_references_are_read_with_their_units_and_faults_leave_the_rest() -> None:
    fields = {
        "energy": "$mono",
        "as_text": "$mono.unit",
        "own": {"value": "$mono", "units": "eV"},
        "other": "$mono",
        "other@units": "J",
        "group": {"gone": "$broken", "here": 1, "here@units": "mm"},
        "plain": "${HOME}",
    }
    check_fields("det.metadata", fields, Known())
    told, faults = read_fields(fields, Known())
    assert faults == ["group.gone = '$broken': it cannot be read: no power"]
    assert told == {
        "energy": 12.4,
        "energy@units": "keV",
        "as_text": "unit",
        "own": 12.4,
        "own@units": "eV",
        "other": 12.4,
        "other@units": "J",
        "group": {"@NX_class": "NXcollection", "here": 1, "here@units": "mm"},
        "plain": "${HOME}",
    }


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"energy": 12.4}, 12.4),
        ({"energy": 12400, "energy@units": "eV"}, 12.4),
        ({"distance": 150.0, "distance@units": "mm"}, 0.15),
        ({"wavelength": 1, "wavelength@units": "angstrom"}, 1e-10),
        ({}, None),
    ],
)
def test_quantities_are_in_their_first_unit(fields: dict[str, Any], value: float | None) -> None:
    name = next(iter(fields), "energy")
    assert quantity(name, fields) == (None if value is None else pytest.approx(value))


def test_later_fields_take_the_place_of_earlier_ones_group_by_group() -> None:
    first = {"a": 1, "a@units": "mm", "b": {"c": 1, "d": 2}, "e": {"value": 1, "units": "K"}}
    second = {"a": 2, "b": {"d": {"value": 3}}, "e": {"value": 5}}
    assert merged(first, second) == {"a": 2, "b": {"c": 1, "d": {"value": 3}}, "e": {"value": 5}}


def test_what_turns_out_to_be_no_energy_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    view = MetadataView("det.metadata", {"distance": "$mono", "a": 1}, Memory(), Known(), dict)
    assert view.user_fields() == {"a": 1}
    assert "distance has units 'keV'; allowed: m, mm, cm" in caplog.text


def test_an_object_is_added_by_its_name_and_a_field_that_cannot_be_read_is_not() -> None:
    known, memory = Known(), Memory()
    view = MetadataView("det.metadata", {}, memory, known, dict)
    view.add("beam.energy", known)
    assert view.added == {"beam": {"energy": "$mono"}}
    with pytest.raises(ParameterError, match="no power"):
        view.add("x", "$broken")
    with pytest.raises(ParameterError, match="a Memory without a name in this session"):
        view.add("x", memory)
    view.add("beam.size", (1, 2), "um")
    view.remove("beam.energy")
    assert view.added == {"beam": {"size": {"value": [1, 2], "units": "um"}}}
    view.remove("beam.size")
    assert view.added == {}


def test_a_tree_is_listed_leaf_by_leaf() -> None:
    tree = {"@NX_class": "NXdetector", "a": 1, "a@units": "m", "b": {"c": {"value": 2, "units": "s"}}}
    assert list(leaves(tree)) == [("a", 1, "m"), ("b.c", 2, "s")]


def test_the_catalogue_is_told_what_it_knows_in_its_units() -> None:
    metadata = {
        "x_pixel_size": 75e-6,
        "y_pixel_size": 150e-6,
        "beam_center_x": 100.0,
        "beam_center_x@units": "pixel",
        "mask": {"file": "/m.npy"},
        "correction": {"calibration": "/c.h5"},
        "calibration_date": "2026-01-01T00:00:00+00:00",
        "gain_setting": "dynamic",
        "sensor_thickness": 450,
        "sensor_thickness@units": "um",
    }
    told = dataset_fields("det", metadata, count_time=0.1)
    assert told == {
        "name": "det",
        "type": "pixel",
        "x_pixel_size": 75.0,
        "y_pixel_size": 150.0,
        "beam_center_x": pytest.approx(0.0075),
        "pixel_mask": "/m.npy",
        "sensor_thickness": pytest.approx(450e-6),
        "calibration": "/c.h5",
        "calibration_date": "2026-01-01T00:00:00+00:00",
        "preset_time": 0.1,
    }
    assert dataset_fields("det", metadata, {"name", "pixel_mask"}) == {"name": "det", "pixel_mask": "/m.npy"}


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (np.float32(0.5), Value(0.5)),
        (np.arange(3), Value([0, 1, 2])),
        (Colour.RED, Value("RED")),
        ((1, np.int8(2)), Value([1, 2])),
        ({"a": 1, "b": object()}, Value({"a": 1})),
        (SimpleNamespace(position=3.5, unit="mm"), Value(3.5, "mm")),
        (SimpleNamespace(value="open", unit=None), Value("open")),
        (lambda: 7, Value(7)),
    ],
)
def test_objects_give_plain_values_with_units(given: Any, value: Value) -> None:
    assert value_of(given) == value


@pytest.mark.parametrize("given", [object(), SimpleNamespace(position=object()), Colour, [1, object()]])
def test_objects_without_a_plain_value_are_named_with_what_to_do(given: Any) -> None:
    with pytest.raises(ParameterError, match=r"refer to something with a position or a value"):
        value_of(given)
