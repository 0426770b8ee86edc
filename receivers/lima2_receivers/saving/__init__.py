"""Saving: HDF5 files of each receiver, master files over them, compression, and what to do with existing files."""

from lima2_receivers.saving.existing import SAFETY_BYTES, existing_files, preflight, resolve_prefix
from lima2_receivers.saving.masters import write_master
from lima2_receivers.saving.reading import SparseFrames, open_sparse
from lima2_receivers.saving.writer import HDF5FrameWriter, make_writer

__all__ = [
    # receiver files, dense and sparse
    "HDF5FrameWriter",
    "make_writer",
    # master file
    "write_master",
    # sparse files, read back
    "SparseFrames",
    "open_sparse",
    # before anything starts
    "SAFETY_BYTES",
    "existing_files",
    "preflight",
    "resolve_prefix",
]
