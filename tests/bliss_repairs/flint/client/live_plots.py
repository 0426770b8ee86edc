"""Another place where BLISS looks for Flint's plots."""

from flint.client.plots import LiveImagePlot

__all__ = ["LiveImagePlot"]
