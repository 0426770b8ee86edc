"""Settings kept under names: all of a detector's settings and regions at one moment, to load and compare later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lima2_bliss.contract import NotAvailableError, ParameterError
from lima2_bliss.controller.settings import TextStore
from lima2_bliss.controller.tables import columns, size_text

#: Values by name, section by section.
Snapshot = Mapping[str, Mapping[str, Any]]

#: Sets of one detector, and the size of one as JSON.
MAX_SETS = 32
MAX_BYTES = 64 << 10

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .+-]{0,63}")
_NOW = "now"


class SettingsOfDetector(Protocol):
    """All settings of a detector; see `lima2_bliss.controller.sections.Sections`."""

    def snapshot(self) -> Snapshot:
        """The present values."""

    def plan(self, snapshot: Snapshot) -> Callable[[], None]:
        """Check all values; calling the result makes them the present ones."""

    def reset(self) -> None:
        """Back to the configuration file."""


@dataclass(frozen=True)
class Differences:
    """Settings that differ between two sets, with both values as text; type its name to see it."""

    first: str
    second: str
    rows: Sequence[tuple[str, str, str]]

    def __len__(self) -> int:
        return len(self.rows)

    def __info__(self) -> str:
        if not self.rows:
            return f"{self.first} and {self.second}: no difference"
        return "\n".join(
            [
                f"{self.first} and {self.second}: {len(self.rows)} different (-: not set there)",
                *columns(("setting", self.first, self.second), self.rows),
            ]
        )


def differences(first: str, one: Snapshot, second: str, other: Snapshot) -> Differences:
    """Every value that is not the same in both, by section and name."""
    flat_one, flat_other = _flat(one), _flat(other)
    names = dict.fromkeys([*flat_one, *flat_other])
    rows = [
        (name, _text(flat_one, name), _text(flat_other, name))
        for name in names
        if (name in flat_one) != (name in flat_other) or flat_one[name] != flat_other[name]
    ]
    return Differences(first, second, rows)


def _flat(snapshot: Snapshot) -> dict[str, Any]:
    return {f"{section}.{name}": value for section, values in snapshot.items() for name, value in values.items()}


def _text(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "-"
    value = values[name]
    if isinstance(value, Mapping) and "numbers" in value:
        numbers = ", ".join(f"{each:g}" for each in value["numbers"])
        image = ", ".join(f"{setting} {given}" for setting, given in value.get("image", {}).items())
        words = [str(value.get("kind", "")), f"({numbers})", str(value.get("direction", "")), image and f"at {image}"]
        return " ".join(filter(None, words))
    return repr(value)


class SettingsSets:
    """Settings kept under names, for this detector in all sessions: `save`, `load`, `compare`, `remove`; `reset`.

    A set holds all sections and all regions. Type its name to see the sets.
    """

    def __init__(
        self,
        title: str,
        settings: SettingsOfDetector,
        store: TextStore,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._title = title
        self._settings = settings
        self._store = store
        self._clock = clock

    def save(self, name: str, replace: bool = False) -> None:
        """Keep the present settings under ``name``; with ``replace`` also when there is such a set already."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == _NOW:
            raise ParameterError(
                f"{self._title}: {name!r} is no name for a set; use up to 64 letters, digits, spaces and _ . + -,"
                f" and not {_NOW!r}"
            )
        sets = self._read()
        if name in sets and not replace:
            raise ParameterError(
                f"{self._title} has {name!r} already, of {sets[name]['saved']}; save({name!r}, replace=True)"
            )
        if name not in sets and len(sets) >= MAX_SETS:
            raise ParameterError(
                f"{self._title} has {MAX_SETS} sets, no more are kept; remove() one of {_listed(sets)}"
            )
        entry = {"saved": self._clock().isoformat(" ", "seconds"), "settings": self._settings.snapshot()}
        nbytes = len(json.dumps(entry))
        if nbytes > MAX_BYTES:
            raise ParameterError(
                f"{self._title}: these settings take {size_text(nbytes)}, at most {size_text(MAX_BYTES)} are kept in"
                " a set; remove regions"
            )
        self._store.set(json.dumps({**sets, name: entry}))

    def load(self, name: str) -> Differences:
        """Make the settings of a set the present ones; returns what has changed.

        All are checked first; when one is refused, nothing has changed.
        """
        before = self._settings.snapshot()
        put = self._settings.plan(self[name])
        put()
        return differences("before", before, name, self._settings.snapshot())

    def list(self) -> Sequence[str]:
        """Names of the sets."""
        return [*self._read()]

    def compare(self, first: str, second: str = _NOW) -> Differences:
        """What differs between two sets; without the second, between a set and the present settings."""
        return differences(first, self._of(first), second, self._of(second))

    def remove(self, name: str) -> None:
        """Forget a set; the present settings stay."""
        sets = self._read()
        if name not in sets:
            raise self._unknown(name, sets)
        del sets[name]
        self._store.set(json.dumps(sets)) if sets else self._store.clear()

    def reset(self) -> None:
        """All settings back to those of the configuration file; regions and sets stay."""
        self._settings.reset()

    def keys(self) -> Sequence[str]:
        """Names of the sets."""
        return self.list()

    def __getitem__(self, name: str) -> Snapshot:
        sets = self._read()
        if name not in sets:
            raise self._unknown(name, sets)
        settings: Snapshot = sets[name]["settings"]
        return settings

    def __iter__(self) -> Iterator[str]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def _of(self, name: str) -> Snapshot:
        return self._settings.snapshot() if name == _NOW else self[name]

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            sets = json.loads(self._store.get() or "{}")
            return {str(name): {"saved": str(one["saved"]), "settings": one["settings"]} for name, one in sets.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ParameterError(
                f"{self._title}: the stored sets are unreadable; remove the key from beacon's Redis to start anew"
            ) from None

    def _unknown(self, name: str, sets: Mapping[str, Any]) -> NotAvailableError:
        return NotAvailableError(f"{self._title} has no {name!r}; there are: {_listed(sets)}")

    def __dir__(self) -> Sequence[str]:
        return ["compare", "keys", "list", "load", "remove", "reset", "save"]

    def __info__(self) -> str:
        sets = self._read()
        how = f'save the present settings with {self._title}.save("NAME")'
        if not sets:
            return f"{self._title}: no sets; {how}"
        present = self._settings.snapshot()
        rows = []
        for name, one in sets.items():
            different = len(differences(name, one["settings"], _NOW, present))
            rows.append((name, one["saved"], f"{different} different" if different else "the present settings"))
        return "\n".join([f"{self._title}: {how}", *columns(("set", "saved", "against the settings now"), rows)])


def _listed(sets: Mapping[str, Any]) -> str:
    return ", ".join(sets) or "none"


# so that the shell completes the names after `[`
Mapping.register(SettingsSets)
