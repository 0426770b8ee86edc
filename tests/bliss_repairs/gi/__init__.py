"""Stands where BLISS 2.2 and later look for PyGObject and the library Hkl, which the file writer makes them import."""

from __future__ import annotations


def require_version(namespace: str, version: str) -> None:
    """Any will do: none can be used."""
