"""Which settings to try: parameter names, their values, and every combination of them, all checked."""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import SmxParameters
from lima2_bliss.contract.parameters.strict import fault_lines
from lima2_receivers.pipelines.smx.check import peak_faults

#: Sections of the parameters that have to do with finding spots.
SECTIONS = ("fai", "peaks", "compute")

#: Parameters of these sections that change nothing of what is found.
WITHOUT_EFFECT = frozenset({"fai.acc_nb_frames_reset", "fai.acc_nb_frames_xfer", "fai.cl_source_path"})

#: More combinations than this are refused: more rows than anybody reads, and minutes become hours.
MAX_SETTINGS = 200


@dataclass(frozen=True)
class Setting:
    """One combination: the varied values by full name, and all parameters with them."""

    values: dict[str, Any]
    processing: SmxParameters


def parameter_names() -> dict[str, Any]:
    """Full names (``peaks.cutoff_peak``) of the parameters that can be varied, with the type of each."""
    return {
        f"{section}.{name}": field.annotation
        for section in SECTIONS
        for name, field in SmxParameters.model_fields[section].annotation.model_fields.items()  # type: ignore[union-attr]
        if f"{section}.{name}" not in WITHOUT_EFFECT
    }


def full_name(name: str) -> str:
    """The full name of a parameter given in full or by its last part; `ParameterError` when there is none."""
    known = parameter_names()
    if name in known:
        return name
    found = [full for full in known if full.partition(".")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ParameterError(f"{name} is ambiguous; say {' or '.join(found)}")
    short = [full.partition(".")[2] for full in known]
    near = difflib.get_close_matches(name.rpartition(".")[2], short, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ParameterError(f"{name} is no parameter that can be tuned; {hint}allowed: {', '.join(short)}")


def parse_assignments(texts: Iterable[str]) -> dict[str, list[Any]]:
    """A grid from texts like ``cutoff_peak=3,4,5``; a name that comes twice gets the values of both."""
    known, grid = parameter_names(), dict[str, list[Any]]()
    for text in texts:
        name, separator, values = text.partition("=")
        if not separator:
            raise ParameterError(f"{text!r} is no setting; write NAME=VALUE,VALUE,... e.g. cutoff_peak=3,4,5")
        full = full_name(name.strip())
        given = [value.strip() for value in values.split(",")]
        grid.setdefault(full, []).extend(given if known[full] is str else map(_plain, given))
    return grid


def make_settings(processing: SmxParameters, grid: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """All combinations of the values in ``grid``, the last name running fastest; `ParameterError` names all faults."""
    names = [full_name(name) for name in grid]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ParameterError(f"{', '.join(sorted(twice))} is given twice, in full and by its last part; give it once")
    axes = [_values(name, values) for name, values in zip(names, grid.values(), strict=True)]
    count = math.prod(map(len, axes))
    if count > MAX_SETTINGS:
        sizes = " x ".join(f"{len(axis)} {name}" for name, axis in zip(names, axes, strict=True))
        raise ParameterError(f"{count} settings ({sizes}) are too many; at most {MAX_SETTINGS}: leave out some values")
    settings: dict[str, Setting] = {}
    faults: dict[str, None] = {}
    for combination in itertools.product(*axes):
        try:
            changed = _with(processing, dict(zip(names, combination, strict=True)))
        except ValidationError as error:
            faults |= dict.fromkeys(fault_lines(error))
            continue
        faults |= dict.fromkeys(peak_faults(changed.peaks))
        values = {name: value_of(changed, name) for name in names}
        settings.setdefault(json.dumps(values), Setting(values, changed))
    if faults:
        raise ParameterError(f"settings refused ({len(faults)}): " + "; ".join(faults))
    return list(settings.values())


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        values = [values]
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not plain:
        raise ParameterError(f"{name}: no value given; give at least one")
    return plain


def _with(processing: SmxParameters, values: Mapping[str, Any]) -> SmxParameters:
    content = processing.model_dump()
    for full, value in values.items():
        section, _, name = full.partition(".")
        content[section][name] = value
    return SmxParameters.model_validate(content)


def value_of(processing: SmxParameters, full: str) -> Any:
    """Value of a parameter by its full name."""
    section, _, name = full.partition(".")
    return getattr(getattr(processing, section), name)


def _plain(text: str) -> Any:
    """Numbers and booleans as such, anything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
