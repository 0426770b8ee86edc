"""What a scan's info says of a detector: geometry, parameters, final counts; and the scan's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lima2_bliss.monitor.model import Alarm, Counts, Geometry

#: Of the scan itself, what the page shows.
_SCAN_KEYS = ("type", "title", "npoints", "count_time", "user_name", "filename", "start_time", "end_time", "end_reason")
#: Metadata that is not for people: NeXus classes, links.
_HIDDEN = ("@", ">")


def device_metadata(info: Mapping[str, Any], detector: str) -> Mapping[str, Any]:
    """Metadata that a detector has given to its scan; empty when there are none."""
    for device in info.get("devices", {}).values():
        if device.get("name") == detector and isinstance(device.get("metadata"), Mapping):
            metadata: Mapping[str, Any] = device["metadata"]
            return metadata
    return {}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not for people; a unit is written behind its value."""
    told: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(_HIDDEN) or "@" in name:
            continue
        unit = values.get(f"{name}@units")
        told[name] = _plain(value) if isinstance(value, Mapping) else f"{value} {unit}" if unit else value
    return told


def described(info: Mapping[str, Any], detector: str) -> dict[str, Any]:
    """Scan and detector for the page: nested names and values."""
    scan = {key: info[key] for key in _SCAN_KEYS if info.get(key) not in (None, "")}
    metadata = dict(device_metadata(info, detector))
    noted = metadata.pop("acquisition", {})  # its receivers have a table of their own
    metadata |= {"outcome": {key: value for key, value in noted.items() if key != "receivers"}} if noted else {}
    return {"scan": scan, detector: _plain(metadata)}


def geometry(info: Mapping[str, Any], detector: str) -> Geometry | None:
    """Where the beam meets the image; None unless the scan says all of it.

    NeXus counts pixels from the corner of the first, we from its centre.
    """
    metadata = device_metadata(info, detector)
    wavelength = metadata.get("beam", {}).get("incident_wavelength")
    names = ("beam_center_x", "beam_center_y", "distance", "x_pixel_size")
    if not wavelength or any(metadata.get(name) is None for name in names):
        return None
    x, y, distance, pixel = (float(metadata[name]) for name in names)
    if distance <= 0 or pixel <= 0:
        return None
    return Geometry(x - 0.5, y - 0.5, distance, pixel, float(wavelength) * 1e9)


def final_counts(info: Mapping[str, Any], detector: str) -> Counts | None:
    """Counts of each receiver as the scan has noted them at its end."""
    table = device_metadata(info, detector).get("acquisition", {}).get("receivers", {})
    columns = {
        name: values for name, values in table.items() if isinstance(values, Sequence) and name[0] not in _HIDDEN
    }
    if "name" not in columns:
        return None
    names = ["receiver", *(name for name in columns if name != "name")]
    rows = [list(row) for row in zip(columns.pop("name"), *columns.values(), strict=True)]
    return Counts(names, rows)


def fifo_places(info: Mapping[str, Any], detector: str) -> int:
    """Places for frames that wait on each receiver; 0: not known."""
    return int(device_metadata(info, detector).get("processing", {}).get("nb_fifo_frames") or 0)


def bad_end(info: Mapping[str, Any]) -> tuple[Alarm, ...]:
    """Says how a scan has ended, unless well; none while it runs."""
    alarms = {
        "FAILURE": Alarm("bad", "the scan has failed"),
        "DELETION": Alarm("bad", "the scan was given up"),
        "USER_ABORT": Alarm("warn", "the scan was stopped by its user"),
    }
    end = str(info.get("end_reason", ""))
    return (alarms[end],) if end in alarms else ()


def hit_map_axes(info: Mapping[str, Any], streams: Sequence[str]) -> list[str]:
    """Streams of the two motors of a raster, the fast one first; empty when the scan is none.

    BLISS says of each axis of a mesh which one it is; other scans have a map if they have exactly two axes.
    """
    channels = info.get("channels", {})
    numbered = sorted((channels.get(name, {}).get("axis_id", 0), name) for name in streams)
    return [name for _, name in numbered] if len(numbered) == 2 else []


def axis_grids(info: Mapping[str, Any], axes: Sequence[str]) -> dict[str, tuple[float, float, int]]:
    """(first place, last place, how many) of the axes of which the scan says it; at most 512 places."""
    grids = {}
    for name in axes:
        told = info.get("channels", {}).get(name, {})
        start, stop, number = (told.get(key) for key in ("start", "stop", "axis_points"))
        if start is not None and stop is not None and number and start != stop:
            grids[name] = (float(start), float(stop), min(int(number), 512))
    return grids


def frames_per_point(info: Mapping[str, Any], detector: str) -> int:
    """Frames that the detector takes at each point of a step scan."""
    number = device_metadata(info, detector).get("frames_per_point", 1)
    return int(number) if isinstance(number, int | float) and number >= 1 else 1
