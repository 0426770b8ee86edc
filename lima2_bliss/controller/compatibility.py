"""All that depends on the version of BLISS: repairs, base classes and the few private places we rely on.

Checked against BLISS 2.1.2, blissdata 1.1.4 and blisswriter 1.0.0.
"""

from __future__ import annotations

from typing import Any

import gevent
from bliss.common.counter import Counter
from bliss.config.settings import SimpleSetting
from bliss.controllers.lima.image import ImageCounter


def install_blisswriter_names() -> None:
    """Give blisswriter 1.0 the counter classes where it looks for them (BLISS 2.1 moved them to another module)."""
    from bliss.controllers.lima import counters, roi

    for name in ("RoiStatCounter", "RoiProfileCounter", "RoiCollectionCounter"):
        if not hasattr(roi, name):
            setattr(roi, name, getattr(counters, name))


class NexusDetectorCounter(ImageCounter):
    """A counter whose data blisswriter puts into the one NXdetector group of its detector.

    blisswriter recognises this by the class `ImageCounter`; nothing else of that class is used.
    """

    def __init__(self, name: str, controller: Any, unit: str | None, dtype: Any) -> None:
        Counter.__init__(self, name, controller, unit=unit, dtype=dtype)

    @property
    def dtype(self) -> Any:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def __info__(self) -> str:
        return str(Counter.__info__(self))


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


def scan_greenlet() -> gevent.Greenlet | None:
    """The greenlet that runs the scan, seen from an acquisition object's ``start``; None when it cannot be told.

    The chain runs each ``start`` in a greenlet of its own, spawned by the greenlet that iterates the scan.
    """
    spawner = getattr(gevent.getcurrent(), "spawning_greenlet", None)
    greenlet = spawner() if spawner is not None else None
    if isinstance(greenlet, gevent.Greenlet) and greenlet.name == "chain-iterator-run":
        return greenlet
    return None


def scan_of_apply_parameters() -> Any:
    """The scan that is starting, seen from an acquisition object's ``apply_parameters``; None when it cannot be told.

    The chain iterator runs each ``apply_parameters`` in a greenlet of its own, and knows the chain, which knows the
    scan.
    """
    spawner = getattr(gevent.getcurrent(), "spawning_greenlet", None)
    greenlet = spawner() if spawner is not None else None
    iterator = getattr(getattr(greenlet, "_run", None), "__self__", None)
    return getattr(getattr(iterator, "acquisition_chain", None), "scan", None)


def append_to_stream(stream: Any, entry: dict[str, Any]) -> None:
    """Write one more entry into a stream that another process has written so far, and no longer does."""
    stream._write_index = len(stream)
    stream.send(entry)
    stream.join()
