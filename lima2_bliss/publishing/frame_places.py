"""Where all frames of an image stream are: key `FRAMES` in the info of the stream, for readers that take many at once.

Beside ``lima_info``, which only tells how to get one frame after another. Readers that do not know the key ignore it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lima2_bliss.contract import FileLayout, RoundRobin
from lima2_bliss.contract.parameters.strict import Parameters

logger = logging.getLogger(__name__)

#: Key in the info of an image stream.
FRAMES = "lima2_frames"


class SavedFrames(Parameters):
    """The receivers' files of one frame source, as `FileLayout` names them."""

    base_path: Path
    prefix: str
    nb_frames_per_file: int = Field(ge=1)
    data_path: str

    def layout(self) -> FileLayout:
        return FileLayout(self.base_path, self.prefix, self.nb_frames_per_file)


class FramePlaces(Parameters):
    """The frames of acquisition ``uuid``: ``endpoints`` are the receivers' ZMQ addresses in rank order, ``block`` the
    dispatch block of the frames, ``saved`` None when they are in no files."""

    uuid: str
    source: str = "frame"
    endpoints: list[str] = Field(min_length=1, max_length=256)
    receivers: list[str] = Field(min_length=1, max_length=256)
    block: int = Field(1, ge=1)
    saved: SavedFrames | None = None

    def dispatch(self) -> RoundRobin:
        return RoundRobin(len(self.endpoints), self.block)


def saved_frames(layout: FileLayout) -> SavedFrames:
    """What readers need of the files of a source."""
    return SavedFrames(
        base_path=layout.base_path,
        prefix=layout.prefix,
        nb_frames_per_file=layout.nb_frames_per_file,
        data_path=layout.data_path,
    )


def frame_places(info: dict[str, Any]) -> FramePlaces | None:
    """What the info of a stream says of its frames, None when it is not of our detectors (or of another version)."""
    if FRAMES not in info:
        return None
    try:
        return FramePlaces.model_validate({key: info[FRAMES][key] for key in FramePlaces.model_fields})
    except (KeyError, TypeError, ValidationError) as error:
        logger.warning("frames are read one by one: the stream's %s is not understood: %s", FRAMES, error)
        return None
