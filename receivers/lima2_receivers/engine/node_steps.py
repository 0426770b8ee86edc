"""Running a frame through nodes: who holds its buffer, and what an exception says."""

from __future__ import annotations

from collections.abc import Sequence

from lima2_bliss.contract import AcquisitionError, Lima2Error
from lima2_receivers.engine.plugin import FrameItem, Node


def drop_buffer(item: FrameItem) -> None:
    """Give back what ``item`` holds: its buffer and those of its further frame sources, if any."""
    if item.buffer is not None:
        item.buffer.release()
        item.buffer = None
    while item.more:
        _, (holder, _) = item.more.popitem()
        if holder is not None:
            holder.release()


def run_nodes(nodes: Sequence[Node], item: FrameItem) -> FrameItem | None:
    """The item after all ``nodes``, or None when one of them took it up.

    When a node returns another item or None, the buffer that is still in the item it was given is released here.
    """
    for node in nodes:
        index = item.meta.index
        try:
            following = node.process(item)
        except Exception as error:
            drop_buffer(item)
            if isinstance(error, Lima2Error):
                raise
            raise AcquisitionError(
                f"node {node.name} failed on frame {index}: {type(error).__name__}: {error}", node=node.name
            ) from error
        if following is not item:
            if following is None or following.buffer is not item.buffer:
                drop_buffer(item)
            if following is None:
                return None
        item = following
    return item
