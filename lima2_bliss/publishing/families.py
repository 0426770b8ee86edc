"""Streams that advance together and are given up together when Redis memory is short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lima2_bliss.contract.records import BACKGROUND_STREAM, ROI_PROFILES_STREAM, SPARSE_STREAM, SPOTS_STREAM
from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import PublishJob, StreamTarget
from lima2_bliss.publishing.merger import MergedRows
from lima2_bliss.publishing.stream_definition import StreamDefinition

#: The result streams of families in the order in which they give way.
GIVE_WAY = (SPARSE_STREAM, BACKGROUND_STREAM, ROI_PROFILES_STREAM, SPOTS_STREAM)

_TITLES = {SPARSE_STREAM: "sparse frames", SPOTS_STREAM: "spots"}

#: Redis' own cost of an entry beside its payload.
ENTRY_BYTES = 64


@dataclass(eq=False)
class Family:
    """The streams of one result stream ``source``. ``fill_limit``: how full Redis may be while they go on."""

    source: str
    targets: list[StreamTarget]
    budget: ByteBudget
    fill_limit: float
    first_frame: int
    title: str = field(init=False)

    def __post_init__(self) -> None:
        self.title = _TITLES.get(self.source, "vectors")

    @property
    def definitions(self) -> list[StreamDefinition]:
        return [target.definition for target in self.targets]

    @property
    def names(self) -> str:
        """Names of its streams, for a person."""
        names = [definition.name for definition in self.definitions]
        return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

    @property
    def keys(self) -> set[str]:
        return {target.key for target in self.targets}

    def here(self, merged: MergedRows) -> bool:
        """True when its rows were merged."""
        return self.source in merged.rows or self.source in merged.flat

    def affordable(self, merged: MergedRows) -> bool:
        """Spend what the rows of these frames take; False when the budget does not allow it."""
        points = len(merged.flat[self.source]) if self.source in merged.flat else merged.count
        cost = points * sum(definition.nbytes for definition in self.definitions)
        return self.budget.spend(cost + ENTRY_BYTES * len(self.targets) if cost else 0)

    def points(self, merged: MergedRows) -> dict[str, np.ndarray]:
        """Points of its streams for these frames; streams without any are left out."""
        points = {definition.name: self._points(definition, merged) for definition in self.definitions}
        return {name: values for name, values in points.items() if len(values)}

    def _points(self, definition: StreamDefinition, merged: MergedRows) -> np.ndarray:
        if definition.kind == "vector":
            return definition.values(merged.rows[self.source])
        if definition.kind == "flat":
            return definition.values(merged.flat[self.source])
        first = self.first_frame + merged.first
        frames = np.arange(first, first + merged.count, dtype=definition.dtype)
        return np.repeat(frames, merged.counts[self.source])


def families_of(job: PublishJob) -> list[Family]:
    """The families of a job's streams, first to give way first; each may fill Redis more than the one before."""
    window_s = job.budget.window_s
    vectors = ByteBudget(job.budget.vector_bytes, window_s)
    budgets = {
        SPARSE_STREAM: ByteBudget(job.budget.sparse_bytes, window_s),
        SPOTS_STREAM: ByteBudget(job.budget.spots_bytes, window_s),
    }
    members: dict[str, list[StreamTarget]] = {}
    for target in job.of_kind("vector", "flat", "flat_frame"):
        members.setdefault(target.definition.source, []).append(target)
    sources = sorted(members, key=_order)
    lowest = job.budget.redis_fill
    limits = [lowest + (1 - lowest) * place / max(len(sources), 1) for place in range(len(sources))]
    return [
        Family(source, members[source], budgets.get(source, vectors), limit, job.first_frame)
        for source, limit in zip(sources, limits, strict=True)
    ]


def _order(source: str) -> int:
    return GIVE_WAY.index(source) if source in GIVE_WAY else 0


def names_of(families: Iterable[Family]) -> set[str]:
    """Names of all streams of these families."""
    return {definition.name for family in families for definition in family.definitions}
