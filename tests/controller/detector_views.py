"""Stores, sections and receivers that live as long as the test, for the views of a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lima2_bliss.client.overview import Overviews
from lima2_bliss.contract import AcqState, ConnectionLostError, ParameterError
from lima2_bliss.contract.overview import MapDescription, PipelineOverview, ReceiverOverview
from lima2_bliss.contract.wire import Counts
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.settings_models import ProcessingSettings
from lima2_bliss.controller.smx_settings import SmxSettings

ONE, TWO = "id00/limareceiver/one", "id00/limareceiver/two"
MIB = 1 << 20


class Memory:
    """A store of one text."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text

    def get(self) -> str | None:
        return self.text

    def set(self, text: str) -> None:
        self.text = text

    def clear(self) -> None:
        self.text = None


def pipeline(uuid: str, state: str = "finished", processed: int = 5, **more: Any) -> PipelineOverview:
    """An acquisition as a receiver tells it."""
    counts = Counts(expected=10, received=processed, processed=processed, saved=processed - 1)
    return PipelineOverview(uuid=uuid, pipeline="LimaProcessingLegacy", state=state, counts=counts, **more)


def receiver(rank: int, *pipelines: PipelineOverview) -> ReceiverOverview:
    """A receiver with these acquisitions."""
    return ReceiverOverview(
        state=AcqState.RUNNING,
        rank=rank,
        nb_receivers=2,
        host="acq1",
        pid=100 + rank,
        access_endpoint=f"tcp://acq1:600{rank}",
        budget_bytes=64 * MIB,
        used_bytes=3 * MIB,
        max_pipelines=4,
        pipelines=list(pipelines),
    )


SILENT = ConnectionLostError(f"{TWO} does not answer: its process has ended; start its server again")


class FakeReceivers:
    """Receivers that tell what they were given, and note what they are to erase."""

    def __init__(self, overviews: Overviews) -> None:
        self._overviews = overviews
        self.erased: list[tuple[str, Sequence[str]]] = []

    def overviews(self) -> Overviews:
        return self._overviews

    def erase(self, uuid: str, names: Sequence[str]) -> None:
        self.erased.append((uuid, names))


def sections(pipeline: str = "legacy") -> tuple[SettingsSection, SettingsSection]:
    """Settings of processing and smx."""
    return (
        SettingsSection("det.processing", ProcessingSettings, {"pipeline": pipeline}, Memory()),
        SettingsSection("det.smx", SmxSettings, {}, Memory()),
    )


def described(known: dict[str, MapDescription]) -> Callable[[str], MapDescription]:
    """A receiver that can read these files only."""

    def describe(path: str) -> MapDescription:
        if path not in known:
            raise ParameterError(f"map: there is no file {path} (on the receiver's host)")
        return known[path]

    return describe
