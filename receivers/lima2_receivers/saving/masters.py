"""Master files: one view over the files of all receivers, frames in global order."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, FrameFlags, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.saving.existing import preflight, refuse_existing
from lima2_receivers.saving.failure import saving_error
from lima2_receivers.saving.frame_extras import virtual_extras
from lima2_receivers.saving.hidden_file import hidden_name
from lima2_receivers.saving.hits_view import find_hits, looks_for_hits, write_hits_view
from lima2_receivers.saving.master_runs import Run, lengths_of_last_files, mapped_runs, total_frames
from lima2_receivers.saving.nexus import create_tree, data_shape, link_frames, software_versions, write_tree
from lima2_receivers.saving.sparse_master import fill_sparse
from lima2_receivers.saving.virtual import virtual_runs

#: HDF5 1.10, the first with virtual datasets, writes an evenly spaced selection as such; in the older format it is a
#: list of all its blocks, and a master over 10 files of 1000 frames takes 50 ms to open each dataset instead of 1 ms.
FORMAT = ("v110", "latest")


def write_master(job: MasterJob) -> Path:
    """Write the master file of ``job`` and return its path; `SavingError` when it cannot be.

    Frames that no receiver saved (killed, unbalanced end) read as 0 with the flag LOST. File names inside are relative.
    """
    layout = job.saving.layout()
    path, part = layout.master_file, hidden_name(layout.master_file)
    preflight(job.saving, safety_bytes=0)
    if job.saving.file_exists_policy != "overwrite":
        refuse_existing(job.saving, ())
    try:
        with h5py.File(part, "w", libver=FORMAT, locking="best-effort") as file:
            detector = create_tree(file, layout, "lima2-bliss.master", job.metadata, software_versions())
            file.attrs["file_name"] = path.name
            fill = fill_sparse if job.kind == "sparse" else _fill_dense
            counts, runs = fill(file, job, layout)
            _describe(detector, job, counts, runs)
        part.rename(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise saving_error("write", path, error) from error
    return path


def _describe(detector: h5py.Group, job: MasterJob, counts: dict[str, int], runs: list[Run]) -> None:
    """Records of all frames, and how many there are; both the same for dense and sparse frames."""
    dispatch = RoundRobin(len(job.counts), job.block)
    total = total_frames(dispatch, job.counts)
    records = {"frame_flags": ("u4", int(FrameFlags.LOST)), "timestamp": ("i8", 0)}
    if job.saving.include_frame_idx:
        records["frame_index"] = ("i8", -1)
    if "nb_hits" in counts:
        records["is_hit"] = ("u1", 0)
    for name, (dtype, fill) in records.items():
        virtual_runs(detector, name, (total,), np.dtype(dtype), fill, runs, f"{detector.name}/{name}")
    detector["timestamp"].attrs["units"] = "ns"
    nb_mapped = sum(run.count * run.block for run in runs)
    contiguous = dispatch.contiguous(job.counts)
    basic = {"nb_frames": total, "nb_mapped": nb_mapped, "contiguous": contiguous, "per_receiver": job.counts}
    write_tree(detector, "counts", basic | counts)
    write_tree(detector, "dispatch", {"topology": dispatch.name, "receivers": dispatch.receivers, "block": job.block})


def _fill_dense(file: h5py.File, job: MasterJob, layout: FileLayout) -> tuple[dict[str, int], list[Run]]:
    """The frames; if the pipeline looked for hits, also the hits alone and the way to the spots."""
    dispatch = RoundRobin(len(job.counts), job.block)
    lengths = lengths_of_last_files(layout, job.counts)
    runs = mapped_runs(layout, dispatch, job.counts, lengths)
    total = total_frames(dispatch, job.counts)
    shape = (total, *data_shape(job.saving, 0, job.shape)[1:])
    dtype = DTYPES.get(job.dtype) or np.dtype(job.dtype)
    virtual_runs(file[layout.detector_path], "data", shape, dtype, 0, runs, layout.data_path)
    virtual_extras(file[layout.detector_path], runs, total)
    link_frames(file, layout)
    if job.spots is not None and job.spots.enabled:
        spots = job.spots.layout()
        file[layout.peaks_path] = h5py.ExternalLink(
            os.path.relpath(spots.master_file, layout.base_path), spots.peaks_path
        )
    if not looks_for_hits(layout, lengths):
        return {}, runs
    hits = find_hits(layout, dispatch, job.counts, total)
    write_hits_view(file, job, layout, hits)
    return {"nb_hits": hits.nb_hits, "nb_vetoed": hits.nb_vetoed, "nb_holes": hits.nb_holes}, runs
