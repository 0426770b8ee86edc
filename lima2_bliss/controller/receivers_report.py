"""What each receiver is and holds: state, process, frames of the last acquisition, ring and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lima2_bliss.client.overview import Overviews
from lima2_bliss.contract import AcqState, Lima2Error, NotAvailableError
from lima2_bliss.contract.overview import PipelineOverview, ReceiverOverview
from lima2_bliss.controller.tables import columns, size_text


@dataclass(frozen=True)
class ReceiverReport:
    """One receiver at one moment; ``overview`` is None when it did not answer, and ``problem`` says why."""

    name: str
    rank: int
    overview: ReceiverOverview | None = None
    problem: str = ""

    @property
    def state(self) -> AcqState:
        """OFFLINE when it does not answer."""
        return AcqState.OFFLINE if self.overview is None else self.overview.state

    @property
    def last(self) -> PipelineOverview | None:
        """Its newest acquisition, None when it has none."""
        return self.overview.pipelines[-1] if self.overview is not None and self.overview.pipelines else None

    def __info__(self) -> str:
        return "\n".join([f"receiver {self.rank} of the detector:", *_table([self])])


class ReceiversReport:
    """The receivers, read anew each time; by rank or device name, as in ``det.receivers[0]``.

    Reading takes a few seconds at most, also when receivers do not answer.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        overviews: Callable[[], Overviews],
    ) -> None:
        self._title = title
        self._names = list(names)
        self._overviews = overviews

    def read(self) -> list[ReceiverReport]:
        """What all receivers are and hold now, in rank order."""
        overviews = self._overviews()
        return [_report(rank, name, overviews[name]) for rank, name in enumerate(self._names)]

    def keys(self) -> list[str]:
        """Device names, in rank order."""
        return list(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, which: int | str) -> ReceiverReport:
        known = dict(enumerate(self._names))
        ranks: dict[int | str, int] = {rank: rank for rank in known}
        ranks |= {name: rank for rank, name in known.items()}
        if which not in ranks:
            raise NotAvailableError(
                f"{self._title} has no {which!r}; there are 0 to {len(known) - 1}: {', '.join(self._names)}"
            )
        return self.read()[ranks[which]]

    def __dir__(self) -> list[str]:
        return ["keys", "read"]

    def __info__(self) -> str:
        reports = self.read()
        silent = [each for each in reports if each.overview is None]
        lines = [f"{self._title} (frames and packets are those of each one's last acquisition):", *_table(reports)]
        lines += [f"  receiver {each.rank}: {each.problem}" for each in silent]
        return "\n".join(lines)


def _report(rank: int, name: str, told: ReceiverOverview | Lima2Error) -> ReceiverReport:
    if isinstance(told, Lima2Error):
        return ReceiverReport(name, rank, problem=told.what)
    return ReceiverReport(name, rank, told)


def _table(reports: Sequence[ReceiverReport]) -> list[str]:
    packets = any(_packets(each.last) for each in reports)
    headings = ["rank", "receiver", "state", "host, pid", "received", "processed", "saved", "lost"]
    headings += [*(["packets"] if packets else []), "ring held", "memory for frames used"]
    return columns(headings, [_row(each, packets) for each in reports])


def _row(report: ReceiverReport, packets: bool) -> list[str]:
    overview, last = report.overview, report.last
    start = [str(report.rank), report.name, "no answer" if overview is None else report.state.name]
    more = [""] if packets else []
    if overview is None:
        return [*start, *[""] * 5, *more, "", ""]
    memory = f"{size_text(overview.used_bytes)} of {size_text(overview.budget_bytes)}"
    if last is None:
        return [*start, f"{overview.host}, {overview.pid}", *["-"] * 4, *more, "-", memory]
    counts = last.counts
    frames = [str(each) for each in (counts.received, counts.processed, counts.saved, counts.lost)]
    ring = f"{last.ring_held} of {last.ring_places}" if last.ring_places else "-"
    more = [_packets(last)] if packets else []
    return [*start, f"{overview.host}, {overview.pid}", *frames, *more, ring, memory]


def _packets(last: PipelineOverview | None) -> str:
    """Packets received and missing, empty where the detector sends none."""
    if last is None or "packets_received" not in last.intake:
        return ""
    missing = last.intake.get("packets_missing", 0)
    return f"{last.intake['packets_received']}" + (f" ({missing} missing)" if missing else "")
