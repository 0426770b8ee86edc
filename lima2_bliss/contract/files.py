"""Names of files and of the places inside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileLayout:
    """Where the frames of one frame source lie: names as LImA2's conductor expects them."""

    base_path: Path
    prefix: str
    nb_frames_per_file: int
    entry: str = "entry_0000"
    instrument: str = "instrument"
    detector: str = "detector"

    def receiver_file(self, receiver: int, number: int) -> Path:
        """File ``number`` of a receiver: its local frames ``number * nb_frames_per_file`` onward."""
        return self.base_path / f"{self.prefix}_{receiver}_{number:05d}.h5"

    @property
    def master_file(self) -> Path:
        return self.base_path / f"{self.prefix}_master.h5"

    @property
    def detector_path(self) -> str:
        return f"/{self.entry}/{self.instrument}/{self.detector}"

    @property
    def data_path(self) -> str:
        """HDF5 path of the frames, in receiver files and in the master."""
        return f"{self.detector_path}/data"

    @property
    def flags_path(self) -> str:
        """HDF5 path of the per-frame flags (uint32 `FrameFlags`)."""
        return f"{self.detector_path}/frame_flags"

    @property
    def index_path(self) -> str:
        """HDF5 path of the per-frame global index (int64)."""
        return f"{self.detector_path}/frame_index"

    @property
    def hit_path(self) -> str:
        """HDF5 path of the per-frame hit flags (uint8), when the pipeline looks for hits."""
        return f"{self.detector_path}/is_hit"

    @property
    def sparse_path(self) -> str:
        """NXdata group of the sparse frames (the layout of pyFAI's sparse files)."""
        return f"/{self.entry}/sparse_frames"

    @property
    def peaks_path(self) -> str:
        """NXdata group of the spots of each frame (CXI peak lists)."""
        return f"/{self.entry}/peaks"

    @property
    def hits_path(self) -> str:
        """NXdata group of a master file with the hits alone: data, frame_index, peaks."""
        return f"/{self.entry}/hits"
