"""What the scan file says of the detector: an NXdetector group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lima2_bliss.controller.parameters import DetectorState


def detector_model(info: Mapping[str, Any]) -> str:
    """Plugin and model, each word once, from ``det_info``; "unknown" when that is empty."""
    words = [str(info[key]) for key in ("plugin", "model") if info.get(key)]
    return " ".join(dict.fromkeys(words)) or "unknown"


def detector_metadata(
    state: DetectorState,
    info: Mapping[str, Any],
    detector_shape: tuple[int, int] | None,
    user: Mapping[str, Any],
) -> dict[str, Any]:
    """NXdetector fields of a detector with these settings; ``info`` is its ``det_info`` (empty when unknown)."""
    metadata: dict[str, Any] = {
        "@NX_class": "NXdetector",
        "type": "lima",
        "description": detector_model(info),
    }
    if info.get("sn"):
        metadata["serial_number"] = str(info["sn"])
    pixel = info.get("pixel_size")
    binning = state.image.binning
    if pixel:
        swapped = state.image.rotation in ("90cw", "90ccw")
        x, y = float(pixel["x"]) * binning[0], float(pixel["y"]) * binning[1]
        metadata["x_pixel_size"], metadata["y_pixel_size"] = (y, x) if swapped else (x, y)
        metadata["x_pixel_size@units"] = metadata["y_pixel_size@units"] = "m"
    image: dict[str, Any] = {
        "@NX_class": "NXcollection",
        "binning": list(binning),
        "flip": state.image.flip,
        "rotation": state.image.rotation,
    }
    if state.image.roi is not None:
        image["roi"] = list(state.image.roi)
    if detector_shape is not None:
        height, width = state.transform(detector_shape).shape
        image["width"], image["height"] = width, height
        image["detector_width"], image["detector_height"] = detector_shape[1], detector_shape[0]
    metadata["geometry"] = image
    processing = {key: value for key, value in state.processing.model_dump(mode="json").items() if value is not None}
    metadata["processing"] = {"@NX_class": "NXcollection", **processing}
    if state.rois or state.profiles:
        regions = {
            name: {"@NX_class": "NXcollection", "kind": roi.kind, "coordinates": roi.numbers()}
            for name, roi in [*state.rois.items(), *state.profiles.items()]
        }
        metadata["rois"] = {"@NX_class": "NXcollection", **regions}
    metadata.update(user)
    return metadata
