"""Speed of the SMX kernels against pyFAI's OpenCL peak finder, on the same frames, bins and host.

``sparsify_ms`` is background and intense pixels, ``peakfind_ms`` background and spots, ``frame_ms`` all of it at once
as the pipeline does it. pyFAI runs on the first OpenCL device that works (PoCL: all cores) and gets its frames as
float32. ``memory_bound_ms`` is the time in which the bytes that every frame must move (the frame twice, its places in
the bins once) could be copied. Top-level figures are for 4.5 megapixels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _harness import arguments, copy_gb_per_s, report

from lima2_receivers.kernels.opencl_devices import gpu_available
from lima2_receivers.kernels.smx import make_finder, warm_up_smx
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kernels"))
from smx_frames import PyfaiFinder, Scene, make_scene

SHAPES = {"4.5 Mpx": (2164, 2068), "1 Mpx": (1024, 1024)}

#: Frames that take turns, so that none is in the cache when its turn comes.
FRAMES = 4


def median_ms(work: Callable[[np.ndarray], object], images: list[np.ndarray], repeats: int) -> float:
    """Median time of one frame."""
    for image in images[:2]:
        work(image)
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        work(images[number % len(images)])
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def ours(scene: Scene, settings: FinderSettings, images: list[np.ndarray], repeats: int, threads: int) -> dict:
    """The compiled backend; sparsify and peak finding are the frame without the other."""
    figures = {}
    # a cutoff that no pixel reaches leaves the other step alone
    variants = {
        "frame": settings,
        "sparsify": FinderSettings(error_model=settings.error_model, cutoff_peak=1e6),
        "peakfind": FinderSettings(error_model=settings.error_model, cutoff_pick=1e6),
    }
    for name, variant in variants.items():
        for count, suffix in ((threads, "_ms"), (1, "_1_thread_ms")):
            finder = make_finder(scene.bins, PixelCorrections(), variant, images[0].dtype, "cpu", count)
            figures[name + suffix] = median_ms(finder, images, repeats)
            finder.close()
    return figures


def theirs(scene: Scene, settings: FinderSettings, images: list[np.ndarray], repeats: int) -> dict:
    """pyFAI; its sparse frames and its spots are two calls."""
    finder = PyfaiFinder(scene.bins, PixelCorrections(masked=scene.mask.ravel()), settings)
    floats = [image.astype("f4") for image in images[:1]]
    return {
        "pyfai_device": finder.engine.ctx.devices[0].name.strip(),
        "pyfai_sparsify_ms": median_ms(finder.sparsify, floats, repeats),
        "pyfai_peakfind_ms": median_ms(finder.peaks, floats, max(repeats // 5, 1)),
    }


def on_gpu(scene: Scene, settings: FinderSettings, images: list[np.ndarray], repeats: int) -> dict:
    """The OpenCL backend on a GPU: the whole frame, and what the device spent on copies and on kernels."""
    from lima2_receivers.kernels.smx_opencl import OpenclFinder

    options = (scene.bins, PixelCorrections(), settings, images[0].dtype)
    finder = OpenclFinder(*options)
    figures: dict[str, Any] = {"gpu_device": finder.device, "gpu_frame_ms": median_ms(finder, images, repeats)}
    finder.close()
    finder = OpenclFinder(*options, profiling=True)
    median_ms(finder, images, repeats)
    steps = {name: seconds / finder.nb_profiled * 1e3 for name, seconds in finder.profile.items()}
    finder.close()
    figures["gpu_transfer_ms"] = sum(took for name, took in steps.items() if name.startswith("copy"))
    figures["gpu_kernels_ms"] = sum(took for name, took in steps.items() if not name.startswith("copy"))
    return figures


def measure(shape: tuple[int, int], options: Any) -> dict[str, Any]:
    """All figures of one size of frames."""
    nb_spots = shape[0] * shape[1] // 6000
    scene = make_scene(shape, options.bins, nb_spots)
    images = [make_scene(shape, options.bins, nb_spots, exposure=number).image for number in range(FRAMES)]
    settings = FinderSettings(error_model=options.model)
    figures = ours(scene, settings, images, options.repeats, options.threads)
    if options.pyfai:
        figures |= theirs(scene, settings, images, max(options.repeats // 4, 1))
        for name in ("sparsify", "peakfind"):
            figures[f"ratio_{name}"] = figures[f"pyfai_{name}_ms"] / figures[f"{name}_ms"]
    if options.reference:
        finder = make_finder(scene.bins, PixelCorrections(), settings, images[0].dtype, "reference")
        figures["reference_ms"] = median_ms(finder, images, 1)
    if gpu_available():
        figures |= on_gpu(scene, settings, images, options.repeats)
    pixels = scene.image.size
    nbytes = 2 * scene.image.nbytes + len(scene.bins.indices) * 2
    figures["memory_bound_ms"] = nbytes / 2 / copy_gb_per_s() / 1e6  # a copy reads and writes every byte
    found = make_finder(scene.bins, PixelCorrections(), settings, images[0].dtype, "cpu")(images[0])
    return figures | {"megapixels": pixels / 1e6, "nb_sparse": len(found.index), "nb_peaks": len(found.spots)}


def main() -> None:
    options = arguments(__doc__ or "", repeats=20, threads=2, bins=800, pyfai=1, reference=0, quick=0, model="poisson")
    warmed = warm_up_smx("u2")
    sizes = {"1 Mpx": (256, 256), "4.5 Mpx": (300, 280)} if options.quick else SHAPES
    by_size = {name: measure(shape, options) for name, shape in sizes.items()}
    small = {key: round(value, 4) if isinstance(value, float) else value for key, value in by_size.pop("1 Mpx").items()}
    figures = by_size.pop("4.5 Mpx") | {"threads": options.threads, "warm_up_s": warmed, "1 Mpx": small}
    report(options, f"SMX kernels, {options.bins} bins, {options.model}", figures)


if __name__ == "__main__":
    main()
