"""What a detector tells of itself to scan files, master files and the data policy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from bliss import current_session
from bliss.common.protocols import HasMetadataForDataset, HasMetadataForScanExclusive
from bliss.common.utils import autocomplete_property

from lima2_bliss.client.nxdetector import timing
from lima2_bliss.contract import Lima2Error
from lima2_bliss.controller.accumulation import exposures
from lima2_bliss.controller.bliss_objects import BlissObjects
from lima2_bliss.controller.compatibility import TextSetting
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.dataset_metadata import dataset_fields
from lima2_bliss.controller.mask import Mask
from lima2_bliss.controller.metadata import detector_metadata, with_exposures
from lima2_bliss.controller.metadata_view import MetadataView
from lima2_bliss.controller.parameters import DetectorState, acquisition_parameters
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.sections import Sections

_log = logging.getLogger(__name__)


class DescribedDetector(HasMetadataForScanExclusive, HasMetadataForDataset):
    """`metadata` of a detector object, and what BLISS asks for scans and datasets."""

    name: str
    _connection: Connection
    _sections: Sections
    _mask: Mask

    def _make_metadata(self, given: Configuration) -> None:
        self._masked: dict[tuple[str, int], int] = {}
        self._described: dict[str, Any] = {}
        store = TextSetting(f"lima2:{given.name}:metadata")
        title = f"{given.name}.metadata"
        self._metadata = MetadataView(title, given.metadata, store, BlissObjects(), lambda: self.scan_metadata())

    @autocomplete_property
    def metadata(self) -> MetadataView:
        """What the next scan writes of the detector; `metadata.add` adds fields."""
        return self._metadata

    def scan_metadata(self) -> dict[str, Any]:
        """NXdetector fields for the scan file, as they are now."""
        readings: dict[str, Any] = {}
        info: dict[str, Any] = {}
        try:
            info = self._connection.info_now()
            readings = self._connection.client.status()
        except Lima2Error as error:
            _log.debug("%s: metadata goes without what control tells: %s", self.name, error)
        return detector_metadata(
            self._sections.now(),
            info,
            self._sections.detector_shape(),
            self._metadata.user_fields(),
            readings,
            self._masked_pixels(),
        )

    def describe_scan(self, metadata: dict[str, Any], state: DetectorState, request: ScanRequest) -> dict[str, Any]:
        """The fields with count times and trigger of a scan, whose master files will have them too."""
        each = exposures(state, request)
        acquisition = acquisition_parameters(state, request)
        self._described = {**with_exposures(metadata, each), **timing(acquisition["acq"], each.number)}
        return self._described

    def dataset_metadata(self) -> dict[str, Any] | None:
        """Fields of an ICAT detector group; None when the detector does not answer (and took no data)."""
        try:
            self._connection.info_now()
        except Lima2Error:
            return None
        count_time = self._described.get("count_time")
        return dataset_fields(self.name, self.scan_metadata(), _catalogue_fields(), count_time)

    def _masked_pixels(self) -> int | None:
        """Pixels that are masked; counted once for each version of the file that can be seen from here."""
        file = self._mask.file
        if file is None:
            return None
        try:
            version = Path(file.partition("::")[0]).stat().st_mtime_ns
        except OSError:
            version = 0
        if not version or (file, version) not in self._masked:
            try:
                found = self._mask.description()
            except Lima2Error as error:
                _log.debug("%s: the mask cannot be counted: %s", self.name, error)
                return None
            self._masked = {(file, version): 0 if found is None else found.nonzero}
        return self._masked[file, version]


def _catalogue_fields() -> set[str] | None:
    """Fields of a detector group in the session's version of the catalogue, None without a catalogue."""
    catalogue = getattr(current_session, "icat_metadata", None) if current_session else None
    group = getattr(getattr(catalogue, "definitions", None), "instrument", None)
    names = {name for name in dir(getattr(group, "detector01", None)) if not name.startswith("_")}
    return names if "name" in names else None
