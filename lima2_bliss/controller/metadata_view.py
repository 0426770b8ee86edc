"""``det.metadata``: what the next scan writes of the detector, and fields that a session adds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from lima2_bliss.contract import NotAvailableError, ParameterError
from lima2_bliss.controller.settings import TextStore
from lima2_bliss.controller.tables import columns
from lima2_bliss.controller.user_fields import (
    QUANTITIES,
    Objects,
    check_fields,
    is_reference,
    merged,
    quantity,
    read_fields,
)

_log = logging.getLogger(__name__)

_LONGEST = 60


class NamedObjects(Objects, Protocol):
    """The objects of the session, which can also tell the name of one."""

    def name_of(self, given: Any) -> str | None:
        """The name under which an object can be referred to, None when it has none here."""


class MetadataView:
    """Fields of the configuration file, those that sessions have added, and the table of all that is written.

    ``describe`` gives everything that the next scan would write, these fields included.
    """

    def __init__(
        self,
        title: str,
        configured: Mapping[str, Any],
        store: TextStore,
        objects: NamedObjects,
        describe: Callable[[], Mapping[str, Any]],
    ) -> None:
        check_fields(f"{title} in the configuration file", configured, objects if _refers(configured) else None)
        self._title = title
        self._configured = configured
        self._store = store
        self._objects = objects
        self._describe = describe

    @property
    def added(self) -> dict[str, Any]:
        """The fields that sessions have added, references as ``$NAME``."""
        text = self._store.get()
        return dict(json.loads(text)) if text else {}

    def add(self, name: str, value: Any, units: str | None = None) -> None:
        """Add a field to all scans to come, in this session and later ones.

        ``name`` may be that of a group and a field, as in ``"sample.temperature"``. ``value``: a text, a number, a
        list, or an object (an axis, a counter, ...), whose value is then read for each scan.
        """
        given = self._named(name, value)
        field = given if units is None else {"value": given, "units": units}
        for part in reversed(name.split(".")):
            field = {part: field}
        fields = merged(self.added, field)
        check_fields(self._title, merged(self._configured, fields), self._objects)
        _, faults = _read(field, self._objects)
        if faults:
            raise ParameterError(f"{self._title}: {'; '.join(faults)}")
        self._store.set(json.dumps(fields))

    def remove(self, name: str) -> None:
        """Remove a field, or a group, that was added."""
        fields = self.added
        *groups, last = name.split(".")
        place = fields
        for group in groups:
            place = place.get(group) or {}
        if last not in place:
            known = ", ".join(sorted(fields)) or "none"
            raise NotAvailableError(f"{self._title}: {name!r} was not added; added are: {known}")
        del place[last]
        place.pop(f"{last}@units", None)
        self._store.set(json.dumps(_pruned(fields)))

    def clear(self) -> None:
        """Remove all fields that were added; those of the configuration file stay."""
        self._store.clear()

    def to_dict(self) -> dict[str, Any]:
        """What the next scan would write, as a tree; ``name@units`` are units."""
        return dict(self._describe())

    def user_fields(self) -> dict[str, Any]:
        """All fields that users gave, with references read; a warning names those that cannot be read now."""
        told, faults = _read(merged(self._configured, self.added), self._objects)
        for fault in faults:
            _log.warning("%s: left out: %s", self._title, fault)
        return told

    def _named(self, name: str, value: Any) -> Any:
        if isinstance(value, (str, bool, int, float, list, Mapping)):
            return dict(value) if isinstance(value, Mapping) else value
        if isinstance(value, tuple):
            return list(value)
        known = self._objects.name_of(value)
        if known is None:
            raise ParameterError(
                f"{self._title}: {name} = a {type(value).__name__} without a name in this session; give a text, a"
                " number, a list of these, or an object such as an axis or a counter"
            )
        return f"${known}"

    def __dir__(self) -> list[str]:
        return ["add", "added", "clear", "remove", "to_dict"]

    def __info__(self) -> str:
        sources = {path: given for path, given, _ in leaves(merged(self._configured, self.added))}
        rows = []
        for path, value, units in leaves(self._describe()):
            rows.append((path, _words(value), units, sources.get(path, "") if is_reference(sources.get(path)) else ""))
        return "\n".join(
            [
                f"{self._title}, as the next scan writes it (count times, trigger and counts come with the scan);"
                f' {self._title}.add("NAME", value, "units") adds a field:',
                *columns(("field", "value", "units", "from"), rows),
            ]
        )


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(path with dots, value, units) of each field of a tree."""
    for key, value in tree.items():
        if "@" in key:
            continue
        if isinstance(value, Mapping) and not ("value" in value and set(value) <= {"value", "units"}):
            yield from leaves(value, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            yield f"{prefix}{key}", value["value"], str(value.get("units") or "")
        else:
            yield f"{prefix}{key}", value, str(tree.get(f"{key}@units", ""))


def _read(fields: Mapping[str, Any], objects: Objects) -> tuple[dict[str, Any], list[str]]:
    """Fields with references read, without those that cannot be used now; sentences say which these are."""
    told, faults = read_fields(fields, objects)
    for name in QUANTITIES:
        try:
            quantity(name, told)
        except ParameterError as error:
            faults.append(error.what)
            del told[name]
            told.pop(f"{name}@units", None)
    return told, faults


def _refers(fields: Mapping[str, Any]) -> bool:
    return any(is_reference(value) for _, value, _ in leaves(fields))


def _pruned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without groups that have become empty."""
    inside = {key: _pruned(value) if isinstance(value, Mapping) else value for key, value in fields.items()}
    return {key: value for key, value in inside.items() if value != {}}


def _words(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(_words(item) for item in value)
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
