"""The streams of a scan: what BLISS makes of a channel, and how they are read and written behind its back.

Up to BLISS 2.1 a channel gives the encoder and the info of its stream, from 2.2 on the stream's definition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lima2_bliss.publishing.blissdata_access import EndOfStream, follower


def stream_of(channel: Any) -> Any:
    """The stream that BLISS has created for a channel, None before."""
    return channel._stream if hasattr(channel, "set_stream") else channel._stream_writer


class MoreInfo:
    """A channel whose stream tells readers more than BLISS has it tell: what `more_info` has."""

    more_info: Mapping[str, Any] = {}

    @property
    def info_dict(self) -> dict[str, Any]:
        """Info of the stream, for BLISS up to 2.1."""
        return {**super().info_dict, **self.more_info}  # type: ignore[misc]

    def stream_definition(self, *args: Any, **kwargs: Any) -> Any:
        """The stream's definition, for BLISS from 2.2 on."""
        definition = super().stream_definition(*args, **kwargs)  # type: ignore[misc]
        definition.info.update(self.more_info)
        return definition


def set_images(channel: Any, dtype: np.dtype, shape: Sequence[int], lima_info: Mapping[str, Any]) -> None:
    """Tell a channel of images what they are, and by ``lima_info`` where they can be had."""
    if not hasattr(channel, "configure"):
        channel._dtype, channel._shape, channel._lima_info = dtype, tuple(shape), dict(lima_info)
        return
    channel.configure(
        dtype,
        tuple(shape),
        lima_info["server_url"],
        lima_info["buffer_max_number"],
        lima_info["frame_per_acquisition"],
        lima_info["acquisition_offset"],
    )
    if "file_path" in lima_info:
        channel.configure_saving(
            lima_info["file_offset"],
            lima_info["frame_per_file"],
            lima_info["file_format"],
            lima_info["file_path"],
            lima_info["data_path"],
        )


class StreamFollower:
    """Reads on in streams that another process writes; ``streams`` are those that BLISS has created."""

    def __init__(self, streams: Sequence[Any]) -> None:
        self._read = follower([getattr(stream, "event_stream", stream) for stream in streams])

    def read(self) -> dict[str, Any]:
        """What is new, by the key of each stream: points, or the entries of a stream of references to images."""
        try:
            return self._read()
        except EndOfStream:
            return {}


def append_to_stream(stream: Any, entry: dict[str, Any]) -> None:
    """Write one more entry into a stream that another process has written so far, and no longer does."""
    entries = getattr(stream, "event_stream", stream)
    entries._write_index = len(entries)
    entries.send(entry)
    entries.join()
