"""Master files: one virtual dataset over the files of all receivers, frames in global order."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, FrameFlags, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.saving.existing import preflight, refuse_existing
from lima2_receivers.saving.failure import saving_error
from lima2_receivers.saving.frame_file import hidden_name
from lima2_receivers.saving.nexus import create_tree, data_shape, link_frames, software_versions, write_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Frames of one file that lie evenly in global order: ``count`` groups of ``block`` frames every ``stride`` frames.

    ``first`` is the place of the first one in its file, ``target`` its global index.
    """

    file: Path
    nb_frames_of_file: int
    first: int
    target: int
    count: int
    stride: int
    block: int


def file_runs(dispatch: RoundRobin, receiver: int, begin: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Local frames [begin, end) of a receiver as (local, global index, count, stride, block): at most three runs.

    That is a cut block, the whole blocks, a cut block; with blocks of one frame it is always one.
    """
    block = dispatch.block
    head = min(-(-begin // block) * block, end)
    tail = max(end // block * block, head)
    if begin < head:
        yield begin, dispatch.global_index(receiver, begin), 1, 1, head - begin
    if head < tail:
        first = dispatch.global_index(receiver, head)
        stride = dispatch.global_index(receiver, head + block) - first
        yield head, first, (tail - head) // block, stride, block
    if tail < end:
        yield tail, dispatch.global_index(receiver, tail), 1, 1, end - tail


def mapped_runs(layout: FileLayout, dispatch: RoundRobin, counts: list[int]) -> list[Run]:
    """Where each saved frame comes from. A file found short, or unreadable, is mapped only as far as it goes."""
    runs = []
    for receiver, count in enumerate(counts):
        lengths = _actual_lengths(layout, receiver, count)
        for number in range(-(-count // layout.nb_frames_per_file)):
            offset = number * layout.nb_frames_per_file
            length = min(layout.nb_frames_per_file, count - offset)
            actual = lengths.get(number, length)
            for local, target, groups, stride, block in file_runs(
                dispatch, receiver, offset, offset + min(length, actual)
            ):
                path = layout.receiver_file(receiver, number)
                runs.append(Run(path, actual, local - offset, target, groups, stride, block))
    return runs


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
        with h5py.File(part, "w", locking="best-effort") as file:
            _fill(file, job, layout)
        part.rename(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise saving_error("write", path, error) from error
    return path


def _fill(file: h5py.File, job: MasterJob, layout: FileLayout) -> None:
    dispatch = RoundRobin(len(job.counts), job.block)
    last = [dispatch.global_index(receiver, count - 1) for receiver, count in enumerate(job.counts) if count]
    total = max(last, default=-1) + 1
    detector = create_tree(file, layout, "lima2-bliss.master", job.metadata, software_versions())
    file.attrs["file_name"] = layout.master_file.name
    runs = mapped_runs(layout, dispatch, job.counts)
    dtype = DTYPES.get(job.dtype) or np.dtype(job.dtype)
    tail = data_shape(job.saving, 0, job.shape)[1:]
    _virtual(detector, "data", (total, *tail), dtype, 0, runs, layout)
    _virtual(detector, "frame_flags", (total,), np.dtype("u4"), int(FrameFlags.LOST), runs, layout)
    _virtual(detector, "timestamp", (total,), np.dtype("i8"), 0, runs, layout)
    detector["timestamp"].attrs["units"] = "ns"
    if job.saving.include_frame_idx:
        _virtual(detector, "frame_index", (total,), np.dtype("i8"), -1, runs, layout)
    link_frames(file, layout)
    nb_mapped = sum(run.count * run.block for run in runs)
    contiguous = dispatch.contiguous(job.counts)
    counts = {"nb_frames": total, "nb_mapped": nb_mapped, "contiguous": contiguous, "per_receiver": job.counts}
    write_tree(detector, "counts", counts)
    write_tree(detector, "dispatch", {"topology": dispatch.name, "receivers": dispatch.receivers, "block": job.block})


def _virtual(
    detector: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Any,
    runs: list[Run],
    layout: FileLayout,
) -> None:
    """A virtual dataset with one mapping per run."""
    if not runs:
        detector.create_dataset(name, shape, dtype, fillvalue=fill, chunks=(1, *shape[1:]) if shape[0] else None)
        return
    tail = shape[1:]
    whole, zeros, ones = tuple(tail), (0,) * len(tail), (1,) * len(tail)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_fill_value(np.array(fill, dtype))
    source_path = f"{layout.detector_path}/{name}".encode()
    target = h5py.h5s.create_simple(shape)
    for run in runs:
        target.select_hyperslab(
            (run.target, *zeros),
            (run.count, *ones),
            (run.stride, *(max(side, 1) for side in whole)),
            (run.block, *whole),
        )
        source = h5py.h5s.create_simple((run.nb_frames_of_file, *tail))
        source.select_hyperslab((run.first, *zeros), (run.count * run.block, *whole))
        plist.set_virtual(target, os.fsencode(run.file.name), source_path, source)
    target.select_all()
    h5py.h5d.create(detector.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), target, plist)


def _actual_lengths(layout: FileLayout, receiver: int, count: int) -> dict[int, int]:
    """Frames in the last file that is there; earlier ones are full, for a file gets its name only when complete."""
    pattern = re.compile(re.escape(f"{layout.prefix}_{receiver}_") + r"(\d{5,})\.h5")
    expected = -(-count // layout.nb_frames_per_file)
    found = (pattern.fullmatch(path.name) for path in layout.base_path.iterdir())
    numbers = [int(match[1]) for match in found if match]
    last = max((number for number in numbers if number < expected), default=None)
    if last is None:
        return {}
    path = layout.receiver_file(receiver, last)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {last: len(file[layout.data_path])}
    except (OSError, KeyError) as error:
        _log.warning("%s is not readable and is left out of the master file: %s", path, error)
        return {last: 0}
