"""The SMX computations on a GPU, or on a CPU through PoCL."""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np

from lima2_bliss.contract import SPOT, AcquisitionError, ParameterError, StateError
from lima2_receivers.kernels.opencl_devices import (
    build_reason,
    choose_device,
    describe_device,
    gpu_available,
    is_gpu,
    opencl_errors,
)
from lima2_receivers.kernels.smx_opencl_tables import PIXEL_TYPES, DeviceTables
from lima2_receivers.kernels.smx_reference import strongest
from lima2_receivers.kernels.smx_types import FinderResult, FinderSettings, PixelCorrections, RadialBins

__all__ = ["OpenclFinder", "gpu_available"]

#: Lanes: frames on the device at the same time. One copies while the other one computes.
GPU_LANES, CPU_LANES = 2, 1


class OpenclFinder:
    """Background, intense pixels and spots on an OpenCL device; see `Finder`.

    ``device``: 'platform:device', empty for the first GPU. As many threads as there are ``lanes`` (0: two on a GPU,
    one on a CPU) work at the same time, others wait. With ``profiling``, `profile` has the seconds that the device
    spent on all frames so far by step; copies of the image are 'copy in', results 'copy out', the rest are kernels.
    """

    backend = "opencl"

    def __init__(
        self,
        bins: RadialBins,
        corrections: PixelCorrections,
        settings: FinderSettings,
        dtype: np.dtype,
        device: str = "",
        lanes: int = 0,
        profiling: bool = False,
    ) -> None:
        if settings.error_model == "variance" and corrections.variance is None:
            raise ParameterError("error model variance needs a map of variances")
        chosen = choose_device(device)
        raw = np.dtype(dtype)
        self.shape, self.settings = bins.shape, settings
        self.raw_dtype = raw if raw.name in PIXEL_TYPES else np.dtype(np.float32)
        self.intensity_dtype = raw if raw.kind in "iu" and corrections.dark is None else np.dtype(np.float32)
        self.device = describe_device(chosen)
        self.profile: dict[str, float] = {}
        self.nb_profiled = 0
        self._dark = corrections.dark
        self._closed = False
        self._profile_lock = threading.Lock()
        nb_lanes = lanes or (GPU_LANES if is_gpu(chosen) else CPU_LANES)
        self._lanes: queue.SimpleQueue[_Lane | None] = queue.SimpleQueue()
        try:
            tables = DeviceTables(chosen, bins, corrections, settings, self.raw_dtype)
            for _ in range(nb_lanes):
                self._lanes.put(_Lane(tables, settings, profiling))
        except opencl_errors() as error:
            reason = build_reason(error)
            raise ParameterError(
                f"OpenCL device {self.device} cannot be used: {reason}; take another compute.device or compute.backend"
            ) from error

    def __call__(self, image: np.ndarray) -> FinderResult:
        """``image``: raw frame (height, width)."""
        if image.shape != self.shape:
            raise ParameterError(f"a frame of {image.shape} was given to a finder for {self.shape} (height, width)")
        raw = np.ascontiguousarray(image, self.raw_dtype)
        lane = self._lanes.get()
        try:
            if lane is None or self._closed:
                raise StateError("the finder is closed")
            averages, deviations, index, tops, spots, sizes = lane.run(raw)
            self._add_profile(lane)
        except opencl_errors() as error:
            raise AcquisitionError(f"OpenCL device {self.device} failed: {error}") from error
        finally:
            self._lanes.put(None if self._closed else lane)
        index.sort()
        intensity = image.ravel()[index]
        if self._dark is not None:
            intensity = intensity.astype(np.float32) - self._dark[index]
        rows, dropped = strongest(_spot_rows(tops, spots, sizes), self.settings.max_spots)
        return FinderResult(averages, deviations, index, intensity.astype(self.intensity_dtype), rows, dropped)

    def close(self) -> None:
        """Give the device's memory back when the frames that it works on are done; harmless twice."""
        self._closed = True
        while not self._lanes.empty():
            self._lanes.get()
        self._lanes.put(None)  # for who asks, or waits for a lane

    def _add_profile(self, lane: _Lane) -> None:
        if not lane.profiling:
            return
        with self._profile_lock:
            self.nb_profiled += 1
            for name, event in lane.events:
                self.profile[name] = self.profile.get(name, 0.0) + (event.profile.end - event.profile.start) * 1e-9


