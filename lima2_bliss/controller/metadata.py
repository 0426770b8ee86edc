"""What the scan file says of the detector: an NXdetector group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.poni import beam_geometry
from lima2_bliss.controller.scan_request import ScanRequest


def detector_model(info: Mapping[str, Any]) -> str:
    """Plugin and model, each word once, from ``det_info``; "unknown" when that is empty."""
    plugin, model = (str(info.get(key) or "") for key in ("plugin", "model"))
    return (model if model.startswith(plugin) else f"{plugin} {model}").strip() or "unknown"


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
    metadata["processing"] = _collection(state.processing.model_dump(mode="json"))
    if state.processing.pipeline == "smx":
        metadata["hit_finding"] = _collection(state.smx.model_dump(mode="json"))
        _add_beam(metadata, state, pixel)
    if state.rois or state.profiles:
        regions = {
            name: {"@NX_class": "NXcollection", "kind": roi.kind, "coordinates": roi.numbers()}
            for name, roi in [*state.rois.items(), *state.profiles.items()]
        }
        metadata["rois"] = {"@NX_class": "NXcollection", **regions}
    metadata.update(user)
    return metadata


def _collection(values: Mapping[str, Any]) -> dict[str, Any]:
    """An NXcollection of the values that are set."""
    return {"@NX_class": "NXcollection"} | {
        key: _collection(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None and value != {}
    }


def _add_beam(metadata: dict[str, Any], state: DetectorState, pixel: Mapping[str, Any] | None) -> None:
    """Distance and beam centre of NXdetector, as far as the PONI file can be read here."""
    size = (float(pixel["x"]), float(pixel["y"])) if pixel else None
    beam = None if state.smx.poni is None else beam_geometry(state.smx.poni, size)
    if beam is None:
        return
    metadata |= {"distance": beam.distance_m, "distance@units": "m"}
    for axis, place in (("x", beam.beam_x_px), ("y", beam.beam_y_px)):
        if place is not None:
            metadata |= {f"beam_center_{axis}": place, f"beam_center_{axis}@units": "pixel"}
    if beam.wavelength_m is not None:
        metadata["hit_finding"] |= {"wavelength": beam.wavelength_m, "wavelength@units": "m"}


def outcome_metadata(outcome: Outcome, request: ScanRequest) -> dict[str, Any]:
    """NXcollection with what an acquisition gave, once its status is known."""
    status = outcome.status
    assert status is not None
    fields: dict[str, Any] = {
        "@NX_class": "NXcollection",
        "uuid": outcome.uuid,
        "frames_received": status.received,
        "frames_lost": status.lost,
        "images_processed": status.processed,
        "images_invalid": status.invalid,
        "images_saved": max(status.saved - status.vetoed, 0),
        "exposure_time": request.expo_time,
        "exposure_time@units": "s",
        "trigger_mode": request.trigger,
    }
    if status.intake:
        fields["reception"] = {"@NX_class": "NXcollection", **status.intake}
    if outcome.hits is not None:
        hits = outcome.hits
        fields |= {"hits": hits.hits, "hit_rate": hits.hit_rate, "spots_in_hits": hits.spots}
        fields |= {"sparse_pixels": hits.pixels, "reduction": hits.reduction}
    if outcome.files:
        fields["files"] = {"@NX_class": "NXcollection"} | {name: str(path) for name, path in outcome.files.items()}
    return fields
