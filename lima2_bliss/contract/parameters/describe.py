"""Parameter models as Markdown tables. The reference page is made by::

    python -m lima2_bliss.contract.parameters.describe doc/reference/parameters.md

It fills what stands between ``<!-- parameters: MODULE:MODEL -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lima2_bliss.contract.errors import ParameterError
from lima2_bliss.contract.parameters.strict import Parameters

_MARKED = re.compile(r"(<!-- parameters: (?P<model>[\w.]+:\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: Limits of a value: key of the JSON schema, sign.
_LIMITS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))

#: Sections with so many parameters are shown in full only once.
LONG_SECTION = 4


@dataclass(frozen=True)
class Leaf:
    """A parameter: dotted name, what is allowed, default as JSON (empty if it must be given), meaning."""

    name: str
    allowed: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """Parameters that stand together, and what is said of them as a whole."""

    name: str
    meaning: str
    leaves: tuple[Leaf, ...]


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return {**definitions[reference.rsplit("/", 1)[1]], **schema} if reference else schema


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_allowed(_resolved(each, definitions), definitions) for each in schema["anyOf"])
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} x {_allowed(schema['prefixItems'][0], definitions)}"
    if schema.get("type") == "array":
        items = _resolved(schema.get("items", {}), definitions)
        inner = items.get("title") if "properties" in items else _allowed(items, definitions)
        return f"list of {inner}"
    limits = [f"{sign} {schema[key]:.12g}" for key, sign in _LIMITS if key in schema]
    return " ".join([str(schema.get("type", "any")), *limits])


def sections(model: type[Parameters]) -> list[Section]:
    """All parameters of a model, section by section; the model's own come first, under an empty name."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return list(_sections(schema, definitions, "", None))


def _sections(schema: dict[str, Any], definitions: dict[str, Any], path: str, default: Any) -> Iterator[Section]:
    leaves: list[Leaf] = []
    below: list[Section] = []
    for key, raw in schema.get("properties", {}).items():
        field = _resolved(raw, definitions)
        name = f"{path}.{key}" if path else key
        given = default[key] if isinstance(default, dict) and key in default else field.get("default")
        if "properties" in field:
            below.extend(_sections(field, definitions, name, given))
        else:
            required = "default" not in field and given is None and key in schema.get("required", ())
            empty: Any = {"array": [], "object": {}}.get(field.get("type", ""))
            value = "" if required else json.dumps(empty if given is None else given)
            leaves.append(Leaf(name, _allowed(field, definitions), value, field.get("description", "")))
    if leaves or not path:
        yield Section(path, inspect.cleandoc(schema.get("description", "")), tuple(leaves))
    yield from below


def markdown_table(leaves: Sequence[Leaf]) -> str:
    """One row per parameter."""
    rows = ["| parameter | allowed | default | meaning |", "|---|---|---|---|"]
    for leaf in leaves:
        default = f"`{leaf.default}`" if leaf.default else "must be given"
        rows.append(f"| `{leaf.name}` | {leaf.allowed} | {default} | {leaf.meaning} |")
    return "\n".join(rows)


def _kind(section: Section) -> tuple[Any, ...]:
    """The same for sections of one model, whatever their names and defaults."""
    return section.meaning, tuple((leaf.name.rpartition(".")[2], leaf.allowed, leaf.meaning) for leaf in section.leaves)


def _as_before(section: Section, known: Section) -> str:
    """One sentence for a section that differs from ``known`` at most in its defaults."""
    pairs = zip(section.leaves, known.leaves, strict=True)
    changed = [f"`{new.name}` is `{new.default}`" for new, old in pairs if new.default != old.default]
    but = f"; the default of {', of '.join(changed)}" if changed else ""
    return f"**`{section.name}`** As `{known.name}`{but}."


def markdown(model: type[Parameters]) -> str:
    """All parameters of a model: for each section its meaning and a table; one sentence for a long one that repeats."""
    parts = []
    shown: dict[tuple[Any, ...], Section] = {}
    for section in sections(model):
        known = shown.setdefault(_kind(section), section)
        if known is not section and len(section.leaves) >= LONG_SECTION:
            parts.append(_as_before(section, known))
            continue
        if section.meaning:
            meaning = section.meaning.replace("``", "`")
            parts.append(f"**`{section.name}`** {meaning}" if section.name else meaning)
        if section.leaves:
            parts.append(markdown_table(section.leaves))
    return "\n\n".join(parts)


def load_model(name: str) -> type[Parameters]:
    """The model ``MODULE:MODEL``; `ParameterError` when there is none."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ParameterError(f"{name} cannot be loaded: {error}; give MODULE:MODEL of a parameter model") from error
    if not (inspect.isclass(found) and issubclass(found, Parameters)):
        raise ParameterError(f"{name} is no parameter model; give MODULE:MODEL of one")
    return found


def filled(page: str) -> str:
    """``page`` with fresh tables between its marks."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{markdown(load_model(found['model']))}\n\n{found[3]}", page)


def main() -> None:
    """Refresh the pages named on the command line."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
