"""Saving parameters and writers for the tests of saving."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import HDF5FrameWriter, make_writer

sys.path.insert(0, str(Path(__file__).parent))  # sparse_frames

METADATA = {
    "acquisition": {"acq": {"nb_frames": 7, "expo_time": 1000}},
    "processing": {"statistics": {"rect_rois": [{"x": 1}, {"x": 2}]}},
    "transform": {"roi": [], "flip": "none", "detector_shape": [6, 5]},
}


@pytest.fixture
def saving(tmp_path: Path) -> Saving:
    return Saving(enabled=True, base_path=str(tmp_path), filename_prefix="scan", nb_frames_per_file=4)


@pytest.fixture
def writer_of() -> Iterator[Callable[..., HDF5FrameWriter]]:
    """Makes writers that are closed at the end of the test."""
    made: list[HDF5FrameWriter] = []

    def make(saving: Saving, shape: tuple[int, int, int] = (1, 6, 5), dtype: str = "uint16", rank: int = 0, **options):
        made.append(make_writer(saving, FrameInfo(*shape, np.dtype(dtype)), rank, METADATA, safety_bytes=0, **options))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "disk"
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=8m"):
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(os.fsencode(place), 2)
