"""What the modules of the simulated detector are like, and what they see: `SimulatedBeam` as raw frames."""

from __future__ import annotations

import functools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from lima2_bliss.contract import NotReadyError, ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.calibration import Calibration, no_maps
from lima2_receivers.detectors.jungfrau.exposing import expose
from lima2_receivers.detectors.jungfrau.packets import (
    DAQ_FIX_G1,
    DAQ_FIX_G2,
    DAQ_FORCE_G1,
    DAQ_FORCE_G2,
    DAQ_HIGH_GAIN,
    MODULE_COLUMNS,
    MODULE_ROWS,
)
from lima2_receivers.detectors.jungfrau.params import JungfrauSettings
from lima2_receivers.detectors.jungfrau.wire.content import Content, Gaps, cut_modules, pattern_content
from lima2_receivers.detectors.jungfrau.wire.layout import WireLayout
from lima2_receivers.detectors.jungfrau.wire.pixels import (
    GAINS_ADU_PER_KEV,
    HIGH_GAIN_ADU_PER_KEV,
    SWITCH_KEV,
    typical_sensor,
)
from lima2_receivers.detectors.simulator import SimulatorParameters, diffraction

#: Memory that the frames of one beam may take [bytes].
MAX_BYTES = 2 << 30
#: Read-out noise in G0 (and HG0), G1, G2 [ADU].
NOISE_ADU = (12.0, 2.0, 2.0)
#: Wavelength [nm] times energy [keV] of a photon.
NM_KEV = 1.2398419843

#: Stage that pixels stay in, and bits of the headers, by gain mode.
_MODES = {
    "dynamic": (None, 0),
    "forceswitchg1": (1, DAQ_FORCE_G1),
    "forceswitchg2": (2, DAQ_FORCE_G2),
    "fixg1": (1, DAQ_FIX_G1),
    "fixg2": (2, DAQ_FIX_G2),
}


@dataclass(frozen=True)
class ModuleMaps:
    """A module: ``pedestals`` [ADU] of G0, G1, G2 and ``gains`` [ADU/keV] of G0, G1, G2, HG0, float32."""

    pedestals: np.ndarray
    gains: np.ndarray

    def gains_of(self, high_gain: bool) -> np.ndarray:
        """Gains (3, rows, columns) in normal mode, or with HG0 in place of G0."""
        return np.ascontiguousarray(self.gains[[3, 1, 2]]) if high_gain else self.gains[:3]


@functools.lru_cache(maxsize=32)
def module_maps(seed: int, module: int) -> ModuleMaps:
    """The simulated module at a place in the grid; another ``seed`` is another detector."""
    sensor = typical_sensor(seed=seed * 257 + module)
    gains = np.empty((4, MODULE_ROWS, MODULE_COLUMNS), np.float32)
    gains[:3] = sensor.gains
    gains[3] = gains[0] * np.float32(HIGH_GAIN_ADU_PER_KEV / GAINS_ADU_PER_KEV[0])
    return ModuleMaps(sensor.pedestals.astype(np.float32), gains)


def wire_layout(det: JungfrauSettings) -> WireLayout:
    """The ports of the detector, as the wire has them."""
    geometry = det.geometry
    return WireLayout(
        geometry.module_columns, geometry.module_rows, det.interfaces, det.beam.order, tuple(det.module_ids)
    )


def gaps(det: JungfrauSettings) -> Gaps:
    """Pixels without sensor between chips and modules."""
    return Gaps(det.geometry.chip_gap, det.geometry.module_gap_x, det.geometry.module_gap_y)


