"""Where the writer of scan files differs, and what of it we rely on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bliss.common.counter import Counter
from bliss.controllers.lima.image import ImageCounter


def install_blisswriter_names() -> None:
    """Give blisswriter 1.0 the counter classes where it looks for them (BLISS 2.1 moved them to another module)."""
    from bliss.controllers.lima import counters, roi

    for name in ("RoiStatCounter", "RoiProfileCounter", "RoiCollectionCounter"):
        if not hasattr(roi, name):
            setattr(roi, name, getattr(counters, name))


class NexusDetectorCounter(ImageCounter):
    """A counter whose data blisswriter puts into the one NXdetector group of its detector.

    blisswriter recognises this by the class `ImageCounter`; nothing else of that class is used.
    """

    def __init__(self, name: str, controller: Any, unit: str | None, dtype: Any) -> None:
        Counter.__init__(self, name, controller, unit=unit, dtype=dtype)

    @property
    def dtype(self) -> Any:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def __info__(self) -> str:
        return str(Counter.__info__(self))


def _scan_url_info() -> Any:
    """Where blisswriter tells the files of a scan: another place from BLISS 2.3 on."""
    try:
        from blisswriter.mapping import scan_url_info
    except ModuleNotFoundError:
        from blisswriter.writer import scan_url_info
    return scan_url_info


def _group_name(name: str) -> str:
    """The name of a device's group in the scan file: what is neither letter nor digit becomes an underscore."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII)


class ScanFile:
    """The file of a scan, and what its writer is told of it in the scan's metadata.

    blisswriter makes a link of each metadata key that begins with ``>``; the value is ``/path`` or ``file::/path``.
    """

    def __init__(self, scan: Any) -> None:
        self._scan_info = scan.scan_info

    def path(self) -> Path:
        """The file that holds the scan itself, where another file only links to it."""
        return Path(_scan_url_info().scan_filename(self._scan_info, raw=True))

    def detector_group(self, detector: str) -> str:
        """HDF5 path of a detector's group; a scan has one NXentry for each top master, in the order of their names."""
        chains = self._scan_info["acquisition_chain"]
        with_it = [number for number, chain in enumerate(sorted(chains), 1) if self._has(chains[chain], detector)]
        return f"/{self._scan_info['scan_nb']}.{with_it[0]}/instrument/{_group_name(detector)}"

    def _has(self, chain: dict[str, Any], detector: str) -> bool:
        devices = self._scan_info["devices"]
        channels = [channel for device in chain["devices"] for channel in devices[device].get("channels", ())]
        return any(channel.startswith(f"{detector}:") for channel in channels)

    def add_to_measurement(self, links: dict[str, str]) -> None:
        """Further members of the ``measurement`` group; those that exist already stay as they are."""
        group = self._scan_info.setdefault("measurement", {"@NX_class": "NXcollection"})
        group.update(links)
        categories = self._scan_info.get("scan_meta_categories", [])
        if "measurement" not in categories:
            self._scan_info["scan_meta_categories"] = [*categories, "measurement"]

    def put_in_detector_group(self, channel: str) -> None:
        """Have the writer put a channel that belongs to no counter where those of the detector's counters go."""
        devices = self._scan_info.setdefault("nexuswriter", {}).setdefault("devices", {})
        devices[channel] = {"device_info": {"type": "lima"}, "device_type": "lima"}
