"""What a detector shows in Flint at its user's wish."""

from __future__ import annotations


class Displays:
    """Displays of a detector object."""
