"""Which processes a detector consists of, where they are, and which receiver takes which image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lima2_bliss.client.overview import Overviews
from lima2_bliss.contract import Lima2Error, RoundRobin
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.tables import columns


def dispatch_words(dispatch: RoundRobin) -> str:
    """Which receiver takes which frame, as a sentence."""
    if dispatch.receivers == 1:
        return "single: one receiver takes all frames"
    turn = f"frame i goes to receiver i modulo {dispatch.receivers}"
    if dispatch.block > 1:
        turn = f"blocks of {dispatch.block} exposures (one accumulated image) go to the receivers in turn"
    return f"round robin over {dispatch.receivers} receivers: {turn}"


class Topology:
    """The detector's processes; to look at, it comes from the configuration. Type its name to see it."""

    __slots__ = ("_configuration", "_dispatch", "_overviews")

    def __init__(
        self, configuration: Configuration, overviews: Callable[[], Overviews], dispatch: Callable[[], RoundRobin]
    ) -> None:
        self._configuration = configuration
        self._overviews = overviews
        self._dispatch = dispatch

    @property
    def dispatch(self) -> RoundRobin:
        """Which receiver takes which raw frame, with the present settings."""
        return self._dispatch()

    @property
    def nb_receivers(self) -> int:
        """Number of receivers."""
        return len(self._configuration.receivers)

    @property
    def devices(self) -> dict[str, str]:
        """Tango device names by what they are."""
        given = self._configuration
        receivers = {f"receiver {rank}": device for rank, device in enumerate(given.receivers)}
        return {"control": given.control, **receivers, "access": given.access, "publisher": given.publisher}

    def __dir__(self) -> list[str]:
        return ["devices", "dispatch", "nb_receivers"]

    def __info__(self) -> str:
        overviews = self._overviews()
        rows: list[Sequence[str]] = []
        for what, device in self.devices.items():
            told = overviews.get(device)
            if told is None:
                rows.append((what, device, "", "", ""))
            elif isinstance(told, Lima2Error):
                rows.append((what, device, "not known: does not answer", "", ""))
            else:
                rows.append(
                    (what, device, f"{told.host}, pid {told.pid}", told.access_endpoint, _intake(told.source_endpoints))
                )
        headings = ("process", "Tango device", "host", "frames are read at", "frames arrive at")
        return "\n".join(
            [
                f"{self._configuration.name}.topology: {dispatch_words(self.dispatch)}",
                *columns(headings, rows),
                "  Read only; the devices are set in the configuration file of the detector.",
            ]
        )


def _intake(endpoints: dict[str, object]) -> str:
    return ", ".join(str(address) for address in endpoints.values())
