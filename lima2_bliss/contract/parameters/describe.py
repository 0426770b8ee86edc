"""Parameter models as Markdown tables, for the reference documentation and command-line help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lima2_bliss.contract.parameters.strict import Parameters


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return {**definitions[reference.rsplit("/", 1)[1]], **schema} if reference else schema


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        items = _resolved(schema.get("items", {}), definitions)
        inner = items.get("title") if "properties" in items else _allowed(items, definitions)
        return f"list of {inner}"
    limits = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
        if key in schema
    ]
    return " ".join([str(schema.get("type", "any")), *limits])


def _leaves(
    schema: dict[str, Any], definitions: dict[str, Any], path: str, default: Any
) -> Iterator[tuple[str, str, str, str]]:
    for key, raw in schema.get("properties", {}).items():
        leaf = _resolved(raw, definitions)
        here = f"{path}.{key}" if path else key
        given = default.get(key) if isinstance(default, dict) else leaf.get("default")
        if "properties" in leaf:
            yield from _leaves(leaf, definitions, here, given)
        else:
            yield here, _allowed(leaf, definitions), json.dumps(given), str(leaf.get("description", ""))


def markdown_table(model: type[Parameters]) -> str:
    """One row per leaf of a parameter model: name, what is allowed, default, meaning."""
    schema = model.model_json_schema()
    rows = ["| parameter | allowed | default | meaning |", "|---|---|---|---|"]
    defaults = model().model_dump(mode="json")
    for name, allowed, default, meaning in _leaves(schema, schema.get("$defs", {}), "", defaults):
        rows.append(f"| `{name}` | {allowed} | `{default}` | {meaning} |")
    return "\n".join(rows)
