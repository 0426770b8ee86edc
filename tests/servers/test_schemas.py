"""Schemas that LImA2's clients can use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tango
from tango_bench import TangoBench

from lima2_bliss.contract.parameters import LegacyParameters, SmxParameters
from lima2_receivers.detectors.simulator import SimulatorParameters
from lima2_receivers.servers.schemas import parameter_schema


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema["properties"].items():
        if "properties" in child:
            yield from properties(child, f"{path}{name}.")
        else:
            yield f"{path}{name}", child


@pytest.mark.parametrize("model", [LegacyParameters, SmxParameters, SimulatorParameters])
def test_a_schema_has_no_references_and_no_all_of(model: type) -> None:
    keys = {key for node in nodes(parameter_schema(model)) for key in node}

    assert not keys & {"$ref", "$defs", "allOf", "anyOf", "oneOf"}


@pytest.mark.parametrize("model", [LegacyParameters, SmxParameters, SimulatorParameters])
def test_every_leaf_of_a_schema_has_a_default_that_is_the_models(model: type) -> None:
    defaults = model().model_dump(mode="json")

    for path, leaf in properties(parameter_schema(model)):
        expected: Any = defaults
        for part in path.split("."):
            expected = expected[part]
        if leaf["type"] == "array":
            assert expected == leaf.get("default", [])
            assert not leaf.get("minItems")
        else:
            assert leaf["default"] == expected, path


def test_schemas_and_version_are_in_the_database_where_clients_look(bench: TangoBench) -> None:
    database = tango.Database("127.0.0.1", bench.port)

    for tango_class, attribute in (
        ("LimaSimulatorControl", "acq_params"),
        ("LimaSimulatorReceiver", "acq_params"),
        ("LimaProcessingLegacy", "proc_params"),
        ("LimaProcessingSmx", "proc_params"),
    ):
        text = database.get_class_attribute_property(tango_class, attribute)[attribute]["schema"][0]
        assert json.loads(text)["additionalProperties"] is False
    for tango_class in ("LimaProcessingLegacy", "LimaProcessingSmx"):
        version = database.get_class_property(tango_class, "Version")["Version"][0]
        assert version.startswith("core-1.2")


def test_sections_of_one_kind_keep_their_own_defaults() -> None:
    prefixes = {
        name: section["properties"]["filename_prefix"]["default"]
        for name, section in parameter_schema(SmxParameters)["properties"].items()
        if name.startswith("saving")
    }

    assert len(set(prefixes.values())) == len(prefixes) == 5
