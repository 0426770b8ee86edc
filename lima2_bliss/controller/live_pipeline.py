"""One acquisition that the receivers still have: what it does, what it takes, and its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lima2_bliss.client import Acquisition
from lima2_bliss.contract.overview import PipelineOverview
from lima2_bliss.controller.tables import columns, size_text

#: In the order in which an acquisition goes through them; the earliest of its receivers' is told.
_STAGES = ("receiving", "processing", "saving", "prepared", "failed", "finished")


def stage(part: PipelineOverview) -> str:
    """prepared; receiving, processing or saving while it runs; finished, failed."""
    if part.state != "running":
        return part.state
    if not part.source_done:
        return "receiving"
    return "saving" if part.processing_done else "processing"


def age_text(seconds: float) -> str:
    """A time that has passed, in the unit that fits."""
    for limit, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * limit:
            return f"{seconds / limit:.0f} {unit}"
    return f"{seconds:.0f} s"


@dataclass(frozen=True)
class LivePipeline:
    """One acquisition over the receivers that have it, by device name; ``scan`` it was made for.

    `frame`, `frames` read its images, also while it or a later one runs; `acquisition` is all that the client offers.
    """

    uuid: str
    parts: Mapping[str, PipelineOverview]
    scan: str = ""
    find: Callable[[str], Acquisition] | None = None

    @property
    def state(self) -> str:
        """prepared, running, finished, failed; the state of those that go on comes first."""
        states = {part.state for part in self.parts.values()}
        return next((each for each in ("running", "prepared", "failed") if each in states), "finished")

    @property
    def stage(self) -> str:
        """As `state`, but receiving, processing or saving instead of running."""
        stages = {stage(part) for part in self.parts.values()}
        return next((each for each in _STAGES if each in stages), "finished")

    @property
    def kind(self) -> str:
        """Which processing: legacy, smx, ..."""
        return next(iter(self.parts.values())).pipeline.removeprefix("LimaProcessing").lower()

    @property
    def going_on(self) -> list[str]:
        """Receivers where it has not ended."""
        return [name for name, part in self.parts.items() if not part.ended]

    @property
    def received(self) -> int:
        """Frames received."""
        return sum(part.counts.received for part in self.parts.values())

    @property
    def processed(self) -> int:
        """Frames processed."""
        return sum(part.counts.processed for part in self.parts.values())

    @property
    def saved(self) -> int:
        """Frames written to files."""
        return sum(part.counts.saved for part in self.parts.values())

    @property
    def expected(self) -> int | None:
        """Frames that were asked for, None until stopped."""
        counts = [part.counts.expected for part in self.parts.values()]
        return None if min(counts) < 0 else sum(counts)

    @property
    def memory_bytes(self) -> int:
        """Memory for frames that it holds on all receivers."""
        return sum(part.memory_bytes for part in self.parts.values())

    @property
    def age_s(self) -> float:
        """Time since it was prepared [s]."""
        return max(part.age_s for part in self.parts.values())

    @property
    def acquisition(self) -> Acquisition:
        """The acquisition as the client has it: status, frames, results, files."""
        assert self.find is not None
        return self.find(self.uuid)

    def frame(self, index: int = -1, source: str = "frame") -> np.ndarray:
        """The image with this index, -1 the newest: (height, width), or with channels in front."""
        image = self.acquisition.frame(index, source)
        return image[0] if image.shape[0] == 1 else image

    def frames(
        self, indices: slice | Iterable[int] = slice(None), source: str = "frame", *, skip_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, pixels (channels, height, width)) of many images, read in bulk from all receivers at once."""
        return self.acquisition.frames(indices, source, skip_missing=skip_missing)

    @property
    def of_expected(self) -> str:
        """Frames received, of how many."""
        return f"{self.received} " + ("until stopped" if self.expected is None else f"of {self.expected}")

    def __info__(self) -> str:
        headings = ("receiver", "state", "received", "processed", "saved", "lost", "memory")
        rows = [
            (
                name,
                stage(part),
                *map(str, (part.counts.received, part.counts.processed, part.counts.saved, part.counts.lost)),
                size_text(part.memory_bytes),
            )
            for name, part in self.parts.items()
        ]
        what = f"{self.uuid}: scan {self.scan or 'of another session'}, pipeline {self.kind}, {self.stage}"
        return "\n".join([f"{what}, {age_text(self.age_s)} old", *columns(headings, rows)])
