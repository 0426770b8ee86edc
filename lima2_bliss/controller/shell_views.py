"""What a detector offers in the shell beside its settings: its processes, its mask, its acquisitions, its sets."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from bliss.common.utils import autocomplete_property

from lima2_bliss.client.overview import Receivers
from lima2_bliss.contract import RoundRobin
from lima2_bliss.controller.compatibility import TextSetting
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.mask import Mask
from lima2_bliss.controller.pipelines import Pipelines
from lima2_bliss.controller.receivers_report import ReceiversReport
from lima2_bliss.controller.sections import Sections
from lima2_bliss.controller.settings_sets import SettingsSets
from lima2_bliss.controller.topology_report import Topology
from lima2_bliss.controller.unsaved_scans import UnsavedScans

#: Acquisitions whose scan is remembered; receivers keep fewer.
_SCANS_KNOWN = 64


class ShellViews:
    """`topology`, `receivers`, `mask`, `pipelines` and `settings` of a detector object."""

    def _make_views(self, given: Configuration, connection: Connection, sections: Sections) -> None:
        name = given.name
        receivers = Receivers(given.receivers)
        self._scans: OrderedDict[str, str] = OrderedDict()

        def dispatch() -> RoundRobin:
            processing = sections.now().processing
            block = processing.accumulation if processing.pipeline == "legacy" else 1
            return RoundRobin(len(given.receivers), block)

        self._topology = Topology(given, receivers.overviews, dispatch)
        self._receivers = ReceiversReport(f"{name}.receivers", given.receivers, receivers.overviews)
        self._mask = Mask(
            f"{name}.mask", sections.processing, sections.smx, receivers.describe_map, sections.detector_shape
        )
        self._unsaved = UnsavedScans(name, self._scans)
        self._pipelines = Pipelines(f"{name}.pipelines", receivers, self._scans, connection.client, self._unsaved)
        self._settings_sets = SettingsSets(f"{name}.settings", sections, TextSetting(f"lima2:{name}:sets"))

    def name_acquisition(self, uuid: str, scan: str) -> None:
        """Remember which scan an acquisition belongs to."""
        self._scans[uuid] = scan
        while len(self._scans) > _SCANS_KNOWN:
            self._scans.popitem(last=False)

    @property
    def unsaved_scans(self) -> UnsavedScans:
        """Scans that ended before their images were saved."""
        return self._unsaved

    @autocomplete_property
    def topology(self) -> Topology:
        """The processes of the detector, and which receiver takes which image."""
        return self._topology

    @autocomplete_property
    def receivers(self) -> ReceiversReport:
        """State, frames, ring and memory of each receiver."""
        return self._receivers

    @autocomplete_property
    def mask(self) -> Mask:
        """The pixel mask, for both pipelines; ``det.mask = "file"`` sets it, None is no mask."""
        return self._mask

    @mask.setter  # type: ignore[no-redef]
    def mask(self, path: str | Path | None) -> None:
        self._mask.set(path)

    @autocomplete_property
    def pipelines(self) -> Pipelines:
        """The acquisitions alive on the receivers."""
        return self._pipelines

    @autocomplete_property
    def settings(self) -> SettingsSets:
        """Settings kept under names: save, load, compare."""
        return self._settings_sets
