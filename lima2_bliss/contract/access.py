"""Jobs of the access process: which acquisition its image device shows, and which master file it writes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lima2_bliss.contract.parameters.saving import Saving
from lima2_bliss.contract.parameters.strict import Parameters
from lima2_bliss.contract.topology import RoundRobin


class AttachJob(Parameters):
    """Show the frames of acquisition ``uuid``: ``endpoints`` are the receivers' ZMQ addresses in rank order.

    ``block`` is the dispatch block of the *processed* frames (1: plain round robin). With ``saving``, frames that
    left the receivers' memory are read from their files.
    """

    uuid: str
    endpoints: list[str] = Field(min_length=1, max_length=256)
    block: int = Field(1, ge=1)
    source: str = "frame"
    nb_frames: int = Field(0, ge=0, description="processed frames expected, 0 endless")
    saving: Saving | None = None

    def dispatch(self) -> RoundRobin:
        return RoundRobin(len(self.endpoints), self.block)


class MasterJob(Parameters):
    """Write the master file over the receiver files of one frame source.

    ``counts`` are the local frames that each receiver saved; ``shape`` is (channels, height, width) of a frame.
    ``metadata`` is a tree of plain values that goes below the detector group (no nulls). ``kind`` sparse is for files
    of sparse frames. ``spots`` is the saving of the sparse frames of the same acquisition: a dense master links to the
    peak lists in their master.
    """

    saving: Saving
    counts: list[int] = Field(min_length=1, max_length=256)
    block: int = Field(1, ge=1)
    shape: tuple[int, int, int]
    dtype: str
    kind: Literal["dense", "sparse"] = "dense"
    spots: Saving | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class LiveJob(Parameters):
    """Offer the newest frames of an acquisition that is a live view, to viewers of a camera.

    ``before`` images came in the same live view before this acquisition. The view counts as ended when its session has
    not been heard of for ``lease_s``.
    """

    images: AttachJob
    before: int = Field(0, ge=0)
    expo_time_s: float = Field(gt=0)
    latency_s: float = Field(0, ge=0)
    lease_s: float = Field(5.0, gt=0, le=60)


class LiveWish(Parameters):
    """What viewers of a live view ask of the session that runs it."""

    run: bool = True
    expo_time_s: float = Field(0.1, gt=0)
