"""The libraries that BLISS's diffractometers are made of: names only, an error when one is called."""

from __future__ import annotations

from typing import Any, NoReturn


class Missing:
    """Any name in a library that is not there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(f"{self._name} is not installed in this environment")


Hkl, GLib = Missing("Hkl"), Missing("GLib")
