"""The acquisitions that are alive on the receivers: those that still process or save, and those that can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lima2_bliss.client import Acquisition
from lima2_bliss.client.overview import Overviews
from lima2_bliss.contract import Lima2Error, NotAvailableError, StateError
from lima2_bliss.contract.overview import PipelineOverview, ReceiverOverview
from lima2_bliss.controller.live_pipeline import LivePipeline, age_text
from lima2_bliss.controller.tables import columns, size_text

ALL = "all"


class ErasingReceivers(Protocol):
    """Receivers as far as their acquisitions go; see `lima2_bliss.client.overview.Receivers`."""

    def overviews(self) -> Overviews:
        """What each receiver holds."""

    def erase(self, uuid: str, names: Sequence[str]) -> None:
        """Have these receivers forget an acquisition."""


class PastAcquisitions(Protocol):
    """Finds acquisitions by uuid (`lima2_bliss.client.Detector`); a scan leaves ``keep_pipelines`` of them."""

    keep_pipelines: int

    def acquisition(self, uuid: str) -> Acquisition: ...


class Unsaved(Protocol):
    """Scans that ended before their images were saved (`UnsavedScans`)."""

    def wait(self, most: int = 0, timeout_s: float | None = None) -> None: ...


class Pipelines:
    """Acquisitions alive on the receivers, oldest first; type its name to see them, `erase` what is not needed.

    ``pipelines["beginning of a uuid"]``, ``pipelines[0]`` (the oldest), ``pipelines[-1]`` (the newest) give one, with
    its images.
    """

    def __init__(
        self,
        title: str,
        receivers: ErasingReceivers,
        scans: Mapping[str, str],
        past: PastAcquisitions,
        unsaved: Unsaved,
    ) -> None:
        self._title = title
        self._receivers = receivers
        self._scans = scans
        self._past = past
        self._unsaved = unsaved

    def read(self) -> list[LivePipeline]:
        """The acquisitions now."""
        return self._live(self._told(self._receivers.overviews()))

    def __getitem__(self, which: str | int) -> LivePipeline:
        alive = self.read()
        if isinstance(which, str):
            return self._one(which, alive, f"{self._title}[{which!r}]")
        if not -len(alive) <= which < len(alive):
            raise NotAvailableError(f"{self._title}[{which}]: there are {len(alive)} acquisitions, 0 is the oldest")
        return alive[which]

    @property
    def budget(self) -> dict[str, int]:
        """Memory for frames that each receiver may use for all acquisitions together [bytes], by device name."""
        return {name: told.budget_bytes for name, told in self._told(self._receivers.overviews()).items()}

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the images of all earlier scans of this session are saved (``det.acquisition.overlap``)."""
        self._unsaved.wait(0, timeout_s)

    @staticmethod
    def _told(overviews: Overviews) -> dict[str, ReceiverOverview]:
        return {name: told for name, told in overviews.items() if not isinstance(told, Lima2Error)}

    def erase(self, uuid: str) -> list[str]:
        """Erase an acquisition by its uuid or the beginning of it, or "all" that have ended; says what was done.

        Its frames can then be read from files only. What still runs is never erased.
        """
        overviews = self._receivers.overviews()
        alive = self._live(self._told(overviews))
        said = []
        for chosen in alive if uuid == ALL else [self._one(uuid, alive, f"{self._title}.erase({uuid!r})")]:
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

    @staticmethod
    def _one(uuid: str, alive: Sequence[LivePipeline], call: str) -> LivePipeline:
        found = [each for each in alive if uuid and each.uuid.startswith(uuid)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(each.uuid for each in alive) or "none"
        raise NotAvailableError(
            f"{call}: {'several' if found else 'no'} acquisitions begin like this; there are: {known}"
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
        return ["budget", "erase", "keys", "read", "wait"]

    def __info__(self) -> str:
        overviews = self._receivers.overviews()
        told = self._told(overviews)
        alive = self._live(told)
        lines = [f"{self._title}: {len(alive) or 'none'} alive on the receivers"]
        if alive:
            headings = ("uuid", "scan", "pipeline", "state", "received", "processed", "saved", "memory", "age")
            lines += columns(headings, [self._row(each, len(overviews)) for each in alive])
        for name, each in told.items():
            lines.append(f"  {name}: {size_text(each.used_bytes)} of {size_text(each.budget_bytes)} used for frames")
        for name, error in overviews.items():
            if isinstance(error, Lima2Error):
                lines.append(f"  {error.what if name in error.what else f'{name}: {error.what}'}")
        return "\n".join([*lines, *self._automatic(told)])

    @staticmethod
    def _row(each: LivePipeline, nb_receivers: int) -> tuple[str, ...]:
        state = each.stage
        if len(each.parts) < nb_receivers:
            state += f" (on {len(each.parts)} of {nb_receivers} receivers)"
        counts = each.of_expected, str(each.processed), str(each.saved)
        what = each.uuid, each.scan or "of another session", each.kind, state
        return *what, *counts, size_text(each.memory_bytes), age_text(each.age_s)

    def _automatic(self, told: Mapping[str, ReceiverOverview]) -> list[str]:
        most = min((each.max_pipelines for each in told.values() if each.max_pipelines), default=0)
        limit = f", never more than {most} in all" if most else ""
        return [
            "  Erased by itself: each scan first erases the oldest that have ended, so that"
            f" {self._past.keep_pipelines} stay, its own included{limit};",
            "  a receiver whose memory for frames is short erases the oldest that has ended. What still runs is never"
            " erased:",
            "  where memory is short all the same, the new scan is refused. By hand:"
            f' {self._title}.erase("uuid" or "{ALL}").',
        ]

    def _live(self, told: Mapping[str, ReceiverOverview]) -> list[LivePipeline]:
        parts: dict[str, dict[str, PipelineOverview]] = {}
        for name, overview in told.items():
            for part in overview.pipelines:
                parts.setdefault(part.uuid, {})[name] = part
        find = self._past.acquisition
        return [LivePipeline(uuid, where, self._scans.get(uuid, ""), find) for uuid, where in parts.items()]
