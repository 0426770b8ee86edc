"""What a source has of each frame beside the pixels (`FrameInfo.extras`): one dataset each, a row per frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FrameInfo, FrameMeta, SavingError
from lima2_receivers.saving.frame_records import put
from lima2_receivers.saving.master_runs import Run
from lima2_receivers.saving.virtual import virtual_runs

_log = logging.getLogger(__name__)

#: Attribute of the detector group: names of the datasets of extras.
EXTRAS = "frame_extras"
#: Attribute of a dataset: what its values mean (`FrameInfo.notes`).
DESCRIPTION = "description"
#: Tables of more bytes than this are compressed, in chunks of about so many (shuffle and deflate: no plugin needed).
_CHUNK_BYTES = 1 << 16


class FrameExtras:
    """Rows of the frames of one file, kept in memory and written when it is complete; zeros for a hole."""

    def __init__(self, info: FrameInfo, detector_path: str) -> None:
        self._info, self._path = info, detector_path
        self._rows = {name: bytearray() for name, *_ in info.extras}

    @property
    def nbytes(self) -> int:
        """What the rows will take in the file, at most."""
        return sum(map(len, self._rows.values()))

    def append(self, meta: FrameMeta, *, hole: bool) -> None:
        """The next frame; `check_extras` has found it good."""
        given = None if hole else meta.extras
        for name, dtype, shape in self._info.extras:
            if given is None:
                self._rows[name].extend(bytes(_row_bytes(dtype, shape)))
            else:
                self._rows[name].extend(np.ascontiguousarray(given[name], dtype).tobytes())

    def write(self, file: h5py.File) -> None:
        """Write them into the detector group, again if need be."""
        detector, notes = file[self._path], dict(self._info.notes)
        for name, dtype, shape in self._info.extras:
            rows = np.frombuffer(self._rows[name], dtype).reshape(-1, *shape)
            dataset = put(detector, name, rows, **_options(rows))
            if name in notes:
                dataset.attrs[DESCRIPTION] = notes[name]


def describe(detector: h5py.Group, info: FrameInfo) -> None:
    """Note in a file which extras it will have, and what the pixels are."""
    if info.extras:
        detector.attrs[EXTRAS] = [name for name, *_ in info.extras]
    note = dict(info.notes).get("data")
    if note:
        detector["data"].attrs[DESCRIPTION] = note


def extras_bytes(info: FrameInfo) -> int:
    """Bytes of the extras of one frame."""
    return sum(_row_bytes(dtype, shape) for _, dtype, shape in info.extras)


def check_extras(info: FrameInfo, meta: FrameMeta) -> None:
    """`SavingError` when a frame's extras are not what ``info`` announces; to have none at all is fine."""
    if meta.extras is None:
        return
    for name, dtype, shape in info.extras:
        value = meta.extras.get(name)
        given = "not there" if value is None else f"{value.shape} {value.dtype}"
        if value is None or value.shape != shape or value.dtype != dtype:
            raise SavingError(
                f"{name} of frame {meta.index} is {given}, but the files were prepared for {shape} {dtype}"
            )


@dataclass(frozen=True)
class _Found:
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    attributes: Mapping[str, Any]


def virtual_extras(detector: h5py.Group, runs: list[Run], total: int) -> None:
    """The extras of the receiver files of ``runs`` in a master, in global order, zeros where there is nothing."""
    found, note = _first_extras(dict.fromkeys(run.file for run in runs), str(detector.name))
    if note is not None:
        detector["data"].attrs[DESCRIPTION] = note
    for extra in found:
        shape, path = (total, *extra.shape), f"{detector.name}/{extra.name}"
        virtual_runs(detector, extra.name, shape, extra.dtype, 0, runs, path).attrs.update(extra.attributes)
    if found:
        detector.attrs[EXTRAS] = [extra.name for extra in found]


def _first_extras(paths: Iterable[Path], detector_path: str) -> tuple[list[_Found], str | None]:
    """Extras, and the description of the pixels, in the first of these files that can be read; they are all alike."""
    for path in paths:
        try:
            with h5py.File(path, "r", locking=False) as file:
                detector = file[detector_path]
                given = [(name, detector[name]) for name in detector.attrs.get(EXTRAS, ())]
                found = [_Found(name, each.dtype, each.shape[1:], dict(each.attrs)) for name, each in given]
                return found, detector["data"].attrs.get(DESCRIPTION)
        except (OSError, KeyError) as error:
            _log.warning("what %s has of each frame is not readable: %s", path, error)
    return [], None


def _row_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * int(np.prod(shape, dtype=np.int64))


def _options(rows: np.ndarray) -> dict[str, Any]:
    if rows.nbytes <= _CHUNK_BYTES:
        return {}
    per_chunk = max(_CHUNK_BYTES * len(rows) // rows.nbytes, 1)
    return {
        "chunks": (per_chunk, *rows.shape[1:]),
        "shuffle": True,
        "compression": "gzip",
        "compression_opts": 1,
    }
