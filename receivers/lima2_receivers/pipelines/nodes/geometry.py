"""The node that bins, crops, flips and rotates."""

from __future__ import annotations

from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.geometry import Placement, transform_frame
from lima2_receivers.pipelines.nodes.new_pixels import replace_pixels


class GeometryNode:
    """Makes the image from the window of the frame that starts at ``origin`` (x, y), in one pass.

    A binned pixel of which one is ``dummy`` (floats: NaN) has no value.
    """

    name = "geometry"

    def __init__(
        self,
        pool: BufferPool,
        origin: tuple[int, int],
        binning: tuple[int, int],
        placement: Placement,
        dummy: float | None = None,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._binning = binning
        self._placement = placement
        self._dummy = dummy

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return item
        frame = item.pixels
        way = self._origin, self._binning, self._placement
        return replace_pixels(item, self._pool, lambda out: transform_frame(frame, *way, out, self._dummy))
