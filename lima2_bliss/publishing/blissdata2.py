"""Plugin for blissdata >= 2: image streams of our detectors that give many frames at once.

blissdata finds plugins as entry points of group ``blissdata`` and takes ``stream_cls`` of the one that a stream names.
Image streams name none, so that blissdata alone can read them: they are `lima_v1`, and it uses its own plugin ``lima``.
`enable` puts this one in its place, for this process; other Lima detectors keep blissdata's::

    from lima2_bliss.publishing import blissdata2

    blissdata2.enable()
    images = scan.streams["simulator:image"][10:50]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from blissdata.exceptions import EmptyViewException, IndexNoMoreThereError
from blissdata.redis_engine.scan import loaded_plugins
from blissdata.streams.lima import LimaStream, LimaView

from lima2_bliss.publishing.blissdata2_frames import BulkFrames
from lima2_bliss.publishing.frame_places import frame_places

#: Name under which blissdata looks for the plugin of `lima_v1` streams.
LIMA = "lima"
#: Frames that iterating over a view reads at once [bytes].
AT_ONCE_BYTES = 32 << 20


class FrameView(LimaView):
    """New images of a stream; iterating over it reads some at once."""

    def __iter__(self) -> Iterator[np.ndarray]:
        stream = self._stream
        most = max(1, AT_ONCE_BYTES // max(int(np.prod(stream.shape)) * stream.dtype.itemsize, 1))
        for start in range(0, len(self), most):
            yield from self.get_data(start, min(start + most, len(self)))


class FrameStream(LimaStream):
    """An image stream: slices come from all receivers' memory or files at once; all else is that of `LimaStream`.

    Made of a stream that is not of our detectors, it is a `LimaStream`.
    """

    def __new__(cls, event_stream: Any) -> Any:
        return LimaStream(event_stream) if frame_places(event_stream.info) is None else super().__new__(cls)

    def __init__(self, event_stream: Any) -> None:
        super().__init__(event_stream)
        places = frame_places(event_stream.info)
        assert places is not None  # see __new__
        self._bulk = BulkFrames(places, self.shape, self.dtype)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice):
            return super().__getitem__(key)
        self._update_client_if_needed(key)
        indices = range(*key.indices(len(self._client)))
        images, missing = self._bulk.read(indices)
        for place in missing:  # blissdata's own way: it waits for files that are still being written
            images[place] = super().__getitem__(indices[place])
        return images

    def _update_client_if_needed(self, key: int | slice) -> None:
        try:
            super()._update_client_if_needed(key)
        except (IndexNoMoreThereError, IndexError):
            # Redis was trimmed: of the stream only its end is left, and that does not say how many images there are
            count = self._bulk.count()
            if not count:
                raise
            saved = count if self._bulk.places.saved is not None else 0
            self._client.update(last_index=count - 1, last_index_saved=saved - 1, sealed=True)

    def _build_view_from_events(self, index: int, events: Any, last_only: bool) -> FrameView:
        if not len(events.data):
            self._update_client_if_needed(-1)
            if len(self._client) <= index:
                raise EmptyViewException
            return FrameView(self, index, len(self._client))
        view = super()._build_view_from_events(index, events, last_only)
        return FrameView(self, view.index, view.index + len(view))


stream_cls = FrameStream
view_cls = FrameView


def enable() -> None:
    """Have blissdata read image streams with this plugin, of all scans that are loaded from now on in this process."""
    loaded_plugins[LIMA] = sys.modules[__name__]
