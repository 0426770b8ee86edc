"""How many hits and spots an acquisition gave, and how much smaller its sparse frames are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lima2_bliss.client import Acquisition, AcquisitionStatus
from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.records import BACKGROUND_BIN, SMX_FRAME_STREAM

#: Bytes of a pixel's place in a sparse frame.
_PLACE_BYTES = 4


@dataclass(frozen=True)
class HitSummary:
    """Sums over the frames of an acquisition: ``spots`` in its hits, ``pixels`` kept in all its sparse frames."""

    frames: int
    hits: int
    spots: int
    pixels: int
    frame: FrameInfo
    nb_bins: int

    @property
    def hit_rate(self) -> float:
        """Share of the frames that are hits, 0 to 1."""
        return self.hits / self.frames if self.frames else 0.0

    @property
    def spots_per_hit(self) -> float:
        return self.spots / self.hits if self.hits else 0.0

    @property
    def pixels_kept(self) -> float:
        """Share of the pixels in sparse frames, 0 to 1."""
        return self.pixels / (self.frames * self.frame.height * self.frame.width) if self.frames else 0.0

    @property
    def reduction(self) -> float:
        """Bytes of the full frames over bytes of the sparse ones with their background, both uncompressed."""
        sparse = self.pixels * (_PLACE_BYTES + self.frame.dtype.itemsize)
        sparse += self.frames * self.nb_bins * BACKGROUND_BIN.itemsize
        return self.frames * self.frame.nbytes / sparse if sparse else 0.0

    def lines(self) -> Sequence[str]:
        """For the user to read."""
        if not self.frames:
            return []
        hits = f"{self.hits} {'hit' if self.hits == 1 else 'hits'} ({self.hit_rate:.1%})"
        if self.hits:
            hits += f", {self.spots_per_hit:.1f} spots per hit"
        return [hits, f"sparse frames {self.reduction:.1f} times smaller ({self.pixels_kept:.2%} of the pixels kept)"]


def hit_summary(acquisition: Acquisition) -> HitSummary | None:
    """The sums from the receivers' results; None when the pipeline looks for no hits. Holes do not count."""
    status = acquisition.status()
    source = status.receivers[0].pipeline.sources.get("sparse_frame")
    if source is None:
        return None
    rows = acquisition.results(SMX_FRAME_STREAM)
    is_hit = rows["is_hit"] != 0
    return HitSummary(
        frames=max(len(rows) - status.invalid, 0),
        hits=int(np.count_nonzero(is_hit)),
        spots=int(rows["nb_peaks"][is_hit].sum(dtype=np.int64)),
        pixels=int(rows["nb_sparse"].sum(dtype=np.int64)),
        frame=acquisition.frame_info,
        nb_bins=int(source.frame_info.get("nb_bins", 0)),
    )


def vetoed(status: AcquisitionStatus) -> dict[str, int]:
    """Frames left out of the files because they were not to be saved, by frame source."""
    sums: dict[str, int] = {}
    for receiver in status.receivers:
        for source, told in receiver.pipeline.sources.items():
            if told.vetoed:
                sums[source] = sums.get(source, 0) + told.vetoed
    return sums
