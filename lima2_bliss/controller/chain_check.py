"""What is wrong with the place of a detector in a scan's chain of acquisition objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lima2_bliss.contract import ParameterError


def check_taken_once(master: Any, kind: type) -> None:
    """`ParameterError` when another master of this ``kind`` in the scan has the same control device as ``master``."""
    top = master
    while top.parent is not None:
        top = top.parent
    device = master.device
    for other in _masters_below(top, kind):
        if other is not master and other.device.control_name == device.control_name:
            raise ParameterError(
                f"{device.name} and {other.device.name} use the same detector ({device.control_name}); take only one"
                " of them into a scan"
            )


def _masters_below(master: Any, kind: type) -> Iterator[Any]:
    if isinstance(master, kind):
        yield master
    for slave in getattr(master, "slaves", ()):
        yield from _masters_below(slave, kind)
