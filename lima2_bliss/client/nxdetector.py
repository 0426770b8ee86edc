"""NXdetector fields that follow from what an acquisition was prepared with, as plain trees.

In a tree ``name@units`` is the attribute ``units`` of field ``name``, and ``@NX_class`` the class of the group itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lima2_bliss.client.poni import beam_geometry
from lima2_bliss.client.sources import accumulation_depth
from lima2_bliss.contract import ImageTransform

#: Key of ``det_info`` under which a detector tells further NXdetector fields of its own.
NEXUS = "nexus"
#: h c [keV m]
_HC_KEV_M = 1.2398419843320026e-9
_ACQUISITION_MODES = {"gate": "gated", "external": "triggered", "software": "triggered"}

#: Names in the detector group of image files that hold what was measured, and how it was written.
RESERVED = frozenset(
    {"counts", "data", "dispatch", "frame_extras", "frame_flags", "frame_index", "is_hit", "local_name", "params"}
    | {"plot", "software", "timestamp", "acquisition_uuid", "frame_source", "detector_information", "receiver"}
    | {"backend", "conditioning", "packet_headers", "packet_mask", "packets", "image_transform", "receivers"}
    | {"acquisition", "geometry", "processing", "hit_finding", "rois", "type"}
    | {"hits", "peaks", "sparse_frames", "mean_images", "peak_images", "raw_frames", "image"}
)


def collection(values: Mapping[str, Any], nx_class: str = "NXcollection") -> dict[str, Any]:
    """A group of the values that are set; mappings in it become groups too."""
    return {"@NX_class": nx_class} | {
        key: collection(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None and value != {}
    }


def with_units(**fields: tuple[Any, str]) -> dict[str, Any]:
    """Fields with their units, as in ``with_units(distance=(0.1, "m"))``; None is left out."""
    told: dict[str, Any] = {}
    for name, (value, units) in fields.items():
        if value is not None:
            told |= {name: value, f"{name}@units": units}
    return told


def detector_fields(
    acquisition: Mapping[str, Any],
    processing: Mapping[str, Any],
    info: Mapping[str, Any],
    detector_shape: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """NXdetector fields of an acquisition with these parameters; ``info`` is ``det_info``, empty when unknown.

    ``detector_shape`` (height, width) of the raw frames, None for what ``info`` says.
    """
    size = info.get("dimensions")
    if detector_shape is None and isinstance(size, Mapping):
        detector_shape = int(size["y"]), int(size["x"])
    transform = image_transform(acquisition, detector_shape)
    fields = {"@NX_class": "NXdetector"} | identity(info) | pixel_size(info, transform)
    if "acq" in acquisition:
        fields |= timing(acquisition["acq"], accumulation_depth(processing))
    poni = (processing.get("fai") or {}).get("poni_path")
    return fields | beam(poni or None, info, transform)


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """Which detector it is, and what it tells of itself."""
    told = {"description": detector_model(info), "layout": "area"}
    if info.get("sn"):
        told["serial_number"] = str(info["sn"])
    return told | dict(info.get(NEXUS) or {})


def detector_model(info: Mapping[str, Any]) -> str:
    """Plugin and model, each word once, from ``det_info``; "unknown" when that is empty."""
    plugin, model = (str(info.get(key) or "") for key in ("plugin", "model"))
    return (model if model.startswith(plugin) else f"{plugin} {model}").strip() or "unknown"


def image_transform(acquisition: Mapping[str, Any], detector_shape: tuple[int, int] | None) -> ImageTransform:
    """The way from a detector pixel to an image pixel; sizes are (0, 0) when the detector's is not known."""
    image = acquisition.get("img") or {}
    binning, roi = image.get("binning") or {}, image.get("roi") or {}
    corner, sides = roi.get("topleft") or {}, roi.get("dimensions") or {}
    cut = (int(corner.get("x", 0)), int(corner.get("y", 0)), int(sides.get("x", 0)), int(sides.get("y", 0)))
    return ImageTransform(
        detector_shape or (0, 0),
        (int(binning.get("x", 1)), int(binning.get("y", 1))),
        cut if cut[2] and cut[3] else None,
        image.get("flip", "none"),
        image.get("rotation", "none"),
    )


