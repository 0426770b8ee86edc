"""Sparse frames for the tests of saving: random ones, and files of several receivers made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lima2_bliss.contract import SPOT, FrameFlags, FrameMeta, RoundRobin, SparseFrame, SparseInfo
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer

SHAPE = (20, 30)
NB_BINS = 8


def radius_of_pixels(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Distance from a point beside the middle, with a masked rectangle."""
    y, x = np.indices(shape)
    radius = np.hypot(y - 8.3, x - 14.2).astype("f4")
    radius[2:4, 5:9] = np.nan
    return radius


def info_of(dtype: str = "u2", **more) -> SparseInfo:
    mask = radius_of_pixels()
    radius = np.linspace(0, np.nanmax(mask), NB_BINS).astype("f4")
    return SparseInfo(SHAPE, np.dtype(dtype), radius, mask, **more)


def random_frame(seed: int, dtype: str = "u2", max_pixels: int = 40, max_spots: int = 6) -> SparseFrame:
    rng = np.random.default_rng(seed)
    good = np.flatnonzero(np.isfinite(radius_of_pixels()))
    index = np.sort(rng.choice(good, rng.integers(0, max_pixels + 1), replace=False)).astype("i4")
    spots = np.zeros(rng.integers(0, max_spots + 1), SPOT)
    for field in ("x", "y", "intensity", "sigma"):
        spots[field] = rng.uniform(0, 19, len(spots))
    spots["size"] = rng.integers(1, 9, len(spots))
    average, deviation = rng.uniform(1, 50, (2, NB_BINS)).astype("f4")
    return SparseFrame(index, rng.poisson(300, len(index)).astype(dtype), average, deviation, spots, bool(seed % 3))


def meta_of(index: int, local: int, frame: SparseFrame | None, flags: FrameFlags = FrameFlags.GOOD) -> FrameMeta:
    return FrameMeta(index, local, 1000 + index, flags, None if frame is None else frame.is_hit)


def saving_in(directory: str | Path, frames_per_file: int = 4, **more) -> Saving:
    return Saving(
        **{
            "enabled": True,
            "base_path": str(directory),
            "filename_prefix": "sparse",
            "nb_frames_per_file": frames_per_file,
            **more,
        }
    )


def save_frames(saving: Saving, frames: Sequence[SparseFrame | None], dispatch: RoundRobin, info: SparseInfo) -> list:
    """Save frames (None: vetoed) as receivers do; returns the local counts."""
    counts = [dispatch.count(rank, len(frames)) for rank in range(dispatch.receivers)]
    for rank, count in enumerate(counts):
        writer = make_writer(saving, info, rank, {"processing": {"peaks": {"cutoff_peak": 5.0}}}, safety_bytes=0)
        for local in range(count):
            index = dispatch.global_index(rank, local)
            frame = frames[index]
            flags = FrameFlags.VETOED if frame is None else FrameFlags.GOOD
            writer.write(frame, meta_of(index, local, frame, flags))
        writer.close()
    return counts


def job_of(saving: Saving, counts: list[int], dtype: str = "uint16", **more) -> MasterJob:
    return MasterJob(saving=saving, counts=counts, shape=(1, *SHAPE), dtype=dtype, kind="sparse", **more)


def assert_same(got: SparseFrame | None, expected: SparseFrame | None) -> None:
    """Bit for bit; spots but for their frame index, which is the file's business."""
    if got is None or expected is None:
        assert got is expected
        return
    for name in ("index", "intensity", "background_avg", "background_std"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), strict=True)
    for field in ("x", "y", "intensity", "sigma", "size"):
        np.testing.assert_array_equal(got.spots[field], expected.spots[field])
    assert got.is_hit == expected.is_hit
