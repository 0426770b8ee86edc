"""Saving parameters of one frame source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lima2_bliss.contract.files import FileLayout
from lima2_bliss.contract.parameters.strict import Parameters

Compression = Literal["none", "bshuf_lz4", "gzip", "zstd"]
FileExistsPolicy = Literal["abort", "overwrite", "append"]


class Saving(Parameters):
    """Where and how frames are saved; the key names are LImA2's."""

    enabled: bool = Field(False, description="write files")
    base_path: str = Field("/tmp", min_length=1, description="directory; must exist and be writable on the receivers")
    filename_prefix: str = Field(
        "lima2", pattern=r"^[^/%\x00]+$", description="files are PREFIX_RECEIVER_NUMBER.h5 and PREFIX_master.h5"
    )
    filename_rank: int = Field(0, ge=0, description="index of the receiver; set per receiver by the client")
    filename_suffix: Literal[".h5"] = Field(".h5", description="kept for LImA2 clients")
    file_exists_policy: FileExistsPolicy = Field(
        "abort", description="append: take the next free prefix number instead of failing"
    )
    nb_frames_per_file: int = Field(50, ge=1, le=1_000_000, description="frames in one file of one receiver")
    compression: Compression = Field("bshuf_lz4", description="of each frame; gzip and none are read without plugins")
    nx_entry_name: str = Field("entry_0000", pattern=r"^[^/]+$", description="name of the NXentry")
    nx_instrument_name: str = Field("instrument", pattern=r"^[^/]+$", description="name of the NXinstrument")
    nx_detector_name: str = Field("detector", pattern=r"^[^/]+$", description="name of the NXdetector")
    nb_dimensions: Literal["dim_3d_or_4d", "dim_4d"] = Field(
        "dim_3d_or_4d", description="frames of one channel as (n, y, x), or as (n, 1, y, x)"
    )
    include_frame_idx: bool = Field(True, description="write the dataset frame_index")

    def layout(self) -> FileLayout:
        """File names and HDF5 paths that follow from these parameters."""
        return FileLayout(
            Path(self.base_path),
            self.filename_prefix,
            self.nb_frames_per_file,
            self.nx_entry_name,
            self.nx_instrument_name,
            self.nx_detector_name,
        )
