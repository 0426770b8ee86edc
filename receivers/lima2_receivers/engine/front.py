"""Before the pipeline, where raw frames are no images: they become images, and are a frame source of their own."""

from __future__ import annotations

from collections.abc import Mapping

from lima2_bliss.contract import AcquisitionError, FrameMeta
from lima2_receivers.engine.frame_output import OutputSource
from lima2_receivers.engine.node_steps import drop_buffer, run_nodes
from lima2_receivers.engine.plugin import RAW_FRAME, ConditioningNodes, FrameItem


class Front:
    """The detector's nodes of one acquisition; ``ahead`` as in `Conditioning`."""

    def __init__(self, nodes: ConditioningNodes, ahead: int) -> None:
        self.ahead = ahead
        self._nodes = nodes

    def keep_raw(self, item: FrameItem) -> None:
        """Make the pixels that came also those of source `RAW_FRAME`; nodes may renumber or replace the item later."""
        meta = item.meta
        own = FrameMeta(meta.index, meta.local, meta.timestamp_ns, meta.flags, extras=meta.extras)
        item.more[RAW_FRAME] = (None if item.buffer is None else item.buffer.retain(), own)

    def image_of(self, item: FrameItem) -> FrameItem:
        """The item with an image instead of raw pixels; from any thread."""
        following = run_nodes([self._nodes.image], item)
        if following is not item:
            raise AcquisitionError(f"node {self._nodes.image.name} took up or replaced a frame; it must only change it")
        return item

    def commit_raw(self, item: FrameItem, output: OutputSource) -> None:
        """Show the item to the detector's ordered nodes; keep and save the raw frame. In local order."""
        try:
            if run_nodes(self._nodes.ordered, item) is not item:
                raise AcquisitionError("a node of the detector took up or replaced a frame; it must only look at it")
            holder, meta = item.more.pop(RAW_FRAME)
            meta.hit = item.meta.hit
            try:
                output.keep(holder, meta)
            except BaseException:
                if holder is not None:
                    holder.release()
                raise
            output.save(holder, meta)
        except BaseException:
            drop_buffer(item)
            raise

    def last(self) -> None:
        """All frames were seen."""
        self._nodes.last()

    def counts(self) -> Mapping[str, int]:
        """What the nodes counted so far, by name."""
        return self._nodes.counts()

    def close(self) -> None:
        """The acquisition is erased."""
        self._nodes.close()
