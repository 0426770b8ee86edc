"""Frame sources: their names, the saving section of each one, and when accumulated images come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lima2_bliss.contract import RoundRobin
from lima2_bliss.contract.parameters import Saving

FRAME = "frame"
INPUT_FRAME = "input_frame"
SPARSE_FRAME = "sparse_frame"
ACC_CORRECTED = "acc_corrected"
ACC_PEAKS = "acc_peaks"
RAW_FRAME = "raw_frame"

#: Sources that give an image every so many frames of a receiver, for these alone.
ACCUMULATED = (ACC_CORRECTED, ACC_PEAKS)

#: Sources of what came from the detector: their frames are those of the exposures, before any accumulation.
RAW = (INPUT_FRAME, RAW_FRAME)

#: Frame source that a saving section of the processing parameters saves.
SOURCES = {
    "saving": FRAME,
    "saving_dense": FRAME,
    "saving_sparse": SPARSE_FRAME,
    "saving_accumulation_corrected": ACC_CORRECTED,
    "saving_accumulation_peak": ACC_PEAKS,
    "saving_raw": RAW_FRAME,
}
#: Whose files count when it is asked what is saved: the first of these that is.
_COUNTED = (FRAME, SPARSE_FRAME, RAW_FRAME)


def enabled_savings(processing: Mapping[str, Any]) -> dict[str, Saving]:
    """How each source is saved that is, by its name."""
    return {
        source: Saving.model_validate(processing[section])
        for section, source in SOURCES.items()
        if (processing.get(section) or {}).get("enabled")
    }


def counted_source(saved: Collection[str]) -> str:
    """The source whose files tell how much is saved, of those that are."""
    return next((source for source in _COUNTED if source in saved), FRAME)


def accumulation_depth(processing: Mapping[str, Any]) -> int:
    """Exposures in one processed frame."""
    accumulation = processing.get("accumulation") or {}
    return int(accumulation.get("nb_frames", 1)) if accumulation.get("enabled") else 1


def accumulated_indices(newest: Sequence[int], dispatch: RoundRobin, every: int) -> list[int]:
    """Global indices that name the accumulated images so far: of the last frame in each one, in ascending order.

    ``newest`` is the newest one of each receiver (-1: none), ``every`` the frames of a receiver from one to the next;
    a receiver's last image may come sooner.
    """
    indices = []
    for receiver, last in enumerate(newest):
        if last < 0:
            continue
        _, local = dispatch.locate(last)
        ends = {*range(every - 1, local, every), local}
        indices += [dispatch.global_index(receiver, end) for end in ends]
    return sorted(indices)
