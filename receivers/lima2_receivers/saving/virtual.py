"""Virtual datasets: evenly spaced frames of files, or any pieces of them, shown as one dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_receivers.saving.master_runs import Run

#: Up to so many pieces have a mapping each: then HDF5 copies whole pieces when much is read at once (10 000 frames of
#: 10 000 pixels in 0.5 s, not 2.1 s), but goes through all mappings for each read (0.2 ms for 1000, 1.9 ms for 10 000).
SINGLE_PIECES = 1000
#: Pieces of one mapping when there are more. HDF5 merges them one by one, in time that grows with their square: 50 000
#: pieces in mappings of 5000 open in 2.9 s, of 500 in 0.16 s, of 256 in 0.05 s (doc/decisions/0011).
PIECES_OF_MAPPING = 256


@dataclass(frozen=True)
class Rows:
    """Pieces of a dataset of one file and where they go: both int64 (n, 2), first row and number of rows, ascending.

    ``extents``: shape of the dataset in the file, whose further sides may be shorter than in the virtual one.
    """

    file: Path
    extents: tuple[int, ...]
    source: np.ndarray
    target: np.ndarray


def virtual_runs(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Any,
    runs: Sequence[Run],
    source_path: str,
    tails: Mapping[Path, tuple[int, ...]] | None = None,
) -> h5py.Dataset:
    """A virtual dataset with one mapping per run; ``tails``: the further sides in each file, where they differ."""
    if not runs:
        return _empty(group, name, shape, dtype, fill)
    plist = _creation(dtype, fill)
    target = h5py.h5s.create_simple(shape)
    for run in runs:
        tail = tails[run.file] if tails is not None else shape[1:]
        zeros, ones = (0,) * len(tail), (1,) * len(tail)
        step = tuple(max(side, 1) for side in tail)
        target.select_hyperslab((run.target, *zeros), (run.count, *ones), (run.stride, *step), (run.block, *tail))
        source = h5py.h5s.create_simple((run.nb_frames_of_file, *tail))
        source.select_hyperslab((run.first, *zeros), (run.count * run.block, *tail))
        plist.set_virtual(target, os.fsencode(run.file.name), source_path.encode(), source)
    return _create(group, name, dtype, target, plist)


def virtual_rows(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Any,
    parts: Sequence[Rows],
    source_path: str,
    directory: Path,
    single_pieces: int | None = None,
) -> h5py.Dataset:
    """A virtual dataset of pieces; file names relative to ``directory``.

    Up to ``single_pieces`` (None: `SINGLE_PIECES`) of them have a mapping each, more share one by `PIECES_OF_MAPPING`.
    """
    if not parts:
        return _empty(group, name, shape, dtype, fill)
    plist = _creation(dtype, fill)
    target = h5py.h5s.create_simple(shape)
    few = sum(len(part.source) for part in parts) <= (SINGLE_PIECES if single_pieces is None else single_pieces)
    for part in parts:
        source = h5py.h5s.create_simple(part.extents)
        file = os.fsencode(os.path.relpath(part.file, directory))
        for from_rows, to_rows in _mappings(part, 1 if few else PIECES_OF_MAPPING):
            _select(source, from_rows, part.extents[1:])
            _select(target, to_rows, part.extents[1:])
            plist.set_virtual(target, file, source_path.encode(), source)
    return _create(group, name, dtype, target, plist)


def _mappings(part: Rows, nb_pieces: int) -> list[tuple[np.ndarray, np.ndarray]]:
    source, target = merged(part.source), merged(part.target)
    if len(source) == len(target) == 1:
        return [(source, target)]
    pieces = [slice(start, start + nb_pieces) for start in range(0, len(part.source), nb_pieces)]
    return [(merged(part.source[piece]), merged(part.target[piece])) for piece in pieces]


def merged(rows: np.ndarray) -> np.ndarray:
    """The same rows with pieces joined that follow one another."""
    first, ends = rows[:, 0], rows.sum(axis=1)
    cuts = np.flatnonzero(first[1:] != ends[:-1]) + 1
    begin, end = first[np.r_[0, cuts]], ends[np.r_[cuts - 1, -1]]
    return np.stack([begin, end - begin], axis=1)


def _select(space: h5py.h5s.SpaceID, rows: np.ndarray, tail: tuple[int, ...]) -> None:
    zeros = (0,) * len(tail)
    space.select_none()
    for first, count in rows.tolist():
        space.select_hyperslab((first, *zeros), (count, *tail), op=h5py.h5s.SELECT_OR)


def _creation(dtype: np.dtype, fill: Any) -> h5py.h5p.PropDCID:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_fill_value(np.array(fill, dtype))
    return plist


def _create(
    group: h5py.Group, name: str, dtype: np.dtype, space: h5py.h5s.SpaceID, plist: h5py.h5p.PropDCID
) -> h5py.Dataset:
    space.select_all()
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, plist)
    return group[name]


def _empty(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, fill: Any) -> h5py.Dataset:
    chunks = (1, *shape[1:]) if all(shape) else None
    return group.create_dataset(name, shape, dtype, fillvalue=fill, chunks=chunks)
