"""Channels of a scan whose streams another process fills: BLISS creates and seals them, but emits nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from bliss.scanning.channel import AcquisitionChannel, LimaAcquisitionChannel
from blissdata.redis_engine.encoding.numeric import NumericStreamEncoder

from lima2_bliss.contract import StateError
from lima2_bliss.publishing.streams import StreamDefinition


class _PublishedElsewhere:
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
        if self._stream_writer is None:
            raise StateError(f"the stream of {self._name} does not exist yet")
        return self._stream_writer

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
        self._encoder = NumericStreamEncoder(self._dtype, self._shape)


class PreviewChannel(PublishedChannel):
    """Small live images, a few per second, or the indices of their frames; only for readers of Redis."""

    echoed = False
    group = "preview"

    @property
    def file_only(self) -> bool:
        """True has Flint leave this channel out: it shows the full images already, one tab is enough.

        Not to be used for numbers: Flint fails on the points of a scalar stream that it was not told of.
        """
        return True


class PublishedImageChannel(_PublishedElsewhere, LimaAcquisitionChannel):
    """References to frames, as LImA 1 publishes them."""

    def define(self, definition: StreamDefinition, lima_info: dict[str, Any]) -> None:
        """Dtype and (height, width) of the frames, and where they can be had."""
        self.definition = definition
        self._dtype = np.dtype(definition.dtype)
        self._shape = definition.shape
        self._lima_info = lima_info