def _spot_rows(tops: np.ndarray, spots: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    kept = np.flatnonzero(sizes)
    kept = kept[np.argsort(tops[kept])]
    rows = np.zeros(len(kept), SPOT)
    for column, name in enumerate(("y", "x", "intensity", "sigma")):
        rows[name] = spots[kept, column]
    rows["size"] = sizes[kept]
    return rows


class _Lane:
    """A queue with the buffers of one frame at a time."""

    def __init__(self, tables: DeviceTables, settings: FinderSettings, profiling: bool) -> None:
        import pyopencl as cl

        self.profiling = profiling
        self.events: list[tuple[str, Any]] = []
        self._tables, self._settings = tables, settings
        flag = cl.command_queue_properties.PROFILING_ENABLE
        self._queue = cl.CommandQueue(tables.context, properties=flag if profiling else 0)
        names = ("gather", "clip", "find", "describe")
        self._kernels = {name: cl.Kernel(tables.program, name) for name in names}
        self._image = self._buffer(tables.size * tables.dtype.itemsize)
        self._values = self._buffer(tables.nb_entries * 4)
        self._variances = self._buffer(tables.nb_entries * 4) if tables.has_variances else None
        self._averages, self._deviations = (self._buffer(tables.nb_bins * 4) for _ in range(2))
        self._picked, self._tops = (self._buffer(tables.size * 4) for _ in range(2))
        self._counters = self._buffer(8)
        self._capacity = 0  # of the buffers for spots, which grow with the frames
        self._spots = self._sizes = None

    def _buffer(self, nbytes: int) -> Any:
        import pyopencl as cl

        return cl.Buffer(self._tables.context, cl.mem_flags.READ_WRITE, max(nbytes, 16))

    def run(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """Averages, deviations, picked places, tops, spots (n, 4), sizes (n) of one frame."""
        tables, settings = self._tables, self._settings
        f4, i4 = np.float32, np.int32
        self.events = []
        self._copy("copy in", self._image, image)
        self._clip()
        averages, deviations = (np.empty(tables.nb_bins, f4) for _ in range(2))
        self._copy("copy out", averages, self._averages)
        self._copy("copy out", deviations, self._deviations)
        cutoffs = f4(settings.cutoff_pick), f4(settings.cutoff_peak)
        maps = (self._image, tables.position, tables.dark, tables.norm, *tables.dummy, self._averages, self._deviations)
        found = (self._picked, self._tops, self._counters)
        self._launch("find", tables.size, tables.pixel_group, *maps, f4(settings.noise), *cutoffs, *found)
        counters = np.empty(2, i4)
        self._copy("copy out", counters, self._counters)
        self._queue.finish()
        nb_picked, nb_tops = (int(count) for count in counters)
        picked, tops, sizes = (np.empty(n, i4) for n in (nb_picked, nb_tops, nb_tops))
        spots = np.empty((nb_tops, 4), f4)
        if nb_tops:
            self._grow(nb_tops)
            described = (cutoffs[1], i4(settings.connected), self._tops, i4(nb_tops), self._spots, self._sizes)
            self._launch("describe", nb_tops, tables.pixel_group, *maps, f4(settings.noise), *described)
        for host, buffer in ((picked, self._picked), (tops, self._tops), (spots, self._spots), (sizes, self._sizes)):
            if host.size:
                self._copy("copy out", host, buffer)
        self._queue.finish()
        return averages, deviations, picked, tops, spots, sizes

    def _clip(self) -> None:
        import pyopencl as cl

        tables, settings = self._tables, self._settings
        norm, share = tables.entry_norm, tables.entry_share
        entries = (self._image, tables.indices, np.int32(tables.nb_entries), tables.entry_dark, norm, share)
        model = (tables.entry_fixed, *tables.dummy, np.int32(tables.poisson))
        self._launch("gather", tables.nb_entries, tables.pixel_group, *entries, *model, self._values, self._variances)
        of_bins = (norm, share, tables.begins, tables.entries)
        limits = (np.float32(settings.cutoff_clip), np.int32(settings.cycle))
        results = (self._averages, self._deviations, self._counters, cl.LocalMemory(tables.sums_nbytes))
        items = tables.nb_bins * tables.group
        self._launch("clip", items, tables.group, self._values, self._variances, *of_bins, *limits, *results)

    def _grow(self, needed: int) -> None:
        if needed > self._capacity:
            self._capacity = min(max(2 * needed, 4096), self._tables.size)
            self._spots, self._sizes = self._buffer(self._capacity * 16), self._buffer(self._capacity * 4)

    def _launch(self, name: str, items: int, group: int, *arguments: Any) -> None:
        size = max(-(-items // group), 1) * group
        self.events.append((name, self._kernels[name](self._queue, (size,), (group,), *arguments)))

    def _copy(self, name: str, to: Any, source: Any) -> None:
        import pyopencl as cl

        self.events.append((name, cl.enqueue_copy(self._queue, to, source, is_blocking=False)))
