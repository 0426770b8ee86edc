"""From the settings of the SMX pipeline to its parameters, and what does not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import (
    Compute,
    Fai,
    Fifo,
    Peaks,
    Profiles,
    Saving,
    SmxBuffers,
    SmxParameters,
    Statistics,
    Threads,
    Veto,
)
from lima2_bliss.controller.settings_models import ImageSettings, ProcessingSettings, RawSelection
from lima2_bliss.controller.smx_settings import GEOMETRY_ARRAYS, Selection, SmxSettings

#: Maps of the legacy pipeline and what takes their place.
_OTHER_MAPS = {"mask": "smx.mask", "background": "smx.dark", "flatfield": "smx.flat"}


def check_smx(name: str, smx: SmxSettings, image: ImageSettings, processing: ProcessingSettings) -> None:
    """One `ParameterError` with all that keeps a scan of detector ``name`` from being processed by smx."""
    faults = [
        *_not_with_smx(image, processing, smx.mask),
        *_geometry_faults(smx),
        *_selection_faults(smx),
        *_spot_faults(smx),
    ]
    if faults:
        raise ParameterError(f"{name}: " + "; ".join(faults))


def _not_with_smx(image: ImageSettings, processing: ProcessingSettings, mask: str | None) -> Iterator[str]:
    plain = ImageSettings()
    changed = [
        f"image.{field} = {getattr(image, field)!r}"
        for field in ImageSettings.model_fields
        if getattr(image, field) != getattr(plain, field)
    ]
    if processing.accumulation > 1:
        changed.append(f"processing.accumulation = {processing.accumulation}")
    if processing.max_exposure is not None:
        changed.append(f"processing.max_exposure = {processing.max_exposure:g}")
    if processing.max_countrate is not None:
        changed.append(f"processing.max_countrate = {processing.max_countrate:g}")
    if changed:
        yield (
            f"{', '.join(changed)} cannot be used with pipeline smx, which works on each full raw frame;"
            " set back or choose processing.pipeline = 'legacy'"
        )
    for field, instead in _OTHER_MAPS.items():
        if field == "mask" and processing.mask == mask:
            continue  # det.mask gives both pipelines the same
        if getattr(processing, field) is not None:
            yield (
                f"processing.{field} = {getattr(processing, field)!r} is of pipeline legacy;"
                f" set it to None, and use {instead}"
            )


def _geometry_faults(smx: SmxSettings) -> Iterator[str]:
    ready = [array for array in GEOMETRY_ARRAYS if array in smx.arrays]
    lacking = [array for array in GEOMETRY_ARRAYS if array not in smx.arrays]
    if smx.poni is not None and ready:
        yield f"smx.poni and smx.arrays ({', '.join(ready)}) both give the geometry; remove one of them"
    elif smx.poni is None and not ready:
        yield f"smx.poni is not set; give the PONI file of pyFAI, or {', '.join(GEOMETRY_ARRAYS)} in smx.arrays"
    elif smx.poni is None and lacking:
        yield f"smx.arrays lacks {', '.join(lacking)}; give {', '.join(GEOMETRY_ARRAYS)} together, or smx.poni"
    if smx.poni is None:
        for field, given in (("solid_angle", smx.solid_angle), ("polarization", smx.polarization is not None)):
            if given:
                yield f"smx.{field} is computed from the PONI file; set smx.poni, or give {field!r} in smx.arrays"
    for field, given in (("solid_angle", smx.solid_angle), ("polarization", smx.polarization is not None)):
        if given and field in smx.arrays:
            yield f"smx.{field} and smx.arrays[{field!r}] are the same correction; remove one of them"
    if smx.error_model == "variance" and "variance" not in smx.arrays:
        yield "smx.error_model = 'variance' needs the file of the variance, smx.arrays['variance']"


def _selection_faults(smx: SmxSettings) -> Iterator[str]:
    for kind in ("dense", "sparse"):
        if getattr(smx, f"save_{kind}") == "every_nth" and not getattr(smx, f"{kind}_every"):
            yield f"smx.save_{kind} = 'every_nth' needs smx.{kind}_every >= 1"


def _spot_faults(smx: SmxSettings) -> Iterator[str]:
    if smx.connected > smx.patch_size**2:
        yield f"smx.connected = {smx.connected} pixels are more than a patch of smx.patch_size = {smx.patch_size} has"
    if smx.min_spots > smx.max_spots:
        yield f"smx.min_spots = {smx.min_spots} is above smx.max_spots = {smx.max_spots}: no frame could be a hit"


def smx_parameters(
    smx: SmxSettings,
    processing: ProcessingSettings,
    statistics: Statistics,
    profiles: Profiles,
    saving: Saving | None,
    raw: RawSelection = "none",
) -> SmxParameters:
    """Parameters of the pipeline from settings that `check_smx` has found good; ``saving`` None saves nothing.

    Files of a frame source have the prefix of ``saving``, then the name of the source. ``raw``: which raw frames are
    saved.
    """
    return SmxParameters(
        fifo=Fifo(nb_fifo_frames=processing.nb_fifo_frames),
        buffers=SmxBuffers(
            nb_frames_buffer=processing.nb_frames_buffer,
            nb_input_frames_buffer=processing.nb_input_frames_buffer,
            nb_sparse_frames_buffer=smx.nb_sparse_buffer,
        ),
        thread=Threads(nb_threads=processing.nb_threads),
        compute=Compute(backend=smx.backend, device=smx.device, threads_per_frame=smx.threads_per_frame),
        fai=_fai(smx),
        peaks=Peaks(**{name: getattr(smx, name) for name in Peaks.model_fields}),
        statistics=statistics,
        profiles=profiles,
        veto_raw=_veto(smx, raw, 0),
        veto_dense=_veto(smx, smx.save_dense, smx.dense_every),
        veto_sparse=_veto(smx, smx.save_sparse, smx.sparse_every),
        **_savings(smx, saving, raw),
    )


def _fai(smx: SmxSettings) -> Fai:
    low, high = smx.radius_range or (0.0, 0.0)
    values: dict[str, Any] = {
        "poni_path": smx.poni or "",
        "nb_bins": smx.bins,
        "unit": smx.unit,
        "radius_min": low,
        "radius_max": high,
        "mask_path": smx.mask or "",
        "dark_path": smx.dark or "",
        "flat_path": smx.flat or "",
        "correct_solid_angle": smx.solid_angle,
        "correct_polarization": smx.polarization is not None,
        "do_dummy": smx.dummy is not None,
        "dummy": smx.dummy or 0.0,
        "acc_nb_frames_reset": smx.accumulated_reset,
        "acc_nb_frames_xfer": smx.accumulated_every,
    }
    if smx.polarization is not None:
        values["polarization_factor"] = smx.polarization
    values |= {f"{array}_path": path for array, path in smx.arrays.items()}
    same = ("delta_dummy", "error_model", "cutoff_clip", "cycle", "cutoff_pick", "noise")
    return Fai(**values, **{name: getattr(smx, name) for name in same})


def _veto(smx: SmxSettings, save: Selection, every: int) -> Veto:
    if save == "hits":
        return Veto(save=save, every=every, keep_before=smx.keep_before, keep_after=smx.keep_after)
    return Veto(save=save, every=every if save == "every_nth" else 0)


def _savings(smx: SmxSettings, saving: Saving | None, raw: RawSelection) -> dict[str, Saving]:
    if saving is None:
        return {}
    accumulated = smx.save_accumulated and smx.accumulated_every > 0
    wanted = {
        "saving_raw": ("raw_frame", raw != "none"),
        "saving_dense": ("frame", smx.save_dense != "none"),
        "saving_sparse": ("sparse_frame", smx.save_sparse != "none"),
        "saving_accumulation_corrected": ("acc_corrected", accumulated),
        "saving_accumulation_peak": ("acc_peaks", accumulated),
    }
    return {
        section: saving.model_copy(update={"enabled": enabled, "filename_prefix": f"{saving.filename_prefix}_{source}"})
        for section, (source, enabled) in wanted.items()
    }
