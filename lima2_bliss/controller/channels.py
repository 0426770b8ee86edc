"""Channels of a scan whose streams another process fills: BLISS creates and seals them, but emits nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from bliss.scanning.channel import AcquisitionChannel, LimaAcquisitionChannel

from lima2_bliss.contract import StateError
from lima2_bliss.controller.compatibility import MoreInfo, set_images, stream_of
from lima2_bliss.controller.counters import DetectorCounter
from lima2_bliss.publishing.blissdata_access import numeric_encoder
from lima2_bliss.publishing.streams import PREVIEW_INDEX, StreamDefinition


class _PublishedElsewhere(MoreInfo):
    """What both kinds of channel share: the key of their stream, and that nothing is emitted here."""

    _name: str
    _stream_writer: Any = None
    #: Channels of one group may have another number of points than the scan's other channels.
    group: str | None = None
    #: Name of the counter behind it.
    counter_name = ""
    #: What fills the stream; set when the scan is prepared.
    definition: StreamDefinition | None = None
    #: False for streams that listeners inside this process (file writer, display) do not get.
    echoed = True

    @property
    def stream(self) -> Any:
        """The stream that BLISS created; `StateError` before."""
        stream = stream_of(self)
        if stream is None:
            raise StateError(f"the stream of {self._name} does not exist yet")
        return stream

    def emit(self, data: Any) -> None:
        """Refused: the publisher process writes this stream."""
        raise StateError(f"{self._name} is written by the publisher; nothing can be emitted here")

    @property
    def scan_info_dict(self) -> dict[str, Any]:
        meta: dict[str, Any] = dict(super().scan_info_dict)  # type: ignore[misc]
        if self.group is not None:
            meta["group"] = self.group
        return meta


class PublishedChannel(_PublishedElsewhere, AcquisitionChannel):
    """Numbers or vectors, one per frame."""

    def define(self, definition: StreamDefinition) -> None:
        """Dtype and shape of the points, once they are known."""
        self.definition = definition
        self._dtype = np.dtype(definition.dtype)
        self._shape = definition.shape
        self._encoder = numeric_encoder(self._dtype, self._shape)


class UnseenChannel(PublishedChannel):
    """Only for readers of Redis: previews, spots, pixels of sparse frames.

    Streams of bare numbers have points of one element, (1,): displays of BLISS expect of every number one value at each
    point of the scan, and Flint fails on those it was not told of.
    """

    echoed = False

    def define(self, definition: StreamDefinition) -> None:
        """Dtype and shape of the points, once they are known."""
        super().define(definition.model_copy(update={"shape": definition.shape or (1,)}))
        self.definition = definition

    @property
    def file_only(self) -> bool:
        """True has Flint leave this channel out."""
        return True


class LiveChannel(PublishedChannel):
    """Images now and then, for displays and readers of Redis; not in the scan file."""

    echoed = False


class PublishedImageChannel(_PublishedElsewhere, LimaAcquisitionChannel):
    """References to frames, as LImA 1 publishes them."""

    def define(self, definition: StreamDefinition, lima_info: dict[str, Any]) -> None:
        """Dtype and (height, width) of the frames, and where they can be had."""
        self.definition = definition
        set_images(self, np.dtype(definition.dtype), definition.shape, lima_info)


Channel = PublishedChannel | PublishedImageChannel


def make_channel(name: str, counter: DetectorCounter) -> Channel:
    """The channel ``name`` of a counter; its dtype and shape are final once it is defined."""
    channel: Channel
    if counter.group == "images":
        channel = PublishedImageChannel(name)
    elif counter.unseen:
        channel = UnseenChannel(name, counter.dtype, counter.shape, unit=counter.unit)
        channel.group = counter.group
    elif counter.group == "accumulated":
        channel = LiveChannel(name, counter.dtype, counter.shape)
        channel.group = counter.group
    else:
        channel = PublishedChannel(name, counter.dtype, counter.shape, unit=counter.unit)
    channel.counter_name = counter.name
    return channel


def preview_index_channel(name: str) -> Channel:
    """Which frames the previews show, for readers: no counter of its own."""
    channel = UnseenChannel(name, np.dtype("int64"), (1,))
    channel.group = "preview"
    channel.counter_name = PREVIEW_INDEX
    return channel