def diffraction_of(det: JungfrauSettings) -> SimulatorParameters:
    """The crystal of pattern `bragg`, as its generator has it: mean images without noise, beam in the middle."""
    beam = det.beam
    height, width = gaps(det).shape(wire_layout(det))
    crystal = {
        "hit_rate": beam.hit_rate,
        "background_level": beam.background,
        "background_floor": 0.05 * beam.background,
        "background_width": max(height, width) / 4,
        "spot_intensity": beam.spot_intensity,
        "cell_nm": beam.cell_nm,
        "distance_m": beam.distance_m,
        "wavelength_nm": NM_KEV / beam.photon_kev,
        "noise": False,
    }
    generator = {"type": "diffraction", "seed": beam.seed, "pixel_type": "gray32f", "diffraction": crystal}
    wanted = {"generator": generator, "size": {"x": width, "y": height}, "nb_prefetch_frames": 1}
    parameters = parse(SimulatorParameters, {"det": wanted}, "det.beam")
    return parameters.model_copy(update={"det": parameters.det.model_copy(update={"nb_prefetch_frames": beam.images})})


def nb_images(det: JungfrauSettings) -> int:
    """How many different frames there are: one, when they would all be the same."""
    beam = det.beam
    alike = beam.pattern == "documented" or (beam.pattern != "bragg" and not beam.noise)
    return 1 if alike else beam.images


def mean_photons(det: JungfrauSettings, image: int) -> np.ndarray:
    """Mean photon counts, float32, of image ``image`` with its gaps, before `Geometry.flip`; not for `documented`.

    Pixels along chip borders have what falls into the gaps beside them, as the real ones are wider; not so when the
    geometry only copies their values there.
    """
    beam = det.beam
    if beam.pattern == "bragg":
        crystal = diffraction_of(det)
        return diffraction.make_frame(crystal, image, np.dtype(np.float32))[0]
    level = beam.background if beam.pattern == "flat" else 0.0
    return np.full(gaps(det).shape(wire_layout(det)), level, np.float32)


def simulated_calibration(det: JungfrauSettings, taken_at: datetime) -> Calibration:
    """The exact calibration of the simulated modules, for those parameters; without `SimulatedBeam.drift_adu`."""
    layout = wire_layout(det)
    shape = (layout.modules, MODULE_ROWS, MODULE_COLUMNS)
    gains, pedestals, noise = no_maps(shape), no_maps(shape), no_maps(shape)
    for module in range(layout.modules):
        maps = module_maps(det.beam.seed, module)
        gains[:4, module] = maps.gains
        pedestals[:3, module] = maps.pedestals
        pedestals[3, module] = maps.pedestals[0]
    for stage, adu in enumerate((*NOISE_ADU, NOISE_ADU[0])):
        noise[stage] = adu if det.beam.noise else 0.0
    mask = np.zeros(shape, np.uint32)
    origin = f"simulated modules of seed {det.beam.seed}"
    return Calibration(gains, pedestals, noise, mask, layout.module_ids, taken_at, "simulated", history=(origin,))


