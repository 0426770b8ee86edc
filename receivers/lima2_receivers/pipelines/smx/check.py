"""Checks of the SMX pipeline's parameters against each other and against the detector: one error, all faults."""

from __future__ import annotations

from collections.abc import Iterator

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Image, Peaks, SmxParameters
from lima2_receivers.engine.plugin import PipelineSetup
from lima2_receivers.pipelines.measuring import roi_faults
from lima2_receivers.pipelines.smx.tables import load_tables, table_faults

SAVING_SECTIONS = (
    "saving_dense",
    "saving_sparse",
    "saving_accumulation_corrected",
    "saving_accumulation_peak",
)


def check(setup: PipelineSetup) -> None:
    """Raise one `ParameterError` that names every fault."""
    processing: SmxParameters = setup.processing
    faults = [
        *_image_faults(setup),
        *roi_faults(processing, (setup.input.height, setup.input.width)),
        *peak_faults(processing.peaks),
        *_saving_faults(processing),
        *table_faults(processing.fai, setup.input, setup.masked, setup.dummy),
    ]
    if faults:
        raise ParameterError(f"parameters refused by the smx pipeline ({len(faults)}): " + "; ".join(faults))
    load_tables(processing.fai, setup.input, setup.masked, setup.dummy)  # keeps them ready, so that prepare is quick


def _image_faults(setup: PipelineSetup) -> Iterator[str]:
    image = setup.acquisition.img
    changed = [name for name in type(image).model_fields if getattr(image, name) != getattr(Image(), name)]
    if changed:
        given = ", ".join(f"img.{name} = {_short(getattr(image, name))}" for name in changed)
        yield f"{given}: smx works on the full raw frame as it comes; leave binning, roi, flip and rotation alone"
    if setup.input.nb_channels != 1:
        yield f"frames of {setup.input.nb_channels} channels: smx takes frames of one channel"


def _short(value: object) -> str:
    dump = getattr(value, "model_dump", None)
    return str(value if dump is None else dump())


def peak_faults(peaks: Peaks) -> Iterator[str]:
    """Values of ``peaks`` that contradict each other."""
    if peaks.connected > peaks.patch_size**2:
        yield (
            f"peaks.connected = {peaks.connected}: a patch of peaks.patch_size = {peaks.patch_size} has only "
            f"{peaks.patch_size**2} pixels"
        )
    if peaks.min_spots > peaks.max_spots:
        yield f"peaks.min_spots = {peaks.min_spots}: no more than peaks.max_spots = {peaks.max_spots} can be found"


def _saving_faults(processing: SmxParameters) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for section in SAVING_SECTIONS:
        saving = getattr(processing, section)
        if not saving.enabled:
            continue
        place = (saving.base_path, saving.filename_prefix)
        if place in seen:
            yield f"{section} and {seen[place]} would write the same files {place[0]}/{place[1]}_*; change a prefix"
        seen.setdefault(place, section)
        if section.startswith("saving_accumulation") and not processing.fai.acc_nb_frames_xfer:
            yield f"{section}.enabled: nothing is accumulated with fai.acc_nb_frames_xfer = 0; give a number of frames"
