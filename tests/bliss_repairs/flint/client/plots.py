"""Names of Flint's plots; none can be made."""

from __future__ import annotations

from typing import Any

from flint.client.proxy import attach_flint


class BasePlot:
    """A plot of Flint."""

    def __init__(self, *_: Any, **__: Any) -> None:
        attach_flint()


class LiveCurvePlot(BasePlot):
    """Curves of the present scan."""


class LiveScatterPlot(BasePlot):
    """Scatters of the present scan."""


class LiveMcaPlot(BasePlot):
    """Spectra of the present scan."""


class LiveImagePlot(BasePlot):
    """Images of the present scan."""
