"""Which frames of a frame source are saved."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lima2_bliss.contract.parameters.strict import Parameters


class Veto(Parameters):
    """Which frames are saved. A frame that is not keeps its place in the file as a hole with the flag VETOED.

    ``keep_before`` and ``keep_after`` count the receiver's own frames before and after each hit.
    """

    save: Literal["all", "hits", "none", "every_nth"] = Field("all", description="which frames are saved")
    every: int = Field(0, ge=0, description="n of every_nth; with hits: every n-th frame beside the hits; 0: none")
    keep_before: int = Field(0, ge=0, le=1000, description="with hits: also so many frames before each")
    keep_after: int = Field(0, ge=0, le=100_000, description="with hits: also so many frames after each")

    @model_validator(mode="after")
    def _complete(self) -> Veto:
        if self.save == "every_nth" and not self.every:
            raise ValueError("save = every_nth needs every >= 1")
        return self

    @property
    def active(self) -> bool:
        """False when every frame is saved."""
        return self.save != "all"
