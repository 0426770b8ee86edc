"""One file of sparse frames: pixels in CSR form, background, spots; bounded memory whatever the frames hold."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FrameMeta, SavingError, SparseFrame, SparseInfo
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.appended_rows import AppendedRows, rows_of_chunk
from lima2_receivers.saving.compression import Codec
from lima2_receivers.saving.frame_file import FileTemplate
from lima2_receivers.saving.frame_records import FrameRecords, put
from lima2_receivers.saving.nexus import create_tree, software_versions, write_tree
from lima2_receivers.saving.sparse_layout import (
    BACKGROUND,
    BACKGROUND_DTYPE,
    INDEX_DTYPE,
    NO_BACKGROUND,
    POINTER_DTYPE,
    create_groups,
    link_sparse,
    write_process,
    write_static,
)
from lima2_receivers.saving.spot_table import SpotTable


class SparseFiles:
    """Files of sparse frames; see `lima2_receivers.saving.writer.FileKind`."""

    #: One chunk of each dataset, and the spots of 64 frames at several hundred a frame.
    reserve_bytes = 4 << 20

    def __init__(self, saving: Saving, info: SparseInfo, rank: int, metadata: Mapping[str, Any], codec: Codec) -> None:
        self._saving, self._info, self._codec = saving, info, codec
        self._template = self._make_template(rank, metadata)
        no_bins = np.full(info.nb_bins, NO_BACKGROUND, BACKGROUND_DTYPE)
        self._hole = SparseFrame(np.zeros(0, INDEX_DTYPE), np.zeros(0, info.dtype), no_bins, no_bins)

    def check(self, frame: SparseFrame, meta: FrameMeta) -> None:
        info, bins = self._info, {len(frame.background_avg), len(frame.background_std)}
        if len(frame.index) != len(frame.intensity) or frame.intensity.dtype != info.dtype or bins != {info.nb_bins}:
            raise SavingError(
                f"sparse frame {meta.index} has {len(frame.index)} places, {len(frame.intensity)} values of "
                f"{frame.intensity.dtype} and {sorted(bins)} bins, but the files were prepared for as many places as "
                f"values, {info.dtype} and {info.nb_bins} bins"
            )

    def encode(self, frame: SparseFrame) -> SparseFrame:
        """As it is: chunks are compressed when they are full."""
        return frame

    def create(self, path: Path, number: int) -> SparseFile:
        return SparseFile(path, number, self._template, self._parts(), self._hole, self._codec)

    def _parts(self) -> _Parts:
        return _Parts(self._saving, self._info)

    def _make_template(self, rank: int, metadata: Mapping[str, Any]) -> FileTemplate:
        """The whole tree with mask, radius and normalization, compressed once for all files."""
        layout, memory = self._saving.layout(), BytesIO()
        with h5py.File(memory, "w") as file:
            software = software_versions() | {"compression": self._codec.name}
            detector = create_tree(file, layout, "lima2-bliss.receiver", metadata, software)
            create_groups(file, layout)
            write_static(file, layout, self._info, self._codec)
            write_process(file, layout, metadata)
            self._parts().create(file, self._codec)
            link_sparse(file, layout)
            write_tree(detector, "receiver", rank)
        return FileTemplate(self._saving, layout, memory.getvalue())


class _Parts:
    """The growing datasets of one file."""

    def __init__(self, saving: Saving, info: SparseInfo) -> None:
        layout = saving.layout()
        self.group_path = layout.sparse_path
        nb_rows = rows_of_chunk(BACKGROUND_DTYPE.itemsize * info.nb_bins, saving.nb_frames_per_file)
        nb_pixels = rows_of_chunk(INDEX_DTYPE.itemsize, info.shape[0] * info.shape[1] * saving.nb_frames_per_file)
        self.index, self.intensity = (
            AppendedRows(f"{self.group_path}/{name}", dtype, (), nb_pixels)
            for name, dtype in (("index", INDEX_DTYPE), ("intensity", info.dtype))
        )
        self.background_avg, self.background_std = (
            AppendedRows(f"{self.group_path}/{name}", BACKGROUND_DTYPE, (info.nb_bins,), nb_rows) for name in BACKGROUND
        )
        self.spots = SpotTable(layout.peaks_path, saving.nb_frames_per_file)

    @property
    def _all(self) -> tuple[AppendedRows | SpotTable, ...]:
        return self.index, self.intensity, self.background_avg, self.background_std, self.spots

    def create(self, file: h5py.File, codec: Codec) -> None:
        for rows, fill in ((self.index, 0), (self.intensity, 0), (self.background_avg, NO_BACKGROUND)):
            rows.create(file, codec, fill)
        self.background_std.create(file, codec, NO_BACKGROUND)
        self.spots.create(file, codec)

    def bind(self, file: h5py.File, codec: Codec) -> None:
        for part in self._all:
            part.bind(file, codec)

    def append(self, frame: SparseFrame) -> int:
        return (
            self.index.append(frame.index)
            + self.intensity.append(frame.intensity)
            + self.background_avg.append(frame.background_avg[np.newaxis])
            + self.background_std.append(frame.background_std[np.newaxis])
            + self.spots.append(frame.spots)
        )

    def truncate(self, nb_frames: int, nb_pixels: int) -> None:
        self.index.truncate(nb_pixels)
        self.intensity.truncate(nb_pixels)
        self.background_avg.truncate(nb_frames)
        self.background_std.truncate(nb_frames)
        self.spots.truncate(nb_frames)

    def finish(self) -> None:
        for part in self._all:
            part.finish()

    @property
    def nbytes_held(self) -> int:
        return sum(part.nbytes_held for part in self._all)


class SparseFile:
    """A file being written; see `lima2_receivers.saving.writer.ReceiverFile`."""

    def __init__(
        self, path: Path, number: int, template: FileTemplate, parts: _Parts, hole: SparseFrame, codec: Codec
    ) -> None:
        self._records = FrameRecords(template.saving, template.layout, number)
        self._parts, self._hole, self._codec = parts, hole, codec
        self._pointers = array("q", [0])
        self._file = template.open(path)
        self._parts.bind(self._file.h5, codec)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def full(self) -> bool:
        return self._records.full

    def append(self, frame: SparseFrame | None, meta: FrameMeta) -> int:
        """Add the next frame; None makes an empty row. A frame that fails is not in the file."""
        content = frame or self._hole
        self._file.check(content.index.nbytes + content.intensity.nbytes + self._parts.nbytes_held)
        try:
            nbytes = self._parts.append(content)
        except BaseException:
            self._parts.truncate(len(self), self._pointers[-1])
            raise
        self._pointers.append(self._pointers[-1] + len(content.index))
        hit = frame.is_hit if meta.hit is None and frame is not None else bool(meta.hit)
        self._records.append(meta, hit, hole=frame is None)
        return nbytes

    def complete(self) -> None:
        self._parts.finish()
        put(self._file.h5[self._parts.group_path], "frame_ptr", np.array(self._pointers, POINTER_DTYPE))
        self._records.write(self._file.h5, self._file.path.name)
        self._file.publish()

    def salvage(self) -> None:
        self._file.reopen()
        self._parts.bind(self._file.h5, self._codec)
        try:
            self.complete()
        finally:
            self._file.close()

    def discard(self) -> None:
        self._file.discard()
