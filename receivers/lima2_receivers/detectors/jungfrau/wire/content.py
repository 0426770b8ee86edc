"""What the frames of the simulated detector show: a few frames, computed before, that are sent in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS
from lima2_receivers.detectors.jungfrau.wire.layout import WireLayout
from lima2_receivers.detectors.jungfrau.wire.pixels import Sensor, documented_pattern, encode, typical_sensor
from lima2_receivers.detectors.simulator import SimulatorParameters, diffraction

#: Columns and rows of a chip.
CHIP = 256
#: Energy of the photons, if none is given [keV].
PHOTON_KEV = 12.4


@dataclass(frozen=True)
class Content:
    """Raw ``pixels`` (frames, modules, 512, 1024) uint16; frame n of an acquisition shows frame n modulo their number.

    ``daq_info`` goes into all headers. ``stamp``: the first four pixels of each packet become its frame number.
    """

    pixels: np.ndarray
    daq_info: int = 0
    stamp: bool = False

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype != np.uint16 or pixels.ndim != 4 or pixels.shape[2:] != (MODULE_ROWS, MODULE_COLUMNS):
            raise ParameterError(
                f"pixels are {pixels.dtype} of shape {pixels.shape}; give uint16 of shape "
                f"(frames, modules, {MODULE_ROWS}, {MODULE_COLUMNS})"
            )
        if not pixels.shape[0] or not pixels.shape[1]:
            raise ParameterError(f"pixels of shape {pixels.shape}: at least one frame of one module")
        if not pixels[0, 0].flags.c_contiguous:
            raise ParameterError("the pixels of each module must be contiguous; use numpy.ascontiguousarray")

    @property
    def frames(self) -> int:
        """How many different frames there are."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Gaps:
    """Pixels without sensor: between the chips of a module, and between modules, as PSI's geometry has them."""

    chip: int = 2
    module_x: int = 8
    module_y: int = 36

    def module_shape(self) -> tuple[int, int]:
        """(rows, columns) of a module with the gaps between its chips."""
        return (
            MODULE_ROWS + self.chip * (MODULE_ROWS // CHIP - 1),
            MODULE_COLUMNS + self.chip * (MODULE_COLUMNS // CHIP - 1),
        )

    def shape(self, layout: WireLayout) -> tuple[int, int]:
        """(rows, columns) of the assembled image."""
        rows, columns = self.module_shape()
        return (
            layout.modules_y * (rows + self.module_y) - self.module_y,
            layout.modules_x * (columns + self.module_x) - self.module_x,
        )


def cut_modules(image: np.ndarray, layout: WireLayout, gaps: Gaps = Gaps(), wide_edges: bool = False) -> np.ndarray:
    """The modules' parts (modules, 512, 1024) of an image: assembled with ``gaps``, or stacked without any.

    Of an assembled image, ``wide_edges`` adds what falls between two chips to the nearest pixels of these, as the
    real ones are wider there.
    """
    stacked = (layout.modules_y * MODULE_ROWS, layout.modules_x * MODULE_COLUMNS)
    assembled = gaps.shape(layout)
    if image.shape not in (stacked, assembled):
        raise ParameterError(
            f"image of shape {image.shape}: {layout.modules_x} x {layout.modules_y} modules give {stacked} without "
            f"gaps or {assembled} with them"
        )
    found = np.empty((layout.modules, MODULE_ROWS, MODULE_COLUMNS), image.dtype)
    rows, columns = gaps.module_shape()
    for module in range(layout.modules):
        x, y = divmod(module, layout.modules_y)
        if image.shape == assembled:
            top, left = y * (rows + gaps.module_y), x * (columns + gaps.module_x)
            part = image[top : top + rows, left : left + columns]
            found[module] = _without_gaps(_without_gaps(part, gaps.chip, 0, wide_edges), gaps.chip, 1, wide_edges)
        else:
            top, left = y * MODULE_ROWS, x * MODULE_COLUMNS
            found[module] = image[top : top + MODULE_ROWS, left : left + MODULE_COLUMNS]
    return found


def _without_gaps(part: np.ndarray, gap: int, axis: int, wide_edges: bool) -> np.ndarray:
    chips = (part.shape[axis] + gap) // (CHIP + gap)
    places = np.arange(chips * CHIP) + gap * (np.arange(chips * CHIP) // CHIP)
    if not wide_edges:
        return part.take(places, axis)
    starts = places.copy()  # of the pixels' areas: the first pixel of a chip also has the end of the gap before it
    starts[CHIP::CHIP] -= gap // 2
    return np.add.reduceat(part, starts, axis, dtype=part.dtype)


def pattern_content(layout: WireLayout, stamp: bool = False) -> Content:
    """Every frame of every module is the pattern of PSI's virtual detector."""
    one = documented_pattern()[None, None]
    return Content(np.broadcast_to(one, (1, layout.modules, MODULE_ROWS, MODULE_COLUMNS)), stamp=stamp)


def photon_content(
    images: Iterable[np.ndarray],
    layout: WireLayout,
    sensors: Callable[[int], Sensor] | Sensor | None = None,
    photon_kev: float = PHOTON_KEV,
    gaps: Gaps = Gaps(),
    wide_edges: bool = False,
    stamp: bool = False,
    seed: int = 1,
) -> Content:
    """Images of photon counts as raw pixels. ``sensors`` gives the sensor of each module, or is that of all.

    Images are as `cut_modules` takes them. ``seed`` is that of the read-out noise.
    """
    sensor_of = _sensor_of(sensors)
    frames = []
    rng = np.random.default_rng(seed)
    for image in images:
        parts = cut_modules(np.asarray(image), layout, gaps, wide_edges)
        frames.append(np.stack([encode(part, sensor_of(n), photon_kev, rng) for n, part in enumerate(parts)]))
    if not frames:
        raise ParameterError("no image of photon counts given; give at least one")
    infos = {sensor_of(module).daq_info for module in range(layout.modules)}
    if len(infos) > 1:
        raise ParameterError("the modules' sensors differ in high gain or forced stage; all must be in the same mode")
    return Content(np.stack(frames), infos.pop(), stamp)


def _sensor_of(sensors: Callable[[int], Sensor] | Sensor | None) -> Callable[[int], Sensor]:
    if callable(sensors):
        return sensors
    one = sensors or typical_sensor()
    return lambda module: one


def dark_content(
    layout: WireLayout,
    sensors: Callable[[int], Sensor] | Sensor,
    frames: int = 16,
    stamp: bool = False,
    seed: int = 1,
) -> Content:
    """Frames without light: pedestals and noise of the ``sensors``."""
    nothing = np.zeros((layout.modules_y * MODULE_ROWS, layout.modules_x * MODULE_COLUMNS), np.float32)
    return photon_content([nothing] * frames, layout, sensors, stamp=stamp, seed=seed)


def bragg_parameters(layout: WireLayout, frames: int = 16, seed: int = 1, gaps: Gaps = Gaps()) -> SimulatorParameters:
    """Parameters of the diffraction generator for the assembled image of a detector; change them as you like."""
    height, width = gaps.shape(layout)
    det = {
        "generator": {"type": "diffraction", "seed": seed},
        "size": {"x": width, "y": height},
        "nb_prefetch_frames": frames,
    }
    return parse(SimulatorParameters, {"det": det}, "parameters of the Bragg frames")


def bragg_images(parameters: SimulatorParameters) -> Iterable[np.ndarray]:
    """Photon counts (float32) of all frames of the diffraction generator; `photon_content` takes them."""
    for slot in range(parameters.det.nb_prefetch_frames):
        yield diffraction.make_frame(parameters, slot, np.dtype(np.float32))[0]
