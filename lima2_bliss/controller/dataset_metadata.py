"""What the data policy's catalogue (ICAT) is told of a detector: fields and units of its detector groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

#: Fields that are in the catalogue as they are in scan files.
_SAME = (
    *("description", "manufacturer", "model", "layout", "local_name", "calibration_date", "acquisition_mode"),
    *("distance", "frame_time", "sensor_material", "sensor_thickness", "saturation_value", "bit_depth_readout"),
    *("threshold_energy", "flatfield_applied", "pixel_mask_applied", "countrate_correction_applied"),
)
#: Units of length that users may have given, in m.
_LENGTHS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}


def dataset_fields(
    name: str, metadata: Mapping[str, Any], known: Collection[str] | None = None, count_time: float | None = None
) -> dict[str, Any]:
    """Fields of an ICAT detector group, from those of the scan file.

    Units are those of the catalogue: pixel sizes in um, beam centre in m, all else as in scan files. ``known``: fields
    that this version of the catalogue has, None for all. ``count_time`` [s] of the last scan.
    """
    fields: dict[str, Any] = {"name": name, "type": "pixel"}
    fields |= {key: metadata[key] for key in _SAME if key in metadata}
    for key in ("distance", "sensor_thickness"):
        factor = _LENGTHS.get(str(metadata.get(f"{key}@units", "m")))
        if factor is not None and isinstance(metadata.get(key), (int, float)):
            fields[key] = metadata[key] * factor
    for axis in "xy":
        size, centre = metadata.get(f"{axis}_pixel_size"), metadata.get(f"beam_center_{axis}")
        if size is not None:
            fields[f"{axis}_pixel_size"] = round(size * 1e6, 9)
            if centre is not None and metadata.get(f"beam_center_{axis}@units") == "pixel":
                fields[f"beam_center_{axis}"] = centre * size
    if "mask" in metadata:
        fields["pixel_mask"] = metadata["mask"]["file"]
    if "correction" in metadata and "calibration" in metadata["correction"]:
        fields["calibration"] = metadata["correction"]["calibration"]
    if count_time is not None:
        fields["preset_time"] = count_time
    regions = {key: value for key, value in metadata.get("rois", {}).items() if not key.startswith("@")}
    if regions:
        numbers = (f"{key}={','.join(f'{number:g}' for number in roi['coordinates'])}" for key, roi in regions.items())
        fields["rois"] = {"name": " ".join(regions), "value": " ".join(numbers)}
    return {key: value for key, value in fields.items() if known is None or key in known}
