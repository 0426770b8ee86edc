"""Exact counts of one acquisition on one receiver, and how they reconcile."""

from __future__ import annotations

from dataclasses import dataclass

from lima2_bliss.contract.wire import Counts


@dataclass(slots=True)
class FrameCounts:
    """What happened to every frame so far; changed and read under the run's lock.

    Always: ``received + lost == consumed + waiting``. Without accumulation also ``consumed == processed + invalid``;
    with accumulation of depth d, ``consumed // d == processed + invalid``.
    """

    expected: int = -1
    received: int = 0
    lost: int = 0
    overrun: int = 0
    consumed: int = 0
    processed: int = 0
    invalid: int = 0
    hits: int = 0

    @property
    def arrived(self) -> int:
        """Frames that the source has accounted for, received or lost."""
        return self.received + self.lost

    @property
    def waiting(self) -> int:
        """Frames between source and end of the pipeline."""
        return self.arrived - self.consumed

    def snapshot(self, saved: int, vetoed: int, stored: int) -> Counts:
        """The counts as they go over the wire."""
        return Counts(
            expected=self.expected,
            received=self.received,
            lost=self.lost,
            overrun=self.overrun,
            invalid=self.invalid,
            processed=self.processed,
            saved=saved,
            vetoed=vetoed,
            stored=stored,
            waiting=self.waiting,
            hits=self.hits,
        )
