"""What a receiver says of itself in one reply: where it is, what it holds, and what memory that takes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from lima2_bliss.contract.states import AcqState
from lima2_bliss.contract.wire import Counts


class Told(BaseModel):
    """What one process tells another; what a newer one adds is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class PipelineOverview(Told):
    """One acquisition on a receiver. ``ring`` is the ring that its source fills: places held of all places.

    ``age_s``: since its prepare. Places are held by frames on their way and by the newest frames, which stay readable.
    """

    uuid: str
    pipeline: str = ""
    state: str = "running"  # prepared, running, finished, failed
    source_done: bool = False
    processing_done: bool = False
    error: str = ""  # JSON of a Lima2Error, empty if none
    counts: Counts = Counts()
    intake: dict[str, int] = {}
    memory_bytes: int = 0
    age_s: float = 0.0
    ring_held: int = 0
    ring_places: int = 0

    @property
    def ended(self) -> bool:
        """Nothing more will come of it; it can be erased."""
        return self.state in ("finished", "failed")


class ReceiverOverview(Told):
    """A receiver: its place, its addresses, its memory for frames [bytes], and its acquisitions, oldest first.

    ``idle_bytes`` are kept ready for the next prepare. ``max_pipelines`` acquisitions are kept at most.
    """

    state: AcqState = AcqState.IDLE
    rank: int = 0
    nb_receivers: int = 1
    host: str = ""
    pid: int = 0
    access_endpoint: str = ""
    source_endpoints: dict[str, Any] = {}
    budget_bytes: int = 0
    used_bytes: int = 0
    idle_bytes: int = 0
    max_pipelines: int = 0
    pipelines: list[PipelineOverview] = []

    def pipeline(self, uuid: str) -> PipelineOverview | None:
        """The acquisition ``uuid``, None when it is not here."""
        return next((each for each in self.pipelines if each.uuid == uuid), None)


class MapDescription(Told):
    """A correction map (mask, dark, ...) as a receiver reads it: shape, type, and how many of its values are not 0."""

    shape: tuple[int, ...]
    dtype: str
    nonzero: int
    size: int
