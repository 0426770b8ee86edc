"""What objects of a BLISS session say of themselves, for metadata: positions, values, states, with units."""

from __future__ import annotations

import enum
import operator
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from bliss import current_session, global_map
from bliss.common.counter import Counter, SamplingCounter
from bliss.common.protocols import HasMetadataForScan
from bliss.config.static import get_config

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.user_fields import Value

_ADVICE = "refer to something with a position or a value, as in $robx or $mono.energy"


class BlissObjects:
    """The objects of the beacon configuration and of the session."""

    def names(self) -> Collection[str]:
        """All that can be referred to."""
        return {*get_config().names_list, *_session_objects()}

    def read(self, name: str, attribute: str) -> Value:
        """The present value of an object, or of its ``attribute`` ('' is none); `ParameterError` if it has none."""
        try:
            given = _object(name)
            if attribute:
                given = operator.attrgetter(attribute)(given)
            return value_of(given)
        except ParameterError:
            raise
        except Exception as error:
            words = str(error).partition("\n")[0] or type(error).__name__
            raise ParameterError(f"it cannot be read: {words}") from error

    def name_of(self, given: Any) -> str | None:
        """The name under which an object can be referred to, None when it has none here."""
        name = getattr(given, "name", None)
        return name if isinstance(name, str) and name in self.names() else None


def _session_objects() -> Mapping[str, Any]:
    session = current_session
    return getattr(session, "env_dict", None) or {} if session else {}


def _object(name: str) -> Any:
    known = _session_objects()
    if name in known:
        return known[name]
    given = get_config().get(name)
    alias = global_map.aliases.get_alias(given)
    return global_map.aliases.get(alias) if alias else given


def value_of(given: Any) -> Value:
    """A plain value of whatever a reference led to; `ParameterError` when there is none in it."""
    if plain := _plain(given):
        return plain
    if isinstance(given, SamplingCounter):
        (number,) = given._counter_controller.read_all(given)
        return _of(given.conversion_function(number), given.unit)
    if not isinstance(given, Counter):
        for name in ("position", "value"):
            if hasattr(type(given), name) or name in getattr(given, "__dict__", {}):
                return _of(getattr(given, name), getattr(given, "unit", None))
    if isinstance(given, HasMetadataForScan):
        return _of(given.scan_metadata() or {}, None)
    if callable(given) and not isinstance(given, type):
        return _of(given(), None)
    raise ParameterError(f"a {type(given).__name__} has no position and no value; {_ADVICE}")


def _of(found: Any, unit: Any) -> Value:
    plain = _plain(found)
    if plain is None:
        raise ParameterError(f"its value is a {type(found).__name__}; {_ADVICE}")
    return Value(plain.value, str(unit or ""))


def _plain(given: Any) -> Value | None:
    """Numbers, texts, lists and trees of these, as they can stand in a scan file; else None."""
    if isinstance(given, enum.Enum):
        return Value(given.name)
    if isinstance(given, (str, bool, int, float)):
        return Value(given)
    if isinstance(given, np.generic):
        return Value(given.item())
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf":
        return Value(given.tolist())
    if isinstance(given, Mapping):
        inside = {str(key): _plain(item) for key, item in given.items()}
        return Value({key: item.value for key, item in inside.items() if item is not None})
    if isinstance(given, (list, tuple)) and given:
        items = [_plain(item) for item in given]
        return None if None in items else Value([item.value for item in items if item is not None])
    return None
