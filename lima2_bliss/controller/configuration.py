"""The detector's entry in the beacon configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from lima2_bliss.contract.parameters import Parameters, parse

#: Keys that BLISS itself reads.
_BLISS_KEYS = frozenset({"plugin", "package", "module", "class", "filename"})


class Defaults(Parameters):
    """Settings to start from, section by section."""

    acquisition: dict[str, Any] = Field(default_factory=dict)
    image: dict[str, Any] = Field(default_factory=dict)
    processing: dict[str, Any] = Field(default_factory=dict)
    smx: dict[str, Any] = Field(default_factory=dict)
    saving: dict[str, Any] = Field(default_factory=dict)
    detector: dict[str, Any] = Field(default_factory=dict)


class Configuration(Parameters):
    """What a beacon YAML entry of a detector holds; device names as in the Tango database."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    control: str = Field(min_length=1)
    receivers: list[str] = Field(min_length=1, max_length=256, description="in rank order")
    access: str = Field(min_length=1)
    publisher: str = Field(min_length=1)
    defaults: Defaults = Defaults()
    metadata: dict[str, Any] = Field(default_factory=dict, description="fields added to NXdetector in scan files")


def _plain(value: Any) -> Any:
    """As it stands in the file: objects that ``metadata`` refers to are looked for at each scan."""
    if hasattr(value, "to_dict"):
        return value.to_dict(resolve_references=False)
    return value


def configuration(node: Mapping[str, Any]) -> Configuration:
    """The checked configuration; one `ParameterError` names every fault."""
    content = {key: _plain(value) for key, value in dict(_plain(node)).items() if key not in _BLISS_KEYS}
    return parse(Configuration, content, f"configuration of detector {content.get('name', '?')!r}")
