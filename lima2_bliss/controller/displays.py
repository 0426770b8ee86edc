"""What a detector shows in Flint at its user's wish: plots of scans, and a live view."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import numpy as np
from bliss.common.utils import autocomplete_property
from bliss.scanning.scan_state import ScanState

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.flint_plots import LiveImagePlot, Plot, bring_forward, flint_now
from lima2_bliss.controller.live import LiveView
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.sections import Sections
from lima2_bliss.publishing.smx_streams import ACC_PEAKS, BACKGROUND_AVG, HIT_RATE, NB_PEAKS

_log = logging.getLogger(__name__)

#: A plot that waits for a scan is looked for this often, and so long after the scan [s].
_LOOK_S, _AFTER_S = 0.3, 5.0

#: What each view needs of the settings.
_NEEDS = {
    "image": "",
    "rois": "roi_counters",
    "profiles": "roi_profiles",
    "hits": "processing.pipeline = 'smx'",
    "background": "processing.pipeline = 'smx'",
    "peaks": "processing.pipeline = 'smx' and smx.accumulated_every",
}


def available_plots(name: str, state: DetectorState) -> dict[str, Plot]:
    """The plots of detector ``name`` that scans with these settings fill, by the name of the view."""

    def made() -> Iterator[tuple[str, Plot]]:
        yield "image", Plot("image", [name])
        if state.rois:
            yield "rois", Plot("curve", [f"{name}:{roi}_sum" for roi in state.rois])
        if state.profiles:
            yield "profiles", Plot("onedim", [f"{name}:{profile}" for profile in state.profiles])
        if state.processing.pipeline == "smx":
            yield "hits", Plot("curve", [f"{name}:{HIT_RATE}", f"{name}:{NB_PEAKS}"], apart=True)
            yield "background", Plot("onedim", [f"{name}:{BACKGROUND_AVG}"])
            if state.smx.accumulated_every:
                yield "peaks", Plot("image", [f"{name}:{ACC_PEAKS}"])

    return dict(made())


def chosen_plot(name: str, view: str, plots: dict[str, Plot]) -> Plot:
    """The plot of that view; `ParameterError` that lists what there is."""
    if view in plots:
        return plots[view]
    there = ", ".join(repr(each) for each in plots)
    if view in _NEEDS:
        raise ParameterError(f"{name}.view({view!r}) needs {name}.{_NEEDS[view]}; with the present settings: {there}")
    raise ParameterError(f"{name}.view({view!r}) is unknown; with the present settings there are {there}")


class Displays:
    """`view`, `views`, `live` and `last_image` of a detector object."""

    name: str

    def _make_displays(self, given: Configuration, connection: Connection, sections: Sections) -> None:
        self._settings_shown = sections.now
        self._pending_plot: Plot | None = None
        self._live = LiveView(
            f"{given.name}.live",
            given,
            connection,
            sections.now,
            LiveImagePlot(given.name, given.access),
            lambda uuid: self.name_acquisition(uuid, "live view"),  # type: ignore[attr-defined]
        )

    @autocomplete_property
    def live(self) -> LiveView:
        """A camera-like view: images one after another, unsaved, without a scan."""
        return self._live

    @property
    def views(self) -> list[str]:
        """Names for `view` with the present settings."""
        return list(available_plots(self.name, self._settings_shown()))

    def view(self, what: str = "image") -> None:
        """Show a plot of the detector in Flint, which is opened if need be: see `views` for what there is.

        "image"; "rois": sums of the ROIs; "profiles"; of pipeline smx "hits": spots and hit rate, "background": the
        newest radial background, "peaks": all spots on one image. A plot that no scan has filled yet comes forward with
        the next scan.
        """
        plot = chosen_plot(self.name, what, available_plots(self.name, self._settings_shown()))
        flint = flint_now(create=True)
        flint.focus()
        self._pending_plot = None if bring_forward(flint, plot) else plot
        if self._pending_plot is not None:
            print(f"{what}: shown with the next scan of {self.name}")  # noqa: T201 - it answers who typed it

    def make_way(self, scan: Any) -> None:
        """``scan`` prepares the detector now: no live view beside it, and a plot that waited for a scan is shown."""
        self._live.give_way(scan)
        plot, self._pending_plot = self._pending_plot, None
        if plot is not None and scan is not None:
            gevent.spawn(_show_when_there, plot, scan)

    @property
    def last_image(self) -> np.ndarray:
        """The newest image, of the live view if there was no scan since."""
        live = self._live.last_image()
        return self.get_image(-1) if live is None else as_image(live)  # type: ignore[attr-defined]

    def __close__(self) -> None:
        """The session ends."""
        self._live.stop()


def as_image(frame: np.ndarray) -> np.ndarray:
    """A frame (channels, height, width) without the first dimension if it has one channel."""
    image: np.ndarray = frame[0] if frame.shape[0] == 1 else frame
    return image


def _show_when_there(plot: Plot, scan: Any) -> None:
    """Bring the plot forward as soon as Flint has it, and once more: Flint may just be choosing one itself."""
    left, shown = _AFTER_S, 0
    while left > 0 and shown < 2:
        gevent.sleep(_LOOK_S)
        if scan.state >= ScanState.DONE:
            left -= _LOOK_S
        try:
            flint = flint_now(create=False)
            if flint is None:
                return
            shown += bring_forward(flint, plot)
        except Exception as error:  # noqa: BLE001 - of a display: the scan does not care
            _log.info("Flint does not show %s yet: %s", ", ".join(plot.channels), error)
