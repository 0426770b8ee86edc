"""What is known of each frame of a file beside its pixels: index, flags, time, hit; and how many there are."""

from __future__ import annotations

from array import array
from typing import Any

import h5py
import numpy as np

from lima2_bliss.contract import FileLayout, FrameFlags, FrameMeta
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving.nexus import now, write_tree


class FrameRecords:
    """Rows of the frames of file ``number``, kept in memory and written when the file is complete."""

    def __init__(self, saving: Saving, layout: FileLayout, number: int) -> None:
        self._saving, self._layout, self._number = saving, layout, number
        self._index, self._time, self._flags, self._hits = array("q"), array("q"), array("I"), array("B")
        self._looks_for_hits = False
        self._nb_holes = 0

    def __len__(self) -> int:
        """Frames in it, holes included."""
        return len(self._index)

    @property
    def full(self) -> bool:
        return len(self) >= self._layout.nb_frames_per_file

    def append(self, meta: FrameMeta, hit: bool | None, *, hole: bool) -> None:
        """The next frame; ``hit`` None when nobody looks for hits."""
        self._index.append(meta.index)
        self._time.append(meta.timestamp_ns)
        self._flags.append(int(meta.flags))
        self._hits.append(bool(hit))
        self._looks_for_hits |= hit is not None
        self._nb_holes += hole

    def write(self, file: h5py.File, file_name: str) -> None:
        """Write them into the detector group, again if need be."""
        detector = file[self._layout.detector_path]
        file.attrs["file_name"] = file_name
        file.attrs["file_time"] = now()
        flags = np.array(self._flags, "u4")
        put(detector, "frame_flags", flags)
        put(detector, "timestamp", np.array(self._time, "i8")).attrs["units"] = "ns"
        if self._saving.include_frame_idx:
            put(detector, "frame_index", np.array(self._index, "i8"))
        counts = {
            "file_number": self._number,
            "first_local_frame": self._number * self._layout.nb_frames_per_file,
            "nb_frames": len(self),
            "nb_holes": self._nb_holes,
        }
        if self._looks_for_hits:
            hits = put(detector, "is_hit", np.array(self._hits, "u1"))
            counts |= {"nb_hits": int(hits[:].sum()), "nb_vetoed": nb_vetoed(flags)}
        if "counts" in detector:
            del detector["counts"]
        write_tree(detector, "counts", counts)


def nb_vetoed(flags: np.ndarray) -> int:
    """How many frames were good but not to be saved."""
    return int(np.count_nonzero(flags & np.uint32(FrameFlags.VETOED)))


def put(group: h5py.Group, name: str, values: np.ndarray, **options: Any) -> h5py.Dataset:
    """A dataset of these values, instead of one that a failed attempt left; ``options`` of h5py."""
    if name in group:
        del group[name]
    return group.create_dataset(name, data=values, **options)
