"""Parameters: unknown keys are refused, one error names every fault, schemas have a default for every leaf."""

from __future__ import annotations

import json

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import AcquisitionParameters, LegacyParameters, Parameters, Saving, parse

MODELS = [AcquisitionParameters, LegacyParameters]


def test_one_error_names_every_fault_with_what_was_given() -> None:
    bad = {"acq": {"expo_time": -5, "trigger_mode": "sometimes", "speed": 3}, "colour": "red"}
    with pytest.raises(ParameterError) as caught:
        parse(AcquisitionParameters, bad, "acquisition parameters")
    text = str(caught.value)
    for part in ("acq.expo_time = -5", "acq.trigger_mode = 'sometimes'", "acq.speed: unknown", "colour: unknown"):
        assert part in text
    assert "'internal', 'software', 'external' or 'gate'" in text


def test_json_that_is_none_is_refused_as_such() -> None:
    with pytest.raises(ParameterError, match="not valid JSON"):
        parse(LegacyParameters, "{", "processing parameters")


def test_whole_floats_from_json_schema_clients_become_integers() -> None:
    parsed = parse(AcquisitionParameters, '{"acq": {"nb_frames": 2.0}}', "acquisition parameters")
    assert parsed.acq.nb_frames == 2
    assert isinstance(parsed.acq.nb_frames, int)


@pytest.mark.parametrize("model", MODELS)
def test_every_leaf_of_a_schema_has_a_default_and_nothing_is_hidden_in_all_of(model: type[Parameters]) -> None:
    schema = model.model_json_schema()
    assert "allOf" not in json.dumps(schema)
    for name, definition in [("top", schema), *schema.get("$defs", {}).items()]:
        for key, leaf in definition.get("properties", {}).items():
            assert "default" in leaf or "$ref" in leaf or leaf.get("type") == "array", f"{name}.{key} has no default"


@pytest.mark.parametrize("model", MODELS)
def test_the_defaults_are_valid_and_come_back_from_json(model: type[Parameters]) -> None:
    assert parse(model, model().model_dump_json(), "defaults") == model()


def test_a_map_that_is_enabled_needs_its_path() -> None:
    with pytest.raises(ParameterError, match="enabled without a path"):
        parse(LegacyParameters, {"mask": {"enabled": True}}, "processing parameters")


def test_an_arc_must_have_an_inside() -> None:
    arc = {"center": {"x": 1, "y": 1}, "r1": 5, "r2": 5}
    with pytest.raises(ParameterError, match="r2 = 5"):
        parse(LegacyParameters, {"statistics": {"arc_rois": [arc]}}, "processing parameters")


def test_profiles_need_one_direction_each() -> None:
    with pytest.raises(ParameterError, match="1 rois but 0 directions"):
        parse(LegacyParameters, {"profiles": {"rois": [{}]}}, "processing parameters")


def test_file_names_are_those_of_lima2() -> None:
    layout = Saving(base_path="/data", filename_prefix="scan1_frame", nx_detector_name="sim").layout()
    assert str(layout.receiver_file(1, 12)) == "/data/scan1_frame_1_00012.h5"
    assert str(layout.master_file) == "/data/scan1_frame_master.h5"
    assert layout.data_path == "/entry_0000/instrument/sim/data"


def test_a_prefix_cannot_leave_its_directory() -> None:
    with pytest.raises(ParameterError, match="filename_prefix"):
        parse(Saving, {"filename_prefix": "../x"}, "saving parameters")
