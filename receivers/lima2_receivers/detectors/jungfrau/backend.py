"""What the control of a Jungfrau needs of a detector, real or simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from lima2_receivers.detectors.jungfrau.params import JungfrauParameters

#: Where the ports of the detector send the frames of one entry of its table of destinations: (host, UDP port) each.
Destination = Sequence[tuple[str, int]]


class Backend(Protocol):
    """A detector. Calls come one at a time, but for `poll`, which another thread calls while an acquisition is alive.

    ``frames_exposed`` and ``finished`` answer at once, from what is known since the last `poll`.
    """

    name: str

    def configure(self, parameters: JungfrauParameters, destinations: Sequence[Destination]) -> int:
        """Get ready; the number of the first frame. Frame n goes to entry n modulo their number."""

    def start(self) -> None:
        """Expose, or wait for triggers; returns at once."""

    def trigger(self) -> None:
        """Software trigger; `StateError` when frames of the one before are still being exposed."""

    def stop(self) -> int:
        """Expose no more; how many frames of the acquisition were exposed. Harmless when nothing runs."""

    def poll(self) -> None:
        """Ask the detector how it is; `AcquisitionError` when the acquisition failed."""

    @property
    def frames_exposed(self) -> int:
        """Frames of the acquisition that were exposed so far."""

    @property
    def finished(self) -> bool:
        """Whether all frames were exposed, or the detector was stopped."""

    def info(self) -> dict[str, str]:
        """`model` and `sn`."""

    def status(self) -> dict[str, Any]:
        """Values such as `temperature` [degC]."""

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """Commands of its own by name: JSON value in (or None), JSON value out."""

    def close(self) -> None:
        """Stop, and let go of it; harmless twice."""