class BeamFrames:
    """The raw frames of one beam, computed by a few threads; `wait` for them."""

    def __init__(self, det: JungfrauSettings, pool: ThreadPoolExecutor) -> None:
        self._det = det
        self._layout = wire_layout(det)
        self.total = nb_images(det)
        shape = (self.total, self._layout.modules, MODULE_ROWS, MODULE_COLUMNS)
        self.nbytes = int(np.prod(shape)) * 2
        if self.nbytes > MAX_BYTES:
            most = MAX_BYTES // (self.nbytes // self.total)
            raise ParameterError(
                f"det.beam.images = {self.total} of {self._layout.modules} modules need {self.nbytes >> 20} MiB; at "
                f"most {MAX_BYTES >> 20} MiB are allowed: set det.beam.images to {most} or less"
            )
        self._changed = threading.Condition()
        self._ready = 0
        self._dropped = False
        self._error: BaseException | None = None
        if det.beam.pattern == "documented":
            self._pixels, self._ready = pattern_content(self._layout).pixels, 1
            return
        self._pixels = np.empty(shape, np.uint16)
        own = diffraction.hits(diffraction_of(det)) if det.beam.pattern == "bragg" else np.zeros(self.total, bool)
        self._own = own  # images with spots; all others have the same mean photons
        self._common: np.ndarray | None = None
        self._making_common = threading.Lock()
        for image in range(self.total):
            pool.submit(self._guarded, image)

    def drop(self) -> None:
        """They are not needed any more: compute no further."""
        self._dropped = True

    def wait(self, timeout_s: float) -> np.ndarray:
        """All frames (images, modules, 512, 1024); `NotReadyError` when that takes longer."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready == self.total or self._error is not None, timeout_s)
            if self._error is not None:
                raise self._error
            if self._ready < self.total:
                raise NotReadyError(
                    f"frames of the simulated beam are still being computed, {self._ready} of {self.total}; prepare "
                    "again in a moment, or lower det.beam.images"
                )
        return self._pixels

    def _guarded(self, image: int) -> None:
        error = None
        try:
            if not self._dropped:
                self._compute(image)
        except Exception as failed:  # noqa: BLE001 - `wait` raises it
            error = failed
        with self._changed:
            self._ready += 1
            self._error = self._error or error
            if self._ready == self.total:
                self._common = None
            self._changed.notify_all()

    def _photons(self, image: int) -> np.ndarray:
        """Mean photons of the modules."""
        if self._own[image]:
            return self._cut(image)
        with self._making_common:
            if self._common is None:
                self._common = self._cut(image)
            return self._common

    def _cut(self, image: int) -> np.ndarray:
        det = self._det
        wide = det.geometry.double_pixels != "copy"
        return cut_modules(mean_photons(det, image), self._layout, gaps(det), wide)

    def _compute(self, image: int) -> None:
        det, beam = self._det, self._det.beam
        parts = self._photons(image)
        for turn in range(len(parts)):
            module = (turn + image) % len(parts)  # threads begin with different modules, whose maps they make
            maps = module_maps(beam.seed, module)
            expose(
                parts[module],
                beam.photon_kev,
                maps.pedestals,
                maps.gains_of(det.high_gain),
                SWITCH_KEV,
                self._pixels[image, module],
                noise_adu=NOISE_ADU if beam.noise else None,
                drift_adu=beam.drift_adu,
                forced_stage=_MODES[det.gain_mode][0],
                seed=1 + (beam.seed * 1009 + image) * 1009 + module,
            )


class BeamCache:
    """Frames of the beams asked for last, so that the same parameters need no time again. One thread at a time."""

    def __init__(self, threads: int = 4, max_bytes: int = MAX_BYTES) -> None:
        self._pool = ThreadPoolExecutor(threads, "jungfrau-beam")
        self._max_bytes = max_bytes
        self._known: dict[str, BeamFrames] = {}

    def content(self, det: JungfrauSettings, timeout_s: float = 1.5) -> Content:
        """What the detector sends; `NotReadyError` when it is not computed in time: ask again."""
        key = _key(det)
        frames = self._known.pop(key, None) or BeamFrames(det, self._pool)
        self._known[key] = frames
        while sum(each.nbytes for each in self._known.values()) > self._max_bytes and len(self._known) > 1:
            self._known.pop(next(iter(self._known))).drop()
        try:
            pixels = frames.wait(timeout_s)
        except NotReadyError:
            raise
        except Exception:
            del self._known[key]
            raise
        bits = _MODES[det.gain_mode][1] | (DAQ_HIGH_GAIN if det.high_gain else 0)
        return Content(pixels, bits, det.beam.stamp)

    def close(self) -> None:
        """Compute no more; harmless twice."""
        for frames in self._known.values():
            frames.drop()
        self._known.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _key(det: JungfrauSettings) -> str:
    """All that decides about the pixels, as text."""
    beam: dict[str, Any] = det.beam.model_dump(exclude={"faults", "order", "stamp"})
    grid = det.geometry.model_dump(exclude={"flip", "double_pixels"})
    return json.dumps([beam, grid, det.geometry.double_pixels == "copy", _MODES[det.gain_mode][0], det.high_gain])
