"""Errors of several devices as one: every fault named once, with the devices that reported it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lima2_bliss.client.concurrency import Outcome
from lima2_bliss.contract import ConnectionLostError, Lima2Error, NotReadyError


def one_error(errors: Sequence[Lima2Error]) -> Lima2Error:
    """The only error, or one of the first one's kind that says what all of them say."""
    if len(errors) == 1:
        return errors[0]
    texts = list(dict.fromkeys(error.what for error in errors))
    return type(errors[0])("\n".join(texts), **errors[0].errinfo)


def as_contract_error(device: str, error: Exception) -> Lima2Error:
    """An error of the contract, whatever was raised."""
    return error if isinstance(error, Lima2Error) else Lima2Error(f"{device}: {type(error).__name__}: {error}")


def failures(outcomes: Mapping[str, Outcome[Any]]) -> dict[str, Lima2Error]:
    """The errors among the outcomes, by device."""
    return {name: as_contract_error(name, each.error) for name, each in outcomes.items() if each.error is not None}


def raise_unreachable(errors: Mapping[str, Lima2Error], of: int) -> None:
    """Raise one `ConnectionLostError` that lists every device that does not answer, and why."""
    if not errors:
        return
    lines = [f"  {name}: {without_name(name, error.what)}" for name, error in errors.items()]
    raise ConnectionLostError(
        f"{len(errors)} of {of} devices do not answer:\n" + "\n".join(lines), devices=", ".join(errors)
    )


def _leading(errors: Mapping[str, Lima2Error]) -> Lima2Error:
    """The error that decides the kind: "ask again" only when no device has anything else against it."""
    return next((each for each in errors.values() if not isinstance(each, NotReadyError)), next(iter(errors.values())))


def raise_failures(outcomes: Mapping[str, Outcome[Any]], doing: str) -> None:
    """Raise one error that names every device whose outcome is an error, if there is any."""
    errors = failures(outcomes)
    if not errors:
        return
    first = _leading(errors)
    by_text: dict[str, list[str]] = {}
    for name, error in errors.items():
        by_text.setdefault(without_name(name, error.what), []).append(name)
    texts = [f"{', '.join(names)}: {text}" for text, names in by_text.items()]
    raise type(first)(f"{doing} failed on " + "\n".join(texts), **(first.errinfo | {"device": ", ".join(errors)}))


def raise_refusals(outcomes: Mapping[str, Outcome[Any]]) -> None:
    """Raise one error with every distinct refusal of parameters; who refused does not matter, all check the same."""
    errors = failures(outcomes)
    lost = {name: error for name, error in errors.items() if isinstance(error, ConnectionLostError)}
    raise_unreachable(lost, len(outcomes))
    if errors:
        first = _leading(errors)
        lines = dict.fromkeys(
            line for name, error in errors.items() for line in without_name(name, error.what).splitlines()
        )
        raise type(first)("\n".join(lines))


def naming_receiver(name: str, text: str) -> str:
    """``text`` as a sentence that names the receiver once, however often the devices have put its name in front."""
    front = _name_in_front(name, text)
    goes_on = front.endswith(f"{name} ")  # "NAME was restarted", not "NAME: disk full"
    return f"receiver {name}{' ' if goes_on else ': '}{text.removeprefix(front)}"


def without_name(name: str, text: str) -> str:
    """``text`` without the device's name in front of it."""
    return text.removeprefix(_name_in_front(name, text))


def _name_in_front(name: str, text: str) -> str:
    """What names the device at the beginning of ``text``: "NAME: ", "NAME ", "receiver NAME: NAME: ", or nothing."""
    found = re.match(rf"(?:(?:receiver |control )?{re.escape(name)}(?:: | ))*", text)
    return found.group() if found else ""
