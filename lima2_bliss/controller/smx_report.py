"""The settings of the SMX pipeline as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from lima2_bliss.client.poni import beam_geometry
from lima2_bliss.controller.smx_settings import GEOMETRY_ARRAYS, SmxSettings


def geometry_words(smx: SmxSettings, pixel_m: tuple[float, float] | None = None) -> str:
    """Where the radial background comes from; ``pixel_m`` (x, y) of the detector, if known."""
    if smx.poni is None:
        ready = [smx.arrays[name] for name in GEOMETRY_ARRAYS if name in smx.arrays]
        return f"arrays of {', '.join(dict.fromkeys(ready))}" if ready else "none: set .smx.poni before a scan"
    words = [f"{smx.poni}, {smx.bins} bins of {smx.unit}"]
    if smx.radius_range is not None:
        low, high = smx.radius_range
        words.append(f"radius from {low:g}" + (f" to {high:g}" if high else ""))
    beam = beam_geometry(smx.poni, pixel_m)
    if beam is not None:
        words.append(f"distance {beam.distance_m:.6g} m")
        if beam.beam_x_px is not None and beam.beam_y_px is not None:
            # pyFAI counts from the pixel's corner; regions and spots, here as elsewhere, from its centre
            words.append(f"beam at x={beam.beam_x_px - 0.5:.1f} y={beam.beam_y_px - 0.5:.1f} px")
    return ", ".join(words)


def correction_words(smx: SmxSettings) -> str:
    """What is done to the pixel values."""
    files = (("mask", smx.mask), ("dark", smx.dark), ("flat field", smx.flat))
    words = [f"{name} {file}" for name, file in files if file is not None]
    if smx.solid_angle:
        words.append("solid angle")
    if smx.polarization is not None:
        words.append(f"polarization {smx.polarization:g}")
    words += [f"{name} {file}" for name, file in smx.arrays.items() if name not in GEOMETRY_ARRAYS]
    return "; ".join(words) or "none"


def background_words(smx: SmxSettings) -> str:
    """How the background is found, and which pixels are kept above it."""
    clip = f"{smx.cutoff_clip:g} deviations" if smx.cutoff_clip else "Chauvenet's criterion"
    return (
        f"clipped {smx.cycle} times at {clip} ({smx.error_model}); pixels kept above {smx.cutoff_pick:g} deviations,"
        f" noise {smx.noise:g}"
    )


def hit_words(smx: SmxSettings) -> str:
    """What is a spot, and what a hit."""
    side = smx.patch_size
    return (
        f"spots of >= {smx.connected} pixels above {smx.cutoff_peak:g} deviations in {side} x {side};"
        f" >= {smx.min_spots} spots are a hit"
    )


def selection_words(smx: SmxSettings) -> str:
    """Which frames are saved, if scans are."""
    words = [
        f"full frames: {_selected(smx, smx.save_dense, smx.dense_every)}",
        f"sparse frames: {_selected(smx, smx.save_sparse, smx.sparse_every)}",
    ]
    if smx.save_accumulated and smx.accumulated_every:
        words.append("mean and peak images")
    return "; ".join(words)


def _selected(smx: SmxSettings, save: str, every: int) -> str:
    if save == "every_nth":
        return f"each {every}th"
    if save != "hits":
        return save
    beside = [
        f"{number} {where}" for number, where in ((smx.keep_before, "before"), (smx.keep_after, "after")) if number
    ]
    if every:
        beside.append(f"each {every}th")
    return " and ".join(["hits", *beside])


def smx_lines(smx: SmxSettings, pixel_m: tuple[float, float] | None = None) -> Sequence[str]:
    """Lines for the report of a detector."""
    return [
        f"  Geometry:   {geometry_words(smx, pixel_m)}",
        f"  Correction: {correction_words(smx)}",
        f"  Background: {background_words(smx)}",
        f"  Hits:       {hit_words(smx)}",
        f"  Saved:      {selection_words(smx)}",
    ]
