"""Which receiver takes which frame: global index <-> (receiver, local index). Nothing else re-derives it."""

from __future__ import annotations

from dataclasses import dataclass

from lima2_bliss.contract.errors import ParameterError


@dataclass(frozen=True)
class RoundRobin:
    """Full-frame dispatch in turn: block ``b`` of ``block`` consecutive frames goes to receiver ``b % receivers``.

    One receiver is the `single` topology. ``block`` > 1 keeps the frames of one accumulation on one receiver.
    """

    receivers: int = 1
    block: int = 1

    def __post_init__(self) -> None:
        if self.receivers < 1 or self.block < 1:
            raise ParameterError(
                f"round robin over {self.receivers} receivers in blocks of {self.block}: both must be >= 1"
            )

    @property
    def name(self) -> str:
        return "single" if self.receivers == 1 else "round_robin"

    def locate(self, index: int) -> tuple[int, int]:
        """(receiver, local index) of global frame ``index``."""
        turn, within = divmod(index, self.block)
        cycle, receiver = divmod(turn, self.receivers)
        return receiver, cycle * self.block + within

    def global_index(self, receiver: int, local: int) -> int:
        """Global index of the ``local``-th frame of ``receiver``."""
        cycle, within = divmod(local, self.block)
        return (cycle * self.receivers + receiver) * self.block + within

    def count(self, receiver: int, total: int) -> int:
        """How many of the first ``total`` frames go to ``receiver``."""
        cycles, rest = divmod(total, self.receivers * self.block)
        return cycles * self.block + min(max(rest - receiver * self.block, 0), self.block)

    def contiguous(self, counts: list[int]) -> int:
        """How many frames from 0 on are there without a hole, given the local count of each receiver."""
        return min(self.global_index(receiver, count) for receiver, count in enumerate(counts))
