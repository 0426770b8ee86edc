"""How far a publication is, as others see it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lima2_bliss.contract.parameters import Parameters

PublicationState = Literal["waiting", "running", "draining", "done", "failed"]
FINAL_STATES = ("done", "failed")


class PublicationStatus(Parameters):
    """State and counts of one publication. ``revision`` grows with every change.

    waiting: no row yet; running; draining: `finish` was called, rows are still coming; done: all that there is has
    been written; failed: ``error`` (JSON of a Lima2Error) says why, what was contiguous before has been written.
    """

    uuid: str
    revision: int = 0
    state: PublicationState = "waiting"
    expected: int = Field(0, description="frames; 0 endless")
    rows: int = Field(0, description="frames whose scalars are all in Redis")
    complete: bool = Field(False, description="every row that the receivers had is in Redis")
    received: list[int] = Field(default_factory=list, description="frames of which rows came, per receiver")
    waiting: int = Field(0, description="frames that wait for an earlier one of another receiver")
    last_index_saved: int = -1
    previews: int = 0
    published: dict[str, int] = Field(default_factory=dict, description="points per stream (not in a short status)")
    stopped: dict[str, int] = Field(
        default_factory=dict,
        description="result streams that are not published any more, and how many frames of the scan were",
    )
    lag_s: float = Field(0.0, description="last byte of a frame on its receiver to its row in Redis, last batch")
    warnings: list[str] = Field(default_factory=list)
    error: str = ""

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES
