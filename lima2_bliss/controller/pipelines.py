"""The acquisitions that are alive on the receivers: those that still process, and those that can still be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lima2_bliss.client.overview import Overviews
from lima2_bliss.contract import Lima2Error, NotAvailableError, StateError
from lima2_bliss.contract.overview import PipelineOverview, ReceiverOverview
from lima2_bliss.controller.tables import columns, size_text

ALL = "all"


class ErasingReceivers(Protocol):
    """Receivers as far as their acquisitions go; see `lima2_bliss.client.overview.Receivers`."""

    def overviews(self) -> Overviews:
        """What each receiver holds."""

    def erase(self, uuid: str, names: Sequence[str]) -> None:
        """Have these receivers forget an acquisition."""


@dataclass(frozen=True)
class LivePipeline:
    """One acquisition over the receivers that have it, by device name."""

    uuid: str
    parts: Mapping[str, PipelineOverview]

    @property
    def state(self) -> str:
        """prepared, running, finished, failed; the state of those that go on comes first."""
        states = {part.state for part in self.parts.values()}
        return next((each for each in ("running", "prepared", "failed") if each in states), "finished")

    @property
    def going_on(self) -> list[str]:
        """Receivers where it has not ended."""
        return [name for name, part in self.parts.items() if not part.ended]

    @property
    def processed(self) -> int:
        return sum(part.counts.processed for part in self.parts.values())

    @property
    def expected(self) -> int | None:
        """Frames that were asked for, None until stopped."""
        counts = [part.counts.expected for part in self.parts.values()]
        return None if min(counts) < 0 else sum(counts)

    @property
    def memory_bytes(self) -> int:
        return sum(part.memory_bytes for part in self.parts.values())


class Pipelines:
    """Acquisitions alive on the receivers, oldest first; type its name to see them, `erase` what is not needed."""

    def __init__(self, title: str, receivers: ErasingReceivers, scans: Mapping[str, str], kept: int) -> None:
        self._title = title
        self._receivers = receivers
        self._scans = scans
        self._kept = kept

    def read(self) -> list[LivePipeline]:
        """The acquisitions now."""
        return _live(self._told(self._receivers.overviews()))

    @staticmethod
    def _told(overviews: Overviews) -> dict[str, ReceiverOverview]:
        return {name: told for name, told in overviews.items() if not isinstance(told, Lima2Error)}

    def erase(self, uuid: str) -> list[str]:
        """Erase an acquisition by its uuid or the beginning of it, or "all" that have ended; says what was done.

        Its frames can then be read from files only. What still runs is never erased.
        """
        overviews = self._receivers.overviews()
        alive = _live(self._told(overviews))
        said = []
        for chosen in alive if uuid == ALL else [self._one(uuid, alive)]:
            if chosen.going_on:
                refusal = self._refusal(chosen)
                if uuid != ALL:
                    raise StateError(refusal)
                said.append(refusal)
                continue
            self._receivers.erase(chosen.uuid, list(chosen.parts))
            said.append(f"{chosen.uuid} erased: {size_text(chosen.memory_bytes)} are free again")
        said += [f"not on {name}: {each.what}" for name, each in overviews.items() if isinstance(each, Lima2Error)]
        return said or ["there was nothing to erase"]

    def _one(self, uuid: str, alive: Sequence[LivePipeline]) -> LivePipeline:
        found = [each for each in alive if uuid and each.uuid.startswith(uuid)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(each.uuid for each in alive) or "none"
        raise NotAvailableError(
            f"{self._title}.erase({uuid!r}): {'several' if found else 'no'} acquisitions begin like this;"
            f' there are: {known}; or "{ALL}"'
        )

    @staticmethod
    def _refusal(chosen: LivePipeline) -> str:
        what = "is prepared for a scan" if chosen.state == "prepared" else "still runs"
        return (
            f"{chosen.uuid} {what} on {', '.join(chosen.going_on)} and is not erased; wait until it has ended, end its"
            " scan with Ctrl-C, or reset() the detector"
        )

    def keys(self) -> list[str]:
        """uuids, oldest first."""
        return [each.uuid for each in self.read()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __dir__(self) -> list[str]:
        return ["erase", "keys", "read"]

    def __info__(self) -> str:
        overviews = self._receivers.overviews()
        told = self._told(overviews)
        alive = _live(told)
        lines = [f"{self._title}: {len(alive) or 'none'} alive on the receivers"]
        if alive:
            headings = ("uuid", "scan", "pipeline", "state", "processed", "memory")
            lines += columns(headings, [self._row(each, len(overviews)) for each in alive])
        for name, each in told.items():
            lines.append(f"  {name}: {size_text(each.used_bytes)} of {size_text(each.budget_bytes)} used for frames")
        for name, error in overviews.items():
            if isinstance(error, Lima2Error):
                lines.append(f"  {error.what if name in error.what else f'{name}: {error.what}'}")
        return "\n".join([*lines, *self._automatic(told)])

    def _row(self, each: LivePipeline, nb_receivers: int) -> tuple[str, ...]:
        state = each.state
        if len(each.parts) < nb_receivers:
            state += f" (on {len(each.parts)} of {nb_receivers} receivers)"
        of = "until stopped" if each.expected is None else f"of {each.expected}"
        kind = next(iter(each.parts.values())).pipeline.removeprefix("LimaProcessing").lower()
        scan = self._scans.get(each.uuid, "of another session")
        return each.uuid, scan, kind, state, f"{each.processed} {of}", size_text(each.memory_bytes)

    def _automatic(self, told: Mapping[str, ReceiverOverview]) -> list[str]:
        most = min((each.max_pipelines for each in told.values() if each.max_pipelines), default=0)
        limit = f", never more than {most} in all" if most else ""
        return [
            f"  Erased by itself: each scan first erases the oldest that have ended, so that {self._kept} stay,"
            f" its own included{limit};",
            "  a receiver whose memory for frames is short erases the oldest that has ended. What still runs is never"
            " erased:",
            "  where memory is short all the same, the new scan is refused. By hand:"
            f' {self._title}.erase("uuid" or "{ALL}").',
        ]


def _live(told: Mapping[str, ReceiverOverview]) -> list[LivePipeline]:
    parts: dict[str, dict[str, PipelineOverview]] = {}
    for name, overview in told.items():
        for part in overview.pipelines:
            parts.setdefault(part.uuid, {})[name] = part
    return [LivePipeline(uuid, where) for uuid, where in parts.items()]
