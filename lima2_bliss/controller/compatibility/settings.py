"""What BLISS keeps from one session to the next."""

from __future__ import annotations

from bliss.config.settings import SimpleSetting


class TextSetting:
    """A text that BLISS keeps in its settings database (beacon's Redis)."""

    def __init__(self, name: str) -> None:
        self._setting = SimpleSetting(name, read_type_conversion=bytes.decode, write_type_conversion=str)

    def get(self) -> str | None:
        """The text, None when it was never set."""
        text: str | None = self._setting.get()
        return text

    def set(self, text: str) -> None:
        self._setting.set(text)

    def clear(self) -> None:
        self._setting.clear()
