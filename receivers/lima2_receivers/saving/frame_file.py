"""One file of dense frames: one chunk per frame, cut to the frames that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py._objects import phil  # HDF5's lock: write_direct_chunk of h5py 3.11 does not take it

from lima2_bliss.contract import FileLayout, FrameInfo, FrameMeta, SavingError
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.compression import Chunk, Codec
from lima2_receivers.saving.frame_extras import FrameExtras, check_extras, describe, extras_bytes
from lima2_receivers.saving.frame_records import FrameRecords
from lima2_receivers.saving.hidden_file import HiddenFile
from lima2_receivers.saving.nexus import create_tree, data_shape, link_frames, software_versions, write_tree


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
            describe(detector, info)
            link_frames(file, layout)
            write_tree(detector, "receiver", rank)
        return cls(saving, layout, memory.getvalue())

    def open(self, path: Path) -> HiddenFile:
        """A new file of this kind."""
        return HiddenFile(path, self.image, replace=self.saving.file_exists_policy == "overwrite")


class DenseFiles:
    """Files of dense frames; see `lima2_receivers.saving.writer.FileKind`."""

    def __init__(self, saving: Saving, info: FrameInfo, rank: int, metadata: Mapping[str, Any], codec: Codec) -> None:
        self._info, self._codec = info, codec
        self.reserve_bytes = (1 << 20) + extras_bytes(info) * saving.nb_frames_per_file
        self._template = FileTemplate.make(saving, info, rank, metadata, codec)

    def check(self, frame: np.ndarray, meta: FrameMeta) -> None:
        check_extras(self._info, meta)
        if (frame.shape, frame.dtype) != (self._info.shape, self._info.dtype):
            given, expected = f"{frame.shape} {frame.dtype}", f"{self._info.shape} {self._info.dtype}"
            raise SavingError(f"frame {meta.index} is {given}, but the files were prepared for {expected}")

    def encode(self, frame: np.ndarray) -> Chunk:
        return self._codec.encode(np.ascontiguousarray(frame))

    def create(self, path: Path, number: int) -> FrameFile:
        return FrameFile(path, number, self._template, self._info)


class FrameFile:
    """A file being written; see `lima2_receivers.saving.writer.ReceiverFile`."""

    def __init__(self, path: Path, number: int, template: FileTemplate, info: FrameInfo) -> None:
        self._layout = template.layout
        self._records = FrameRecords(template.saving, template.layout, number)
        self._extras = FrameExtras(info, template.layout.detector_path)
        self._file = template.open(path)
        self._bind()

    def __len__(self) -> int:
        return len(self._records)

    @property
    def full(self) -> bool:
        return self._records.full

    def append(self, frame: Chunk | None, meta: FrameMeta) -> int:
        """Write the chunk of the next frame; None leaves it unwritten."""
        nbytes = 0 if frame is None else memoryview(frame).nbytes
        self._file.check(nbytes + self._extras.nbytes)
        if frame is not None:
            with phil:
                self._data.write_direct_chunk((len(self), *self._rest), frame)
        self._records.append(meta, meta.hit, hole=frame is None)
        self._extras.append(meta, hole=frame is None)
        return nbytes

    def complete(self) -> None:
        if len(self) < self._data.shape[0]:
            self._data.set_extent((len(self), *self._data.shape[1:]))
        self._extras.write(self._file.h5)
        self._records.write(self._file.h5, self._file.path.name)
        self._file.publish()

    def salvage(self) -> None:
        self._file.reopen()
        self._bind()
        try:
            self.complete()
        finally:
            self._file.close()

    def discard(self) -> None:
        self._file.discard()

    def _bind(self) -> None:
        self._data = self._file.h5[self._layout.data_path].id
        self._rest = (0,) * (len(self._data.shape) - 1)
