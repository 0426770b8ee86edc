"""The map of the scan file for blisswriter 3, which blisswriter 2.0.0 does not make."""

from __future__ import annotations

from typing import Any, NoReturn


def scan_info_to_h5map(*_: Any, **__: Any) -> NoReturn:
    """Always an error; BLISS goes on without the map, except with ``SCAN_SAVING.writer = "mapping"``."""
    raise NotImplementedError("blisswriter 2.0.0 makes no map of the scan file; choose another SCAN_SAVING.writer")
