"""What a page may ask for, checked; a message is one JSON object with one key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract.parameters import Parameters

#: Longest message of a page [bytes].
MESSAGE_BYTES = 4096
#: In place of a scan's key: the scan that runs, and the next one when it has ended.
RUNNING = "running"

_Name = Field(default=None, max_length=200, description="None: any")


class Follow(Parameters):
    """Which scan and detector to show."""

    scan: str = Field(RUNNING, min_length=1, max_length=300, description="key of a scan in Redis, or running")
    session: str | None = _Name
    detector: str | None = _Name


class ShowImage(Parameters):
    """Which frame to show, from now on."""

    mode: Literal["newest", "hits", "frame"] = "newest"
    index: int | None = Field(None, ge=0, lt=2**40, description="frame of mode frame")
    source: Literal["frame", "acc_corrected", "acc_peaks"] = "frame"
    max_px: int = Field(1024, ge=64, le=4096, description="longest side of the picture [px]; it is binned to that")
    mask: bool = Field(True, description="pixels of the mask have no value")

    @model_validator(mode="after")
    def _index_of_a_frame(self) -> ShowImage:
        if self.mode == "frame" and self.index is None:
            raise ValueError("mode frame needs an index")
        return self


class ShowRegion(Parameters):
    """A part of a frame in more detail, once: rows y0 to y1, columns x0 to x1 of the whole frame, ends excluded."""

    index: int = Field(ge=0, lt=2**40)
    y0: int = Field(ge=0, lt=65536)
    x0: int = Field(ge=0, lt=65536)
    y1: int = Field(gt=0, le=65536)
    x1: int = Field(gt=0, le=65536)
    max_px: int = Field(1024, ge=64, le=4096)
    mask: bool = True

    @model_validator(mode="after")
    def _not_empty(self) -> ShowRegion:
        if self.y1 <= self.y0 or self.x1 <= self.x0:
            raise ValueError(f"rows {self.y0} to {self.y1}, columns {self.x0} to {self.x1} are no region")
        return self


class Request(Parameters):
    """One message of a page: exactly one of these."""

    follow: Follow | None = None
    image: ShowImage | None = None
    region: ShowRegion | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Request:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of follow, image, region; given: {', '.join(given) or 'none'}")
        return self
