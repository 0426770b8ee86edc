"""The regions of a detector in one scan: which counters they give, and how displays get to know where they are."""

from __future__ import annotations

from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.compatibility import add_device_below
from lima2_bliss.controller.roi_drawing import shape_for_display
from lima2_bliss.controller.rois import RoiTable


def left_out_counters(*tables: RoiTable[Any]) -> dict[str, str]:
    """Counters of regions that are left out with the present image settings, each with a sentence that says why."""
    return {
        counter: f"counter {counter!r} gives nothing, because ROI {name!r} is left out ({fault}); take the counter out"
        " of the scan, or change the ROI or the image settings"
        for table in tables
        for name, fault in table.left_out().items()
        for counter in table.counter_names(name)
    }


class RoisInScan:
    """Regions of ``device`` as they are when the scan is made."""

    def __init__(self, device: Any) -> None:
        self._name: str = device.name
        tables = {"roi_counters": device.roi_counters, "roi_profiles": device.roi_profiles}
        self._left_out = left_out_counters(*tables.values())
        self._shown = {
            kind: {name: shape_for_display(name, roi).to_dict() for name, roi in table.active().items()}
            for kind, table in tables.items()
        }

    def check(self, counter: str) -> None:
        """`ParameterError` when a counter of the scan is of a region that is left out."""
        if counter in self._left_out:
            raise ParameterError(f"{self._name}: {self._left_out[counter]}")

    def show(self, scan: Any, master: Any) -> None:
        """Have Flint draw the regions into the live image, before the scan is made known.

        Flint looks for regions in devices of these names below a detector of type `lima`.
        """
        for kind, regions in self._shown.items():
            if regions:
                add_device_below(scan, master, kind, regions)
