"""Fields that users add to the detector's metadata, in YAML or in the session: checked, with references to objects.

A field is a text, a number, a list of these, ``{value: ..., units: ...}``, a reference such as ``$mono_energy`` or
``$diode.unit``, or a group of fields. References are read for each scan.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lima2_bliss.client.nxdetector import RESERVED
from lima2_bliss.contract import ParameterError

#: Depth of groups, and size of all fields of a detector as JSON.
MAX_DEPTH = 5
MAX_BYTES = 64 << 10

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,63}")
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*)*)")
#: Fields that say more than their name: quantities with the units they may have, and what one of it is in the first.
QUANTITIES: Mapping[str, Mapping[str, float]] = {
    "energy": {"keV": 1.0, "eV": 1e-3, "MeV": 1e3},
    "wavelength": {"m": 1.0, "nm": 1e-9, "angstrom": 1e-10, "A": 1e-10},
    "distance": {"m": 1.0, "mm": 1e-3, "cm": 1e-2},
}
_HEADS = ("@NX_class", "@units")


@dataclass(frozen=True)
class Value:
    """What an object of the session gives: a plain value or a tree, and its units if it has some."""

    value: Any
    units: str = ""


class Objects(Protocol):
    """The objects of the session, by name."""

    def names(self) -> Collection[str]:
        """All that can be referred to."""

    def read(self, name: str, attribute: str) -> Value:
        """The present value of an object, or of its ``attribute`` ('' is none); `ParameterError` if it has none."""


def is_reference(value: Any) -> bool:
    """Whether a text stands for an object."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("${")


def check_fields(title: str, fields: Mapping[str, Any], objects: Objects | None = None) -> None:
    """One `ParameterError` that names every fault; references are looked up in ``objects``, if given."""
    faults = list(_faults(fields, "", objects, 0))
    try:
        size = len(json.dumps(fields))
    except (TypeError, ValueError):
        size = 0  # the value that JSON cannot hold has been named
    if size > MAX_BYTES:
        faults.append(f"all fields together have {size} bytes; {MAX_BYTES} are possible")
    if "energy" in fields and "wavelength" in fields:
        faults.append("energy and wavelength say the same; give one of them")
    if faults:
        raise ParameterError(f"{title}: " + "; ".join(faults))


def _faults(fields: Mapping[str, Any], prefix: str, objects: Objects | None, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{prefix}: groups may be {MAX_DEPTH} deep"
        return
    for key, value in fields.items():
        name, at, attribute = str(key).partition("@")
        place = f"{prefix}{key}"
        if at:
            if not isinstance(value, str) or f"@{attribute}" not in _HEADS or (name and attribute != "units"):
                yield f"{place} = {value!r}: allowed are NAME@units and @NX_class, with a text"
            elif name and name not in fields:
                yield f"{place}: there is no field {prefix}{name}"
            elif not name and not prefix:
                yield f"{place}: the detector is an NXdetector; give groups in it a class"
        elif not isinstance(key, str) or not _NAME.fullmatch(key):
            yield f"{place!r} is no name (letters, digits, '_', '-', blanks; at most 64)"
        elif not prefix and key in RESERVED:
            yield f"{place} is written by the detector itself; choose another name"
        elif isinstance(value, Mapping) and not _is_leaf(value):
            yield from _faults(value, f"{place}.", objects, depth + 1)
        else:
            yield from _leaf_faults(place, key if not prefix else "", fields, value, objects)


def _is_leaf(value: Mapping[str, Any]) -> bool:
    """``{value: ..., units: ...}`` is one field."""
    return "value" in value and set(value) <= {"value", "units"}


def _leaf_faults(
    place: str, quantity: str, fields: Mapping[str, Any], value: Any, objects: Objects | None
) -> Iterator[str]:
    units = fields.get(f"{quantity}@units")
    if isinstance(value, Mapping):
        units = value.get("units", units)
        if units is not None and not isinstance(units, str):
            yield f"{place}: units = {units!r} is no text"
        value = value["value"]
    if is_reference(value):
        yield from _reference_faults(place, value, objects)
    elif not _is_plain(value):
        yield f"{place} = {value!r}: give a text, a number, a list of these, a group, or $NAME of an object"
    elif quantity in QUANTITIES and not (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        yield f"{place} = {value!r} is no number > 0, and no reference"
    if quantity in QUANTITIES and units is not None and units not in QUANTITIES[quantity]:
        yield f"{place}: units {units!r} are not known; allowed: {', '.join(QUANTITIES[quantity])}"
    if quantity == "poni" and (not isinstance(value, str) or not value):
        yield f"{place} = {value!r} is no path of a PONI file"


def _reference_faults(place: str, text: str, objects: Objects | None) -> Iterator[str]:
    found = _REFERENCE.fullmatch(text)
    if not found:
        yield f"{place} = {text!r} is no reference; write $NAME or $NAME.ATTRIBUTE"
    elif objects is not None and found[1] not in (names := objects.names()):
        close = difflib.get_close_matches(found[1], list(names), 3)
        yield f"{place} = {text!r}: there is no object {found[1]}" + (f"; like it: {', '.join(close)}" if close else "")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        kinds = {"text" if isinstance(item, str) else "number" for item in value}
        return bool(value) and len(kinds) == 1 and all(_is_plain(item) and not isinstance(item, list) for item in value)
    return isinstance(value, (str, bool, int, float)) and value == value


def read_fields(fields: Mapping[str, Any], objects: Objects) -> tuple[dict[str, Any], list[str]]:
    """(the fields as they are now, with references read; one sentence for each that could not be read)."""
    told: dict[str, Any] = {}
    faults: list[str] = []
    _read_into(told, fields, "", objects, faults)
    return told, faults


def _read_into(
    told: dict[str, Any], fields: Mapping[str, Any], prefix: str, objects: Objects, faults: list[str]
) -> None:
    for key, given in fields.items():
        if isinstance(given, Mapping) and not _is_leaf(given):
            told[key] = {"@NX_class": "NXcollection"}
            _read_into(told[key], given, f"{prefix}{key}.", objects, faults)
            continue
        value, units = (given["value"], given.get("units")) if isinstance(given, Mapping) else (given, None)
        if is_reference(value):
            try:
                found = _read(value, objects)
            except ParameterError as error:
                faults.append(f"{prefix}{key} = {value!r}: {error.what}")
                continue
            value, units = found.value, units or fields.get(f"{key}@units") or found.units
        told[key] = value
        if units:
            told[f"{key}@units"] = units


def _read(text: str, objects: Objects) -> Value:
    found = _REFERENCE.fullmatch(text)
    assert found  # was checked
    return objects.read(found[1], found[2][1:])


def quantity(name: str, fields: Mapping[str, Any]) -> float | None:
    """The quantity ``name`` in the first of its units, from fields that were read; `ParameterError` if it is none."""
    value, units = fields.get(name), str(fields.get(f"{name}@units", ""))
    if value is None:
        return None
    known = QUANTITIES[name]
    if (units or next(iter(known))) not in known:
        raise ParameterError(f"{name} has units {units!r}; allowed: {', '.join(known)}; give it `units`")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ParameterError(f"{name} = {value!r} is no number > 0")
    return float(value) * known[units or next(iter(known))]


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """``first`` with the fields of ``second`` in place of its own, group by group."""
    told = dict(first)
    for key, value in second.items():
        old = told.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not (_is_leaf(old) or _is_leaf(value)):
            told[key] = merged(old, value)
        else:
            told.pop(f"{key}@units", None)  # were those of the old value
            told[key] = value
    return told
