"""The plots of a detector in Flint: found, opened, brought forward."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gevent
from bliss.common.plot import get_flint

from lima2_bliss.contract import NotAvailableError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plot:
    """A plot and what is drawn in it: ``channels`` of a scan; of an image the name by which Flint knows it.

    Curves ``apart`` need an axis each, which only the plots of a scan give them: without these the first is alone.
    """

    kind: Literal["image", "curve", "onedim"]
    channels: Sequence[str]
    apart: bool = False


def flint_now(create: bool) -> Any:
    """The session's Flint, opened if there is none and ``create``; else None. `NotAvailableError` without a display."""
    if create and not os.environ.get("DISPLAY"):
        raise NotAvailableError(
            "Flint needs an X display and DISPLAY is not set; log in with ssh -X, or set it to one that you may use"
        )
    return get_flint(creation_allowed=create, mandatory=create)


def bring_forward(flint: Any, plot: Plot) -> bool:
    """Show the plot in front; False when it has to wait for a scan with its channels."""
    if plot.kind == "image":
        flint.get_live_plot(image_detector=plot.channels[0]).focus()
        return True
    present = [channel for channel in plot.channels if _in_scan(flint, channel)]
    if not present:
        return False
    try:
        if plot.kind == "curve":
            curve = flint.get_live_plot("default-curve")
            drawn = set(present) <= set(curve.displayed_channels)
            curve.displayed_channels = present[:1] if plot.apart and not drawn else present
            curve.focus()
        else:
            flint.set_plot_focus(flint.get_live_scan_plot(present[0], "onedim"))
    except ValueError as error:  # Flint has heard of the scan, and has no plot of it yet
        _log.debug("%s: %s", plot, error)
        return False
    return True


def _in_scan(flint: Any, channel: str) -> bool:
    """True when the scan that Flint shows has this channel."""
    try:
        flint.get_live_scan_data(channel)
    except (ValueError, RuntimeError) as error:
        _log.debug("%s", error)
        return False
    return True


class LiveImagePlot:
    """Flint's image plot of detector ``name`` as viewer of its live view, which image device ``access`` offers."""

    def __init__(self, name: str, access: str) -> None:
        self._name = name
        self._channel = f"{name}:image"
        self._access = access
        self._flint: Any = None

    def show(self, create: bool) -> None:
        """Show the live view in the image plot, in a Flint that is opened if need be."""
        try:
            flint = self._flint = flint_now(create)
            if flint is not None:
                flint.start_image_monitoring(self._channel, self._access, "limavideo")
                flint.get_live_plot(image_detector=self._name).focus()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a display, the detector goes on
            self._flint = None
            _log.info("%s: Flint does not show the live view: %s", self._name, error)

    def hide(self) -> None:
        """Have Flint look no more; nobody waits for that."""
        flint, self._flint = self._flint, None
        if flint is not None:
            gevent.spawn(self._stop_looking, flint)

    def _stop_looking(self, flint: Any) -> None:
        try:
            flint.stop_image_monitoring(self._channel)
        except Exception as error:  # noqa: BLE001 - it was closed, or shows a scan already
            _log.debug("%s: %s", self._name, error)
