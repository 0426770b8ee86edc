"""The parameter model that refuses what it does not know, and its errors as one readable text."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lima2_bliss.contract.errors import ParameterError


class Parameters(BaseModel):
    """Base of all parameter models: unknown keys are refused, assignment is validated."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Parameters)


def fault_lines(error: ValidationError) -> list[str]:
    """One line per fault: where, what was given, what is allowed."""
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "parameters"
        given = fault.get("input")
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown parameter")
            continue
        message = fault["msg"].removeprefix("Value error, ")
        if isinstance(given, dict | Parameters):  # several parameters together; the message names them
            lines.append(f"{where}: {message}" if fault["loc"] else message)
            continue
        text = repr(given)
        lines.append(f"{where} = {text if len(text) <= 60 else text[:57] + '...'}: {message}")
    return lines


def parse(model: type[Model], content: str | bytes | dict[str, Any], what: str) -> Model:
    """A ``model`` from JSON text or a dict; one `ParameterError` that names every fault."""
    if isinstance(content, (str, bytes)):
        try:
            content = json.loads(content)
        except ValueError as error:
            raise ParameterError(f"{what} are not valid JSON: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = fault_lines(error)
    known = ", ".join(model.model_fields)
    raise ParameterError(f"{what} refused: " + "; ".join(faults) + f" (top-level parameters: {known})")
