"""What the scan file says of the detector: an NXdetector group."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from typing import Any

from lima2_bliss import __version__
from lima2_bliss.client.counts_table import counts_table
from lima2_bliss.client.nxdetector import (
    collection,
    detector_fields,
    detector_model,
    energy_fields,
    wavelength_fields,
    with_units,
)
from lima2_bliss.controller.accumulation import Exposures
from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.user_fields import merged, quantity

__all__ = ["detector_metadata", "detector_model", "outcome_metadata", "with_exposures"]

#: What detectors tell of their surroundings, with units; see `det_status`.
_READINGS = {"temperature": "degC", "humidity": "%", "high_voltage": "V"}


def detector_metadata(
    state: DetectorState,
    info: Mapping[str, Any],
    detector_shape: tuple[int, int] | None,
    user: Mapping[str, Any],
    readings: Mapping[str, Any] | None = None,
    masked_pixels: int | None = None,
) -> dict[str, Any]:
    """NXdetector fields of a detector with these settings; ``info`` is its ``det_info`` (empty when unknown).

    ``user``: fields of users, references read. ``readings``: its ``det_status``.
    """
    given = dict(user)
    metadata = detector_fields(_image_parameters(state), _geometry_parameters(state, given), info, detector_shape)
    metadata["type"] = "lima"
    metadata["geometry"] = _image(state, detector_shape)
    metadata["processing"] = collection(state.processing.model_dump(mode="json"))
    if state.processing.pipeline == "smx":
        metadata["hit_finding"] = collection(state.smx.model_dump(mode="json"))
    metadata |= _mask(state, masked_pixels)
    if state.rois or state.profiles:
        metadata["rois"] = collection(
            {
                name: {"kind": roi.kind, "coordinates": roi.numbers()}
                for name, roi in [*state.rois.items(), *state.profiles.items()]
            }
        )
    conditions = _conditions(readings or {})
    if conditions:
        metadata["conditions"] = collection(conditions)
    metadata["software"] = collection(_software())
    metadata = _with_quantities(metadata, given)
    if state.processing.pipeline == "smx" and "incident_wavelength" in metadata.get("beam", {}):
        wavelength = metadata["beam"]["incident_wavelength"]
        metadata["hit_finding"] |= {"wavelength": wavelength, "wavelength@units": "m"}
    return merged(metadata, given)


def _image_parameters(state: DetectorState) -> dict[str, Any]:
    """What the parameters of any scan say of the image."""
    image = state.image
    x, y, width, height = image.roi or (0, 0, 0, 0)
    roi = {"topleft": {"x": x, "y": y}, "dimensions": {"x": width, "y": height}}
    binning = {"x": image.binning[0], "y": image.binning[1]}
    return {"img": {"binning": binning, "roi": roi, "flip": image.flip, "rotation": image.rotation}}


def _geometry_parameters(state: DetectorState, given: dict[str, Any]) -> dict[str, Any]:
    """Where the PONI file is: that of pipeline smx, for others that of the user."""
    poni = given.pop("poni", None)
    if state.processing.pipeline == "smx":
        poni = state.smx.poni or poni
    return {"fai": {"poni_path": poni}}


def _image(state: DetectorState, detector_shape: tuple[int, int] | None) -> dict[str, Any]:
    """How the image comes from the detector's pixels."""
    image = state.image
    told: dict[str, Any] = {"binning": list(image.binning), "flip": image.flip, "rotation": image.rotation}
    if image.roi is not None:
        told["roi"] = list(image.roi)
    if detector_shape is not None:
        told["height"], told["width"] = state.transform(detector_shape).shape
        told["detector_height"], told["detector_width"] = detector_shape
    return collection(told)


def _mask(state: DetectorState, masked_pixels: int | None) -> dict[str, Any]:
    """Which pixels do not count, and which corrections the images had."""
    smx = state.processing.pipeline == "smx"
    file = state.smx.mask if smx else state.processing.mask
    told: dict[str, Any] = {"pixel_mask_applied": file is not None}
    told["flatfield_applied"] = (state.smx.flat if smx else state.processing.flatfield) is not None
    if file is not None:
        told["mask"] = collection({"file": file, "masked_pixels": masked_pixels})
    return told


def _conditions(readings: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in readings.items():
        units = next((units for kind, units in _READINGS.items() if name.startswith(kind)), None)
        if units is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
            told |= {name: value, f"{name}@units": units}
    return told


@cache
def _software() -> dict[str, str]:
    """Versions of what took the data."""
    versions = {"lima2_bliss": __version__}
    for name in ("bliss", "blissdata"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _with_quantities(metadata: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Energy (or wavelength) and distance of users, in place of those of the PONI file; distance is taken out."""
    told = dict(metadata)
    for name, make in (("energy", energy_fields), ("wavelength", wavelength_fields)):
        value = quantity(name, given)
        if value is not None:
            told["beam"] = make(value)
    distance = quantity("distance", given)
    if distance is not None:
        told |= with_units(distance=(distance, "m"))
    given.pop("distance", None)
    given.pop("distance@units", None)
    return told


def with_exposures(metadata: dict[str, Any], each: Exposures) -> dict[str, Any]:
    """NXdetector fields with those of the exposures of an image: count_time is when it sees the beam."""
    processing = {**metadata.get("processing", {}), "accumulation": each.number}
    times = {
        "count_time": each.live_s,
        "sub_exposure_time": each.exposure_us * 1e-6,
        "dead_time": each.latency_us * 1e-6,
        "image_period": each.real_s,
    }
    units = {f"{name}@units": "s" for name in times}
    return {**metadata, "processing": processing, **times, **units}


def outcome_metadata(outcome: Outcome, request: ScanRequest) -> dict[str, Any]:
    """NXcollection with what an acquisition gave, once its status is known; arrays have an item per receiver."""
    status, publication = outcome.status, outcome.publication
    assert status is not None
    receivers = counts_table(status.receivers)
    if publication is not None and len(publication.received) == len(status.receivers):
        receivers["published"] = list(publication.received)
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
        "receivers": receivers,
    }
    if publication is not None:
        fields["images_published"] = publication.rows
    if status.intake:
        fields["reception"] = {"@NX_class": "NXcollection", **status.intake}
    if outcome.hits is not None:
        hits = outcome.hits
        fields |= {"hits": hits.hits, "hit_rate": hits.hit_rate, "spots_in_hits": hits.spots}
        fields |= {"sparse_pixels": hits.pixels, "reduction": hits.reduction}
    if outcome.files or outcome.pending:
        fields["saving_when_scan_ended"] = "going on" if outcome.pending else "complete"
    if outcome.pending:
        fields["files_when_saved"] = {"@NX_class": "NXcollection"} | {
            name: str(path) for name, path in outcome.pending.items()
        }
    if outcome.files:
        fields["files"] = {"@NX_class": "NXcollection"} | {name: str(path) for name, path in outcome.files.items()}
    return fields
