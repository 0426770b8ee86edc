"""JSON schemas and versions in the Tango database, where LImA2 clients look for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import tango
from pydantic import BaseModel

_log = logging.getLogger(__name__)

ACQ_PARAMS = "acq_params"
PROC_PARAMS = "proc_params"


def parameter_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a parameter model without references: every object is spelled out, every leaf has its default.

    LImA2's clients make default parameters from it and point to the place of a fault in it; references, ``allOf`` and
    defaults of whole objects confuse them.
    """
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    return _spelled_out(schema, definitions)


def _spelled_out(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_spelled_out(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = deepcopy(definitions[schema["$ref"].rsplit("/", 1)[-1]])
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "default")}
        return _with_defaults(_spelled_out(target | beside, definitions), schema.get("default"))
    return {key: value if key == "default" else _spelled_out(value, definitions) for key, value in schema.items()}


def _with_defaults(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """The schema of an object whose leaves have the defaults that ``default`` gives to the whole object."""
    if not isinstance(default, dict) or "properties" not in schema:
        return schema
    properties = dict(schema["properties"])
    for name, value in default.items():
        leaf = properties[name]
        properties[name] = _with_defaults(leaf, value) if "properties" in leaf else leaf | {"default": value}
    return schema | {"properties": properties}


def publish_schema(database: tango.Database, tango_class: str, attribute: str, model: type[BaseModel]) -> None:
    """Put the schema of ``attribute`` of a Tango class in the database (class attribute property ``schema``)."""
    text = json.dumps(parameter_schema(model))
    properties = _asked(lambda: database.get_class_attribute_property(tango_class, attribute))
    if list(properties.get(attribute, {}).get("schema", [])) != [text]:
        _asked(lambda: database.put_class_attribute_property(tango_class, {attribute: {"schema": [text]}}))


def publish_version(database: tango.Database, tango_class: str, version: str) -> None:
    """Put the version of a Tango class in the database (class property ``Version``)."""
    stored = _asked(lambda: database.get_class_property(tango_class, "Version")).get("Version", [])
    if list(stored) != [version]:
        _asked(lambda: database.put_class_property(tango_class, {"Version": [version]}))


def _asked(request: Callable[[], Any], attempts: int = 5) -> Any:
    """Answer of the database, asked again when it fails.

    NosqlTangoDB fails now and then ("Caught an unknown exception!") while several servers of one class start at the
    same moment and write the same properties.
    """
    for _ in range(attempts - 1):
        try:
            return request()
        except (tango.DevFailed, RuntimeError) as error:
            _log.warning("the Tango database failed and is asked again: %s", error)
    return request()
