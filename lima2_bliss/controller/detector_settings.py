"""Settings that only this kind of detector has: their names and defaults come from its control server."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.settings import Plan, TextStore, table

_log = logging.getLogger(__name__)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested settings as (dotted name, value)."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings from dotted names; the inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, leaf = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = value
    return tree


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, int):
        return isinstance(value, (int, float)) and float(value).is_integer()
    return default is None or isinstance(value, type(default))


class DetectorSettings:
    """Settings of the detector itself, by dotted name: ``det.detector["gauss.sigma"] = 12``.

    A plain name also works as an attribute. The names come from the control server; ``check(tree)`` asks it
    whether it accepts all of the ``det`` parameters. Without the server nothing can be set. ``on_change`` is
    called after each change.
    """

    def __init__(
        self,
        title: str,
        configured: Mapping[str, Any],
        store: TextStore,
        defaults: Callable[[], Mapping[str, Any]],
        check: Callable[[dict[str, Any]], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        object.__setattr__(self, "_title", title)
        object.__setattr__(self, "_configured", dict(flatten(configured)))
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_server_defaults", defaults)
        object.__setattr__(self, "_check", check)
        object.__setattr__(self, "_on_change", on_change)

    def _changed(self) -> dict[str, Any]:
        text = self._store.get()
        stored = json.loads(text) if text else {}
        return {**self._configured, **stored}

    def overrides(self) -> dict[str, Any]:
        """What differs from the server's defaults, as a ``det`` parameter tree."""
        return nest(self._changed())

    def _known(self) -> dict[str, Any]:
        return dict(flatten(self._server_defaults()))

    def to_dict(self) -> dict[str, Any]:
        """All present values by dotted name."""
        return {**self._known(), **self._changed()}

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several values; all of them, or none when one is refused."""
        self._check_names(values)
        changed = {**self._changed(), **values}
        if self._check is not None:
            self._check(nest(changed))
        self._accept(changed)

    def plan(self, values: Mapping[str, Any]) -> Plan[dict[str, Any]]:
        """Check values (by dotted name) for all that differs from the server's defaults; no ``check`` by the server."""
        changed = {**self._configured, **values}
        if changed != self._changed():
            self._check_names(changed)
        return Plan(nest(changed), partial(self._accept, changed))

    def _check_names(self, values: Mapping[str, Any]) -> None:
        known = self._known()
        for name, value in values.items():
            if name not in known:
                raise self._unknown(name, known)
            if not _same_kind(value, known[name]):
                kind = type(known[name]).__name__
                raise ParameterError(f"{self._title}[{name!r}] = {value!r}: must be of type {kind}")

    def _accept(self, changed: Mapping[str, Any]) -> None:
        different = {name: value for name, value in changed.items() if self._configured.get(name) != value}
        self._store.set(json.dumps(different))
        self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def reset(self) -> None:
        """Back to the values of the configuration file."""
        self._store.clear()
        self._tell()

    def __getitem__(self, name: str) -> Any:
        values = self.to_dict()
        if name in values:
            return values[name]
        inside = {key[len(name) + 1 :]: value for key, value in values.items() if key.startswith(f"{name}.")}
        if inside:
            return nest(inside)
        raise self._unknown(name, values)

    def _unknown(self, name: str, known: Mapping[str, Any]) -> ParameterError:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        return ParameterError(f"{self._title} has no {name!r}; {hint}Type {self._title} to see all settings")

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except ParameterError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __dir__(self) -> list[str]:
        names = {name.split(".")[0] for name in self._changed()}
        return [*sorted(names), "update", "reset", "to_dict"]

    def keys(self) -> list[str]:
        """Dotted names of all settings."""
        return list(self.to_dict())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __info__(self) -> str:
        changed = self._changed()
        rows = [(name, repr(value), "*" if name in changed else "") for name, value in self.to_dict().items()]
        if not rows:
            return f"{self._title}: none"
        how = f'set one with {self._title}["NAME"] = value; * marks what is not the default of the server'
        return f"{self._title} ({how}):\n{table(rows)}"


# so that the shell completes the names after `[`
Mapping.register(DetectorSettings)


def deep_merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``changes`` in place of its own."""
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[name] = deep_merged(below, value)
        else:
            merged[name] = value
    return merged