def raw_pixel(info: Mapping[str, Any]) -> tuple[float, float] | None:
    """Sides (x, y) of a detector pixel [m]."""
    size = info.get("pixel_size")
    return (float(size["x"]), float(size["y"])) if size else None


def pixel_size(info: Mapping[str, Any], transform: ImageTransform) -> dict[str, Any]:
    """Sides of an image pixel, after binning and rotation."""
    pixel = raw_pixel(info)
    if pixel is None:
        return {}
    x, y = pixel[0] * transform.binning[0], pixel[1] * transform.binning[1]
    if transform.rotation in ("90cw", "90ccw"):
        x, y = y, x
    return with_units(x_pixel_size=(x, "m"), y_pixel_size=(y, "m"))


def timing(acq: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Count time of an image, and what starts frames; ``acq`` in microseconds as control takes it.

    An image has ``depth`` exposures. ``frame_time`` is told when the detector itself sets the pace.
    """
    exposure, latency = float(acq["expo_time"]) * 1e-6, float(acq.get("latency_time", 0)) * 1e-6
    trigger = str(acq.get("trigger_mode", "internal"))
    told = with_units(
        count_time=(round(exposure * depth, 9), "s"),
        sub_exposure_time=(round(exposure, 9), "s"),
        dead_time=(round(latency, 9), "s"),
        frame_time=(round((exposure + latency) * depth, 9) if trigger == "internal" else None, "s"),
    )
    mode = "summed" if depth > 1 else _ACQUISITION_MODES.get(trigger)
    told |= {"trigger_mode": trigger, "number_of_cycles": depth} | ({} if mode is None else {"acquisition_mode": mode})
    if trigger != "internal":
        told["frames_per_trigger"] = int(acq.get("nb_frames_per_trigger", 1)) // depth
    return told


def beam(poni: str | None, info: Mapping[str, Any], transform: ImageTransform) -> dict[str, Any]:
    """Distance, beam centre and wavelength, as far as the PONI file can be read here.

    The centre is in image pixels, from the outer corner of the first one; the file's own numbers are of raw pixels.
    """
    found = None if poni is None else beam_geometry(poni, raw_pixel(info))
    if found is None:
        return {}
    told = with_units(distance=(found.distance_m, "m"))
    if found.beam_x_px is not None and found.beam_y_px is not None and _is_known(transform):
        x, y = transform.to_image(found.beam_x_px - 0.5, found.beam_y_px - 0.5)
        told |= with_units(beam_center_x=(x + 0.5, "pixel"), beam_center_y=(y + 0.5, "pixel"))
    if found.wavelength_m is not None:
        told["beam"] = wavelength_fields(found.wavelength_m)
    units = {name: (value, "rad" if name.startswith("rot") else "m") for name, value in found.poni.items()}
    told["poni"] = {"@NX_class": "NXcollection", "file": poni} | with_units(**units)
    return told


def _is_known(transform: ImageTransform) -> bool:
    """Whether the place of a pixel in the image can be told: flips and turns need the size."""
    return transform.detector_shape != (0, 0) or (transform.flip, transform.rotation) == ("none", "none")


def wavelength_fields(wavelength_m: float) -> dict[str, Any]:
    """NXbeam of photons with this wavelength."""
    return {"@NX_class": "NXbeam"} | with_units(
        incident_wavelength=(wavelength_m, "m"), incident_energy=(_HC_KEV_M / wavelength_m, "keV")
    )


def energy_fields(energy_kev: float) -> dict[str, Any]:
    """NXbeam of photons with this energy."""
    return wavelength_fields(_HC_KEV_M / energy_kev)


def for_files(fields: Mapping[str, Any], raw: bool = False) -> dict[str, Any]:
    """The fields that can stand beside the frames in image files; ``raw`` frames are no images yet."""
    geometry = ("beam_center_x", "beam_center_y") if raw else ()
    return {
        key: value
        for key, value in fields.items()
        if not key.startswith("@") and (name := key.partition("@")[0]) not in RESERVED and name not in geometry
    }
