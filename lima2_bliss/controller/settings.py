"""Sections of settings: attributes that are checked when they are set, kept over sessions, and can be reset."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Parameters
from lima2_bliss.contract.parameters.strict import fault_lines

_log = logging.getLogger(__name__)


class TextStore(Protocol):
    """Where a section keeps its values, as one text."""

    def get(self) -> str | None:
        """The text, None when there is none."""

    def set(self, text: str) -> None:
        """Keep this text."""

    def clear(self) -> None:
        """Forget the text."""


def _stored_values(store: TextStore, title: str) -> dict[str, Any]:
    text = store.get()
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if isinstance(values, dict):
        return values
    _log.warning("%s: the stored settings are unreadable; the defaults are used", title)
    return {}


def table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Name, value, meaning as aligned lines."""
    lines = list(rows)
    name_width = max((len(name) for name, _, _ in lines), default=0)
    value_width = min(max((len(value) for _, value, _ in lines), default=0), 40)
    return "\n".join(
        f"  {name:<{name_width}}  {value:<{value_width}}  {meaning}".rstrip() for name, value, meaning in lines
    )


Values = TypeVar("Values", covariant=True)


@dataclass(frozen=True)
class Plan(Generic[Values]):
    """Values that a section has found good; ``put()`` makes them the present ones."""

    values: Values
    put: Callable[[], None]


class SettingsSection:
    """Settings of one kind: read and set its attributes, see them all by typing its name.

    A wrong name or value is refused at once with one `ParameterError`; a good one is kept over sessions.
    ``on_change`` is called after each change.
    """

    def __init__(
        self,
        title: str,
        model: type[Parameters],
        defaults: Mapping[str, Any],
        store: TextStore,
        check: Callable[[Parameters], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        object.__setattr__(self, "_title", title)
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_check", check)
        object.__setattr__(self, "_on_change", on_change)
        try:
            object.__setattr__(self, "_defaults", model.model_validate(dict(defaults)))
        except ValidationError as error:
            raise self._refused(error, "in the configuration file") from None
        object.__setattr__(self, "_values", self._load())

    def _load(self) -> Parameters:
        values = self._defaults.model_dump()
        for name, value in _stored_values(self._store, self._title).items():
            try:
                values = self._model.model_validate({**values, name: value}).model_dump()
            except ValidationError:
                _log.warning("%s.%s: the stored value %r is no longer valid; default used", self._title, name, value)
        return self._model.model_validate(values)

    def _refused(self, error: ValidationError, where: str = "") -> ParameterError:
        faults = "; ".join(fault_lines(error))
        place = f" {where}" if where else ""
        return ParameterError(f"{self._title}{place}: {faults} (settings: {', '.join(self._model.model_fields)})")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._model.model_fields:
            raise AttributeError(f"{self._title} has no {name!r}; settings: {', '.join(self._model.model_fields)}")
        return getattr(self._values, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __dir__(self) -> list[str]:
        return [*self._model.model_fields, "update", "reset", "to_dict"]

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several values; all of them, or none when one is refused."""
        try:
            changed = self._model.model_validate({**self._values.model_dump(), **values})
        except ValidationError as error:
            raise self._refused(error) from None
        if self._check is not None:
            self._check(changed)
        self._accept(changed)

    def _accept(self, values: Parameters) -> None:
        object.__setattr__(self, "_values", values)
        defaults = self._defaults.model_dump(mode="json")
        different = {k: v for k, v in values.model_dump(mode="json").items() if v != defaults[k]}
        self._store.set(json.dumps(different)) if different else self._store.clear()
        if self._on_change is not None:
            self._on_change()

    def plan(self, values: Mapping[str, Any]) -> Plan[Any]:
        """Check values for the whole section; those left out are of the configuration file."""
        try:
            checked = self._model.model_validate({**self._defaults.model_dump(), **values})
        except ValidationError as error:
            raise self._refused(error) from None
        return Plan(checked, partial(self._accept, checked))

    def reset(self) -> None:
        """Back to the values of the configuration file."""
        self._accept(self._defaults)

    def to_dict(self) -> dict[str, Any]:
        """The present values as plain types."""
        return self._values.model_dump(mode="json")

    def __info__(self) -> str:
        rows = [
            (name, repr(getattr(self._values, name)), field.description or "")
            for name, field in self._model.model_fields.items()
        ]
        return f"{self._title}:\n{table(rows)}"
