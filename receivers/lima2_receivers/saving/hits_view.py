"""The hits of a dense master alone: their frames, global indices and spots, in global order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, FrameFlags, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.saving.frame_records import nb_vetoed
from lima2_receivers.saving.master_runs import Lengths, expected_files
from lima2_receivers.saving.nexus import create_group, data_shape
from lima2_receivers.saving.spot_table import COUNT_DTYPE, COUNTS, TABLES
from lima2_receivers.saving.virtual import Rows, virtual_rows

_log = logging.getLogger(__name__)

#: Up to so many hits have a mapping each: going through 10 000 takes 2 ms, little beside the reading of an image.
_SINGLE_HITS = 10_000
_NO_PIXELS = np.uint32(FrameFlags.VETOED | FrameFlags.LOST)


@dataclass(frozen=True)
class Hits:
    """Hits that are in files: ``index`` their global indices (ascending), ``files`` where each file has some of them.

    ``files``: path, frames in it, rows of the hits, their ranks in ``index``. ``nb_hits`` counts all hits, also those
    whose frame was not saved.
    """

    index: np.ndarray
    files: list[tuple[Path, int, np.ndarray, np.ndarray]]
    nb_hits: int
    nb_vetoed: int
    nb_holes: int


def looks_for_hits(layout: FileLayout, lengths: Lengths) -> bool:
    """True when the first or last file of any receiver has hit flags; ``lengths`` are those of the last ones."""
    for receiver, last in lengths:
        for number in {0, last}:
            try:
                with h5py.File(layout.receiver_file(receiver, number), "r", locking=False) as file:
                    if layout.hit_path in file:
                        return True
            except OSError as error:
                _log.warning("hits of %s are not readable: %s", layout.receiver_file(receiver, number), error)
    return False


def find_hits(layout: FileLayout, dispatch: RoundRobin, counts: list[int], total: int) -> Hits:
    """Read the hit flags of all files of these local counts; ``total`` is the length of the master."""
    found: list[tuple[Path, int, np.ndarray, np.ndarray]] = []
    nb_hits = vetoed = nb_there = 0
    for receiver, number, first, length in expected_files(layout, counts):
        path = layout.receiver_file(receiver, number)
        try:
            with h5py.File(path, "r", locking=False) as file:
                flags = file[layout.flags_path][:length]
                hits = file[layout.hit_path][:length] if layout.hit_path in file else np.zeros(len(flags), "u1")
                nb_frames = len(file[layout.data_path])
                nb_there += nb_frames - int(file[f"{layout.detector_path}/counts/nb_holes"][()])
        except (OSError, KeyError) as error:
            _log.warning("%s is not readable and is left out of the hits: %s", path, error)
            continue
        nb_hits += int(np.count_nonzero(hits))
        vetoed += nb_vetoed(flags)
        rows = np.flatnonzero((hits != 0) & (flags & _NO_PIXELS == 0))
        if len(rows):
            places = np.array([dispatch.global_index(receiver, first + row) for row in rows.tolist()], "i8")
            found.append((path, nb_frames, rows, places))
    index = np.sort(np.concatenate([np.zeros(0, "i8"), *(places for *_, places in found)]))
    files = [(path, length, rows, np.searchsorted(index, places)) for path, length, rows, places in found]
    return Hits(index, files, nb_hits, vetoed, total - nb_there)


def write_hits_view(file: h5py.File, job: MasterJob, layout: FileLayout, hits: Hits) -> None:
    """NXdata with ``data`` (hits, ...), ``frame_index`` (hits) and, when spots are saved, ``peaks``.

    Without any hit it is there with length 0. A hit whose frame was not saved is not in it: the attributes
    ``nb_hits`` and ``nb_hits_not_saved`` tell.
    """
    group = create_group(file, layout.hits_path, "NXdata")
    group.attrs.update(signal="data", nb_hits=hits.nb_hits, nb_hits_not_saved=hits.nb_hits - len(hits.index))
    tail = data_shape(job.saving, 0, job.shape)[1:]
    parts = [Rows(path, (nb, *tail), _single(rows), _single(ranks)) for path, nb, rows, ranks in hits.files]
    shape, dtype = (len(hits.index), *tail), DTYPES.get(job.dtype) or np.dtype(job.dtype)
    data = virtual_rows(group, "data", shape, dtype, 0, parts, layout.data_path, layout.base_path, _SINGLE_HITS)
    data.attrs["interpretation"] = "image"
    group.create_dataset("frame_index", data=hits.index)
    if job.spots is not None:
        _write_spots(group, job, job.spots.layout(), hits.index, layout.base_path)


def _write_spots(group: h5py.Group, job: MasterJob, spots: FileLayout, index: np.ndarray, directory: Path) -> None:
    """Rows of the hits in the spot tables of the sparse receiver files; a row that is not there has no spots."""
    dispatch = RoundRobin(len(job.counts), job.block)
    found = [(path, shape, _single(rows), _single(ranks)) for path, shape, rows, ranks in _rows(spots, dispatch, index)]
    widest = max((shape[1] for _, shape, *_ in found), default=1)
    peaks = create_group(group, "peaks", "NXdata")
    for name, dtype in TABLES.items():
        parts = [Rows(*part) for part in found]
        virtual_rows(peaks, name, (len(index), widest), dtype, 0, parts, f"{spots.peaks_path}/{name}", directory)
    parts = [Rows(path, shape[:1], rows, ranks) for path, shape, rows, ranks in found]
    virtual_rows(peaks, COUNTS, (len(index),), COUNT_DTYPE, 0, parts, f"{spots.peaks_path}/{COUNTS}", directory)
    peaks.attrs["signal"] = COUNTS


def _rows(
    layout: FileLayout, dispatch: RoundRobin, index: np.ndarray
) -> Iterator[tuple[Path, tuple[int, int], np.ndarray, np.ndarray]]:
    """Each file that has some of these frames: shape of its tables, rows of the frames in it, ranks in ``index``."""
    wanted: dict[Path, list[tuple[int, int]]] = {}
    for rank, place in enumerate(index.tolist()):
        receiver, local = dispatch.locate(place)
        number, row = divmod(local, layout.nb_frames_per_file)
        wanted.setdefault(layout.receiver_file(receiver, number), []).append((row, rank))
    for path, pairs in wanted.items():
        try:
            with h5py.File(path, "r", locking=False) as file:
                shape = file[f"{layout.peaks_path}/peakXPosRaw"].shape
        except (OSError, KeyError) as error:
            _log.warning("spots of %s are not readable and are left out of the hits: %s", path, error)
            continue
        rows, ranks = np.array(pairs).T
        there = rows < shape[0]
        if there.any():
            yield path, shape, rows[there], ranks[there]


def _single(rows: np.ndarray) -> np.ndarray:
    """Pieces of one row."""
    return np.stack([rows, np.ones_like(rows)], axis=1)
