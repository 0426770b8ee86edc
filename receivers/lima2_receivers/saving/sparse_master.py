"""Master of sparse files: one continuous CSR in global order, without a copy of the pixels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.saving.frame_records import nb_vetoed
from lima2_receivers.saving.master_runs import Run, expected_files, mapped_runs, total_frames
from lima2_receivers.saving.sparse_layout import (
    BACKGROUND,
    BACKGROUND_DTYPE,
    INDEX_DTYPE,
    NO_BACKGROUND,
    POINTER_DTYPE,
    STATIC,
    create_groups,
    link_sparse,
)
from lima2_receivers.saving.spot_table import COUNT_DTYPE, COUNTS, TABLES
from lima2_receivers.saving.virtual import Rows, virtual_rows, virtual_runs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparseContent:
    """What a receiver file holds: ``pointers`` (n + 1) of its n frames, of which ``places`` have these global indices.

    ``width``: columns of its spot tables. ``nb_hits``, ``nb_vetoed``, ``nb_holes``: of the frames of ``places``.
    """

    file: Path
    places: np.ndarray
    pointers: np.ndarray
    width: int
    nb_hits: int
    nb_vetoed: int
    nb_holes: int


def fill_sparse(file: h5py.File, job: MasterJob, layout: FileLayout) -> tuple[dict[str, int], list[Run]]:
    """All sparse frames and spots of the receiver files of ``job``.

    A frame that no receiver saved has no pixels and spots, NaN as background, and the flag LOST.
    """
    dispatch = RoundRobin(len(job.counts), job.block)
    contents = _contents(layout, dispatch, job.counts)
    lengths = {key: len(content.pointers) - 1 if content else 0 for key, content in contents.items()}
    runs = mapped_runs(layout, dispatch, job.counts, lengths)
    found = [content for content in contents.values() if content]
    total = total_frames(dispatch, job.counts)
    create_groups(file, layout)
    dtype, nb_bins = DTYPES.get(job.dtype) or np.dtype(job.dtype), 0
    if found:
        dtype, nb_bins = _copy_static(file, layout, found[0].file)
    _write_pixels(file, layout, found, total, dtype)
    group = file[layout.sparse_path]
    for name in BACKGROUND:
        path = f"{layout.sparse_path}/{name}"
        virtual_runs(group, name, (total, nb_bins), BACKGROUND_DTYPE, NO_BACKGROUND, runs, path)
    _write_spots(file, layout, found, total, runs)
    link_sparse(file, layout)
    names = ("nb_hits", "nb_vetoed", "nb_holes")
    counts = {name: sum(getattr(content, name) for content in found) for name in names}
    counts["nb_holes"] += total - sum(len(content.places) for content in found)
    return counts, runs


def _contents(
    layout: FileLayout, dispatch: RoundRobin, counts: list[int]
) -> dict[tuple[int, int], SparseContent | None]:
    """What is in each file that should be there; None for one that is not, or is not readable."""
    contents: dict[tuple[int, int], SparseContent | None] = {}
    for receiver, number, first, length in expected_files(layout, counts):
        path = layout.receiver_file(receiver, number)
        contents[receiver, number] = None
        try:
            with h5py.File(path, "r", locking=False) as file:
                pointers = file[f"{layout.sparse_path}/frame_ptr"][:].astype(POINTER_DTYPE)
                count = min(length, len(pointers) - 1)
                flags, hits = (file[place][:count] for place in (layout.flags_path, layout.hit_path))
                width = file[f"{layout.peaks_path}/peakXPosRaw"].shape[1]
                nb_holes = int(file[f"{layout.detector_path}/counts/nb_holes"][()])
        except (OSError, KeyError) as error:
            _log.warning("%s is not readable and is left out of the master file: %s", path, error)
            continue
        places = np.array([dispatch.global_index(receiver, first + local) for local in range(count)], "i8")
        contents[receiver, number] = SparseContent(
            path, places, pointers, width, int(np.count_nonzero(hits)), nb_vetoed(flags), nb_holes
        )
    return contents


def _copy_static(file: h5py.File, layout: FileLayout, source: Path) -> tuple[np.dtype, int]:
    """What all frames have in common, from one receiver file; returns type of intensities and number of bins."""
    group = file[layout.sparse_path]
    with h5py.File(source, "r", locking=False) as given:
        sparse = given[layout.sparse_path]
        for name in STATIC:
            if name in sparse:
                given.copy(sparse[name], group)
        given.copy(given[f"/{layout.entry}/sparsify"], file[layout.entry])
        return sparse["intensity"].dtype, sparse["background_avg"].shape[1]


def _write_pixels(
    file: h5py.File, layout: FileLayout, contents: Sequence[SparseContent], total: int, dtype: np.dtype
) -> None:
    lengths = np.zeros(total, POINTER_DTYPE)
    for content in contents:
        lengths[content.places] = np.diff(content.pointers)[: len(content.places)]
    pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(POINTER_DTYPE)
    group = file[layout.sparse_path]
    group.create_dataset("frame_ptr", data=pointers)
    parts = []
    for content in contents:
        some = lengths[content.places] > 0
        places, source = content.places[some], content.pointers[:-1][: len(some)][some]
        if len(places):
            sides = (np.stack([first, lengths[places]], axis=1) for first in (source, pointers[places]))
            parts.append(Rows(content.file, (int(content.pointers[-1]),), *sides))
    for name, kind in (("index", INDEX_DTYPE), ("intensity", dtype)):
        path = f"{layout.sparse_path}/{name}"
        virtual_rows(group, name, (int(pointers[-1]),), kind, 0, parts, path, layout.base_path)


def _write_spots(
    file: h5py.File, layout: FileLayout, contents: Sequence[SparseContent], total: int, runs: list[Run]
) -> None:
    """Tables as wide as the widest file's; the narrower ones are padded with zeros."""
    group, path = file[layout.peaks_path], layout.peaks_path
    widths = {content.file: (content.width,) for content in contents}
    widest = max((width for (width,) in widths.values()), default=1)
    for name, dtype in TABLES.items():
        virtual_runs(group, name, (total, widest), dtype, 0, runs, f"{path}/{name}", widths)
    virtual_runs(group, COUNTS, (total,), COUNT_DTYPE, 0, runs, f"{path}/{COUNTS}")
