"""Speed of the kernels on one thread, against a copy of the same number of bytes.

GB/s counts what a kernel must read and write (frame, maps, result); the ratio compares with an ``np.copyto`` that reads
and writes as many bytes in all. A ratio of 1 means limited by memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from lima2_bliss.contract import ImageTransform
from lima2_receivers.kernels import (
    ArcRoi,
    add_frame,
    correct,
    find_regions,
    first_above,
    make_profile,
    mask_to_zero,
    placement_of,
    profile_statistics,
    region_statistics,
    sum_dtype,
    transform_frame,
)

SHAPES = {"1 Mpx": (1024, 1024), "4.5 Mpx": (2162, 2068)}
REPEATS = 15


def best_s(work: Callable[[], object]) -> float:
    """The shortest of several runs: what the code needs when nothing else runs."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def copy_s(nbytes: int) -> float:
    """Time of a copy that reads and writes ``nbytes`` in all."""
    source, target = np.ones(max(nbytes // 2, 1), np.uint8), np.ones(max(nbytes // 2, 1), np.uint8)
    return best_s(lambda: np.copyto(target, source))


def rectangles(shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Four ROIs of a sixteenth of the image each."""
    height, width = shape[0] // 4, shape[1] // 4
    corners = ((width // 2, height), (2 * width, height), (width, 2 * height), (3 * width, 3 * height))
    return [(x, y, width, height) for x, y in corners]


def cases(shape: tuple[int, int], dtype: str) -> dict[str, tuple[Callable[[], object], int]]:
    """Work by name, and the bytes that it must move."""
    frame = np.random.default_rng(0).integers(0, 200, (1, *shape)).astype(dtype)
    pixels, nbytes = frame.size, frame.nbytes
    copied = np.empty_like(frame)
    dark, gain, corrected = (np.full(frame.shape, value, "f4") for value in (3, 0.5, 0))
    keep = np.ones(frame.shape, "u1")
    masked = np.random.default_rng(1).random(frame.shape) < 0.01
    four, whole = find_regions(frame.shape, rectangles(shape)), find_regions(frame.shape, [(0, 0, *shape[::-1])])
    holes = find_regions(frame.shape, [(0, 0, *shape[::-1])], valid=~masked)
    ring = find_regions(frame.shape, arcs=[ArcRoi(shape[1] / 2, shape[0] / 2, 200, 400, 20, 300)])
    columns = make_profile(frame.shape, (0, 0, *shape[::-1]), "horizontal")
    total = np.zeros(frame.shape, sum_dtype(frame.dtype, 10))
    itemsize = frame.itemsize

    def geometry(transform: ImageTransform) -> tuple[Callable[[], object], int]:
        out = np.empty((1, *transform.shape), sum_dtype(frame.dtype, transform.binning[0] * transform.binning[1]))
        placement = placement_of(transform)
        return lambda: transform_frame(frame, (0, 0), transform.binning, placement, out), nbytes + out.nbytes

    return {
        "copy": (lambda: np.copyto(copied, frame), 2 * nbytes),
        "statistics, 4 rectangles": (lambda: region_statistics(frame, four), sum(four.sizes) * itemsize),
        "statistics, whole image": (lambda: region_statistics(frame, whole), nbytes),
        "statistics, whole, 1 % masked": (lambda: region_statistics(frame, holes), nbytes),
        "statistics, ring": (lambda: region_statistics(frame, ring), sum(ring.sizes) * itemsize),
        "profile, all columns": (lambda: profile_statistics(frame, columns), nbytes),
        "binning 2 x 2": geometry(ImageTransform(shape, (2, 2))),
        "flip left-right": geometry(ImageTransform(shape, flip="left_right")),
        "rotation 90": geometry(ImageTransform(shape, rotation="90cw")),
        "binning 2 x 2, rotation 90": geometry(ImageTransform(shape, (2, 2), rotation="90cw")),
        "mask": (lambda: mask_to_zero(frame, (0, 0), keep, copied), 2 * nbytes + pixels),
        "dark": (lambda: correct(frame, (0, 0), dark, None, corrected), nbytes + 8 * pixels),
        "dark, flat and mask": (lambda: correct(frame, (0, 0), dark, gain, corrected), nbytes + 12 * pixels),
        "accumulation": (lambda: add_frame(total, frame), nbytes + 2 * total.nbytes),
        "count rate": (lambda: first_above(frame, frame.dtype.type(200), keep), nbytes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    parser.add_argument("--dtype", default="u2", help="pixel type of the raw frame")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for name, shape in SHAPES.items():
        print(f"{name} ({shape[1]} x {shape[0]}), {arguments.dtype}, 1 thread")
        print(f"{'':34}{'ms':>9}{'GB/s':>9}{'copy ms':>9}{'ratio':>8}")
        for case, (work, nbytes) in cases(shape, arguments.dtype).items():
            took, copied = best_s(work), copy_s(nbytes)
            print(f"  {case:32}{took * 1e3:9.3f}{nbytes / took / 1e9:9.1f}{copied * 1e3:9.3f}{copied / took:8.2f}")
            results[f"{case}, {name}"] = {"ms": round(took * 1e3, 4), "copy_ratio": round(copied / took, 3)}
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
