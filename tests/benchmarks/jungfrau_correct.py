"""Speed of assembly and correction of Jungfrau frames (4M: 8 modules) by one and two threads.

``copies`` is the time of a frame over that of moving as many bytes by plain copies as the frame must read and write:
raw pixels, result, pedestal and factor of one gain stage; a copy of n bytes moves 2 n. Frames and results, and what is
copied, take turns in more memory than the last-level cache holds; the copies use as many threads. ``gb_per_s`` counts
the same bytes. The figures without a type in their name are for float32 photons, all pixels in G0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _harness import arguments, report

from lima2_receivers.kernels.jungfrau import Corrector
from lima2_receivers.kernels.jungfrau_layout import Layout
from lima2_receivers.kernels.jungfrau_types import output
from lima2_receivers.kernels.smx_cpu_workers import Workers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kernels"))
from jungfrau_frames import random_maps, to_raw

#: Memory that the buffers of what takes turns have together, at least [bytes]: beyond any last-level cache.
ROTATED = 192 << 20

#: Part of the pixels in G1, at random places, which is the worst case: spots have theirs side by side.
SWITCHED = {"g0": 0.0, "switched_0.1%": 0.001, "switched_20%": 0.2}


def medians_s(works: list[Callable[[int], object]], repeats: int) -> list[float]:
    """Median time of each work(turn). They take turns, so that other load on the host meets all alike."""
    times = np.empty((repeats + 2, len(works)))
    for turn in range(repeats + 2):
        for number, work in enumerate(works):
            start = time.perf_counter()
            work(turn)
            times[turn, number] = time.perf_counter() - start
    return [float(median) for median in np.median(times[2:], axis=0)]


class Copies:
    """Plain copies that read and write so many bytes in all (half of each), shared by threads."""

    def __init__(self, nbytes: int, threads: int) -> None:
        half = nbytes // 2 // threads
        turns = ROTATED // (2 * half * threads) + 2
        self.pairs = [[(np.ones(half, "u1"), np.ones(half, "u1")) for _ in range(threads)] for _ in range(turns)]
        self.workers = Workers(threads)

    def __call__(self, turn: int) -> None:
        """Copy what has its turn."""
        self.workers.run(lambda pair: np.copyto(pair[1], pair[0]), self.pairs[turn % len(self.pairs)])


def frames(layout: Layout, maps: Any, switched: float, count: int) -> list[np.ndarray]:
    """Raw stacks of a few photons per pixel, a part of them in G1."""
    random = np.random.default_rng(3)
    photons = random.poisson(0.5, layout.stack_shape).astype(np.float32)
    stages = (random.random(layout.stack_shape) < switched).astype(np.uint8)
    stack = to_raw(photons + 100 * stages, stages, maps)
    return [stack.copy() for _ in range(count)]


def measure(layout: Layout, dtype: str, case: str, repeats: int) -> dict[str, float]:
    """Time of a frame and its relation to copies, by one and two threads."""
    maps, kind = random_maps(layout.stack_shape), output(dtype)
    stack_bytes, image_bytes = 2 * maps.factors[0].size, kind.dtype.itemsize * int(np.prod(layout.image_shape))
    nbytes = stack_bytes + image_bytes + 2 * maps.factors[0].nbytes
    turns = max(2, -(-ROTATED // (stack_bytes + image_bytes)))
    stacks = frames(layout, maps, SWITCHED[case], turns)
    images = [np.zeros(layout.image_shape, kind.dtype) for _ in range(turns)]
    figures = {"mb_per_frame": nbytes / 1e6}
    for threads, suffix in ((1, ""), (2, "_2_threads")):
        copies = Copies(nbytes, threads)
        corrector = Corrector(layout, maps, kind, threads=threads)
        took, copied = medians_s([partial(correct_turn, corrector, stacks, images), copies], repeats)
        copies.workers.close()
        corrector.close()
        figures |= {f"ms{suffix}": took * 1e3, f"gb_per_s{suffix}": nbytes / took / 1e9}
        figures[f"copies{suffix}"] = took / copied
    return figures


def correct_turn(corrector: Corrector, stacks: list[np.ndarray], images: list[np.ndarray], turn: int) -> None:
    """Correct the frame whose turn it is."""
    corrector(stacks[turn % len(stacks)], images[turn % len(images)])


def main() -> None:
    options = arguments(__doc__ or "", repeats=40, quick=0)
    layout = Layout(grid=(1, 1)) if options.quick else Layout()
    figures: dict[str, float] = {"megapixels": np.prod(layout.image_shape) / 1e6}
    figures |= measure(layout, "float32", "g0", options.repeats)
    for dtype, case in (("float32", "switched_0.1%"), ("float32", "switched_20%"), ("int32", "g0"), ("uint16", "g0")):
        measured = measure(layout, dtype, case, options.repeats)
        figures |= {f"{dtype}_{case}_{name}": value for name, value in measured.items() if not name.startswith("mb")}
    report(options, f"Jungfrau assembly and correction, {layout.nb_modules} modules", figures)


if __name__ == "__main__":
    main()
