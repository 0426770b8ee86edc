"""The SMX computations compiled for the CPU.

Steps of a frame, each shared by the finder's threads: the frame is brought into the order of the bins, the bins are
clipped, pixels are compared with bounds and picked, spots are measured around tops.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from lima2_bliss.contract import SPOT, StateError
from lima2_receivers.kernels.smx_cpu_clip import MODELS, clip_plain, clip_weighted, sort_bands
from lima2_receivers.kernels.smx_cpu_peaks import find_spots
from lima2_receivers.kernels.smx_cpu_pick import least_thresholds, pick, segment_bounds
from lima2_receivers.kernels.smx_cpu_tables import SEGMENT, make_entry_tables, make_pick_tables
from lima2_receivers.kernels.smx_cpu_workers import Workers, even_parts
from lima2_receivers.kernels.smx_reference import strongest
from lima2_receivers.kernels.smx_types import FinderResult, FinderSettings, PixelCorrections, RadialBins

#: Parts of a step for each thread: a thread that is held up does not hold up the frame.
PARTS_PER_THREAD = 4

#: Possible tops of spots that are worth another thread.
TOPS_PER_PART = 500

#: Bytes that a core fetches from memory at a time.
CACHE_LINE = 64


class CpuFinder:
    """Background, intense pixels and spots on the CPU; see `Finder`. ``threads`` share each frame."""

    backend = "cpu"

    def __init__(
        self,
        bins: RadialBins,
        corrections: PixelCorrections,
        settings: FinderSettings,
        dtype: np.dtype,
        threads: int = 1,
    ) -> None:
        raw = np.dtype(dtype)
        self.intensity_dtype = raw if raw.kind in "iu" and corrections.dark is None else np.dtype(np.float32)
        self._shape, self._size = bins.shape, bins.shape[0] * bins.shape[1]
        self._raw_dtype = raw if raw.itemsize <= 4 else np.dtype(np.float32)
        self._max_spots = settings.max_spots
        self._entries = make_entry_tables(bins, corrections, settings.error_model)
        self._pick = make_pick_tables(bins, corrections, settings)
        dummy, delta = corrections.dummy or (0.0, -1.0)
        left_out = (np.float32(dummy), np.float32(delta))
        self._clipping = (MODELS[settings.error_model], float(settings.cutoff_clip), settings.cycle, *left_out)
        cutoffs = (settings.noise, settings.cutoff_pick, settings.cutoff_peak)
        self._limits = (*(np.float32(limit) for limit in cutoffs), *left_out)
        self._patch = (settings.patch_size // 2, settings.connected)
        self._nb_bins = bins.nb_bins
        self._workers = Workers(threads)
        parts = threads * PARTS_PER_THREAD if threads > 1 else 1
        self._band_parts = even_parts(len(self._entries.bands) - 1, parts)
        self._bin_parts = _bin_parts(self._entries.begins, parts)
        self._segment_parts = even_parts(len(self._pick.first), parts)
        self._scratch: deque[_Scratch] = deque()
        self._closed = False

    def __call__(self, image: np.ndarray) -> FinderResult:
        if self._closed:
            raise StateError("the finder is closed; make a new one")
        if image.shape != self._shape:
            raise ValueError(f"image of shape {image.shape}, but the tables were made for {self._shape}")
        # kernels are compiled for arrays that could be written; others are copied
        raw = np.require(image, self._raw_dtype, ["C", "W"]).reshape(-1)
        try:
            scratch = self._scratch.pop()
        except IndexError:
            scratch = _Scratch(self)
        try:
            average, deviation = self._background(raw, scratch)
            index, tops = self._picked(raw, average, deviation, scratch)
            spots, dropped = self._spots(raw, average, deviation, tops)
        finally:
            self._scratch.append(scratch)
        return FinderResult(average, deviation, index, self._intensity(image, index), spots, dropped)

    def close(self) -> None:
        self._closed = True
        self._workers.close()
        self._scratch.clear()

    def _background(self, raw: np.ndarray, scratch: _Scratch) -> tuple[np.ndarray, np.ndarray]:
        entries, pixels = self._entries, scratch.pixels
        order = (entries.offsets, entries.runs, entries.targets, entries.bands)
        cache_line = max(CACHE_LINE // raw.itemsize, 1)
        average, deviation = np.empty((2, self._nb_bins), np.float32)

        def sort(bands: tuple[int, int]) -> None:
            sort_bands(raw, order, bands, cache_line, pixels)

        def clip(numbers: tuple[int, int]) -> None:
            longest = int(np.diff(entries.begins[numbers[0] : numbers[1] + 1]).max())
            bin_of = (pixels, entries.begins, entries.counts)
            if entries.plain:
                values = np.empty((1, longest), np.float32)
                clip_plain(*bin_of, numbers, self._clipping, values, average, deviation)
            else:
                values = np.empty((3, longest), np.float32)
                clip_weighted(*bin_of, entries.maps, numbers, self._clipping, values, average, deviation)

        self._workers.run(sort, self._band_parts)
        self._workers.run(clip, self._bin_parts)
        return average, deviation

    def _picked(
        self, raw: np.ndarray, average: np.ndarray, deviation: np.ndarray, scratch: _Scratch
    ) -> tuple[np.ndarray, np.ndarray]:
        least_thresholds(average, deviation, *self._limits[:3], scratch.levels)
        floating = raw.dtype.kind == "f"
        keys = raw.view(np.int32) if floating else raw
        key_bounds = scratch.bounds.view(np.int32) if floating else scratch.bounds
        counts: dict[int, tuple[int, int]] = {}

        def pick_part(part: tuple[int, int]) -> None:
            segment_bounds(self._pick.segments, scratch.levels, part, scratch.bounds)
            counts[part[0]] = pick(
                raw,
                keys,
                scratch.bounds,
                key_bounds,
                self._pick.watched,
                part,
                self._pick.pixels,
                average,
                deviation,
                self._limits,
                scratch.index,
                scratch.tops,
            )

        self._workers.run(pick_part, self._segment_parts)
        firsts = [first for first, _ in self._segment_parts]
        index, tops = (
            np.concatenate([found[first * SEGMENT :][: counts[first][kind]] for first in firsts])
            for kind, found in enumerate((scratch.index, scratch.tops))
        )
        return index, tops

    def _spots(
        self, raw: np.ndarray, average: np.ndarray, deviation: np.ndarray, tops: np.ndarray
    ) -> tuple[np.ndarray, int]:
        parts = even_parts(len(tops), min(self._workers.threads * PARTS_PER_THREAD, len(tops) // TOPS_PER_PART))
        rows = np.empty((len(tops), 5), np.float32)
        counts: dict[int, int] = {}

        def measure(part: tuple[int, int]) -> None:
            inside = slice(*part)
            maps = (self._pick.pixels, average, deviation)
            counts[part[0]] = find_spots(raw, self._shape, tops[inside], *maps, self._limits, self._patch, rows[inside])

        self._workers.run(measure, parts)
        found = np.concatenate([rows[first : first + counts[first]] for first, _ in parts])
        spots = np.zeros(len(found), SPOT)
        for column, name in enumerate(("y", "x", "intensity", "sigma", "size")):
            spots[name] = found[:, column]
        return strongest(spots, self._max_spots)

    def _intensity(self, image: np.ndarray, index: np.ndarray) -> np.ndarray:
        picked = image.reshape(-1).take(index)
        if self._pick.dark.size:
            picked = picked.astype(np.float32) - self._pick.dark.take(index)
        return picked.astype(self.intensity_dtype, copy=False)


class _Scratch:
    """Memory that one frame needs while it is worked on; what is not used is not touched, so costs nothing."""

    def __init__(self, finder: CpuFinder) -> None:
        nb_bins, size = finder._nb_bins, finder._size
        self.pixels = np.empty(len(finder._entries.offsets), finder._raw_dtype)
        self.levels = np.empty((nb_bins.bit_length(), nb_bins))
        self.bounds = np.empty(-(-size // SEGMENT), np.float32)
        self.index = np.empty(size, np.int32)
        self.tops = np.empty(size, np.int32)


def _bin_parts(begins: np.ndarray, number: int) -> list[tuple[int, int]]:
    """Cut the bins into about so many ranges with about as many entries each, none empty."""
    wanted = np.linspace(0, begins[-1], number + 1)[1:-1]
    bounds = np.unique(np.concatenate([[0], np.searchsorted(begins, wanted), [len(begins) - 1]]))
    return [(int(first), int(last)) for first, last in pairwise(bounds)]
