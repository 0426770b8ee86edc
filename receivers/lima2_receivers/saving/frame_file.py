"""One file of frames: hidden while it is written, renamed when complete, cut to the frames that it holds."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import resource
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py._objects import phil  # HDF5's lock: write_direct_chunk of h5py 3.11 does not take it

from lima2_bliss.contract import FileLayout, FrameInfo, FrameMeta
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.compression import Chunk, Codec
from lima2_receivers.saving.nexus import create_tree, data_shape, link_frames, now, software_versions, write_tree

_CLOSING_BYTES = 1 << 20


def hidden_name(path: Path) -> Path:
    """Name of ``path`` until it is complete."""
    return path.with_name(f".{path.name}.part")


@dataclass(frozen=True)
class FileTemplate:
    """The bytes of a file with its whole tree and no frame yet: made once, so that a new file costs little."""

    saving: Saving
    layout: FileLayout
    image: bytes

    @classmethod
    def make(
        cls, saving: Saving, info: FrameInfo, rank: int, metadata: Mapping[str, Any], codec: Codec
    ) -> FileTemplate:
        layout = saving.layout()
        memory = BytesIO()
        with h5py.File(memory, "w") as file:
            software = software_versions() | {"compression": codec.name}
            detector = create_tree(file, layout, "lima2-bliss.receiver", metadata, software)
            shape = data_shape(saving, layout.nb_frames_per_file, info.shape)
            detector.create_dataset(
                "data", shape, info.dtype, maxshape=shape, chunks=(1, *shape[1:]), fillvalue=0, **codec.options
            )
            link_frames(file, layout)
            write_tree(detector, "receiver", rank)
        return cls(saving, layout, memory.getvalue())


class FrameFile:
    """A file being written. Every method may raise OSError or RuntimeError (HDF5)."""

    def __init__(self, path: Path, number: int, template: FileTemplate) -> None:
        self.path = path
        self._number = number
        self._template = template
        self._part = hidden_name(path)
        self._size_limit = _size_limit()
        self._create()
        self._index, self._time, self._flags = array("q"), array("q"), array("I")
        self._nb_holes = 0
        self._open()

    def __len__(self) -> int:
        """Frames in it, holes included."""
        return len(self._index)

    @property
    def full(self) -> bool:
        return len(self) >= self._template.layout.nb_frames_per_file

    def append(self, chunk: Chunk | None, meta: FrameMeta) -> None:
        """Write the next frame; None leaves its chunk unwritten."""
        state = os.fstat(self._descriptor)
        if not state.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "file or directory was removed while it was written")
        if chunk is None:
            self._nb_holes += 1
        else:
            if state.st_size + memoryview(chunk).nbytes > self._size_limit:
                raise OSError(errno.EFBIG, "file size limit of the process")
            with phil:
                self._data.write_direct_chunk((len(self), *self._rest), chunk)
        self._index.append(meta.index)
        self._time.append(meta.timestamp_ns)
        self._flags.append(int(meta.flags))

    def complete(self) -> None:
        """Cut it to its frames, close it, and give it its name."""
        if len(self) < self._data.shape[0]:
            self._data.set_extent((len(self), *self._data.shape[1:]))
        self._write_frame_records()
        self._file.close()
        if self._template.saving.file_exists_policy != "overwrite" and self.path.exists():
            raise FileExistsError(errno.EEXIST, "file exists")
        self._part.rename(self.path)

    def salvage(self) -> None:
        """Complete it after a failed write, when the cause may be gone; a second failure leaves the hidden file."""
        self._file.close()  # HDF5 remembers the chunk that failed; only a fresh look at the file is right
        self._open()
        try:
            self.complete()
        finally:
            self._file.close()

    def discard(self) -> None:
        """Close it and remove it."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _create(self) -> None:
        """The template on disk; an unfinished file of a dead process is replaced, one in use is an error."""
        descriptor = os.open(self._part, os.O_CREAT | os.O_WRONLY, 0o664)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            with open(descriptor, "wb", closefd=False) as stream:
                stream.write(self._template.image)
        finally:
            os.close(descriptor)

    def _open(self) -> None:
        self._file = h5py.File(self._part, "r+", locking="best-effort")
        self._descriptor = self._file.id.get_vfd_handle()
        self._data = self._file[self._template.layout.data_path].id
        self._rest = (0,) * (len(self._data.shape) - 1)

    def _write_frame_records(self) -> None:
        file, layout = self._file, self._template.layout
        detector = file[layout.detector_path]
        file.attrs["file_name"] = self.path.name
        file.attrs["file_time"] = now()
        records = {"frame_flags": np.array(self._flags, "u4"), "timestamp": np.array(self._time, "i8")}
        if self._template.saving.include_frame_idx:
            records["frame_index"] = np.array(self._index, "i8")
        for name in (*records, "counts"):
            if name in detector:  # from a failed attempt
                del detector[name]
        for name, values in records.items():
            detector.create_dataset(name, data=values)
        detector["timestamp"].attrs["units"] = "ns"
        counts = {
            "file_number": self._number,
            "first_local_frame": self._number * layout.nb_frames_per_file,
            "nb_frames": len(self),
            "nb_holes": self._nb_holes,
        }
        write_tree(detector, "counts", counts)


def _size_limit() -> float:
    """Largest file [bytes] that this process may write, less what closing one takes."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    return math.inf if soft == resource.RLIM_INFINITY else soft - _CLOSING_BYTES
