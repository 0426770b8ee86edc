"""Where the bins of the radial background lie: as resolution when the scan tells its geometry, else as bin numbers."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from lima2_bliss.contract import Lima2Error
from lima2_bliss.monitor.describing import device_metadata
from lima2_bliss.monitor.model import Geometry
from lima2_bliss.monitor.pixel_places import bin_radii, inverse_spacings
from lima2_bliss.publishing.common_streams import IMAGE
from lima2_bliss.publishing.readers import DetectorData

_log = logging.getLogger(__name__)

#: The file of sparse frames is looked for so often.
_AGAIN_S = 5.0
RESOLUTION_AXIS = "1/d [1/nm]"


class BackgroundAxis:
    """Bins of the detector of a scan. They are exactly in the file of sparse frames, as soon as there is one; until
    then, for a detector that is not tilted, they are computed."""

    def __init__(self, scan: Any, detector: str, where: Geometry | None) -> None:
        self._scan = scan
        self._detector = detector
        self._where = where
        self._unit = str(device_metadata(scan.info, detector).get("hit_finding", {}).get("unit", ""))
        self._computed: np.ndarray | None = None
        self._exact: np.ndarray | None = None
        self._due = 0.0

    def places(self, nb_bins: int, now: bool = False) -> tuple[np.ndarray, str]:
        """(place of each bin, what it is); ``now``: look for the file also if that was done a moment ago."""
        if self._where is not None and self._unit:
            self._look(nb_bins, now)
            radii = self._exact if self._exact is not None else self._computed
            places = None if radii is None else inverse_spacings(radii, self._unit, self._where)
            if places is not None and len(places) == nb_bins:
                return places, RESOLUTION_AXIS
        return np.arange(nb_bins) + 0.5, "radial bin"

    def _look(self, nb_bins: int, now: bool) -> None:
        if self._exact is not None or (time.monotonic() < self._due and not now):
            return
        self._due = time.monotonic() + _AGAIN_S
        try:
            with DetectorData(self._scan, self._detector) as data:
                if self._computed is None and self._where is not None:
                    shape = data.stream(IMAGE).info["shape"]
                    size = (int(shape[-2]), int(shape[-1]))
                    radii = bin_radii(self._scan.info, self._detector, self._where, size, nb_bins)
                    self._computed = np.empty(0) if radii is None else radii
                self._exact = np.asarray(data.sparse_info().radius, float)
        except (Lima2Error, KeyError, OSError) as error:
            _log.debug("bins of %s are not in a file yet: %s", self._detector, error)
