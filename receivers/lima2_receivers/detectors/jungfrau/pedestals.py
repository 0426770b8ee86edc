"""Pedestals of a Jungfrau: from dark frames of each gain stage, and running ones that follow drifts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.calibration import (
    MASK_DEAD,
    MASK_NOISY,
    MASK_WRONG_STAGE,
    STAGES,
    Calibration,
    no_maps,
)
from lima2_receivers.detectors.jungfrau.packets import (
    DAQ_FIX_G1,
    DAQ_FIX_G2,
    DAQ_FORCE_G1,
    DAQ_FORCE_G2,
    DAQ_HIGH_GAIN,
    STAGE_BITS,
)
from lima2_receivers.kernels.jungfrau_pedestal import add_dark, track
from lima2_receivers.kernels.jungfrau_types import StageMaps

#: The longest running mean [frames]: beyond it float32 loses what a frame adds.
LONGEST_WINDOW = 4096


def stage_of(daq_info: int) -> int:
    """Which of `STAGES` a dark frame measures: forced or fixed to G1, to G2, else G0; high-gain mode or not."""
    stage = 2 if daq_info & (DAQ_FORCE_G2 | DAQ_FIX_G2) else 1 if daq_info & (DAQ_FORCE_G1 | DAQ_FIX_G1) else 0
    return stage + 3 if daq_info & DAQ_HIGH_GAIN else stage


@dataclass(frozen=True)
class PedestalLimits:
    """When a pixel is masked: in another stage than expected in more than ``max_wrong`` of the frames; noise above
    ``max_noise`` times the median of its module. A stage needs ``min_frames`` frames."""

    max_wrong: float = 0.01
    max_noise: float = 5.0
    min_frames: int = 10


@dataclass
class StageSums:
    """What dark frames of one stage add up to, all (modules, rows, columns): ADC values and their squares (int64),
    ``counts``: frames in which a pixel was in the stage, ``wrong``: in another (uint32); ``frames``: all of them."""

    totals: np.ndarray
    squares: np.ndarray
    counts: np.ndarray
    wrong: np.ndarray
    frames: int = 0


class PedestalTaker:
    """Adds up dark frames (modules, rows, columns) of several stages, in any order; memory: 24 bytes a pixel and stage.

    One thread at a time.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._sums: dict[int, StageSums] = {}

    def add(self, stack: np.ndarray, daq_info: int = 0, stage: str | None = None) -> str:
        """Add a frame to the stage that its DAQ info says, or to the given one; returns that stage."""
        if stage is not None and stage not in STAGES:
            raise ParameterError(f"stage {stage!r}: there are {', '.join(STAGES)}")
        if stack.shape != self.shape or stack.dtype != np.uint16 or not stack.flags.c_contiguous:
            raise ParameterError(f"dark frame of {stack.dtype} {stack.shape}; contiguous uint16 {self.shape} is needed")
        number = stage_of(daq_info) if stage is None else STAGES.index(stage)
        if number not in self._sums:
            totals, squares = (np.zeros(self.shape, np.int64) for _ in range(2))
            counts, wrong = (np.zeros(self.shape, np.uint32) for _ in range(2))
            self._sums[number] = StageSums(totals, squares, counts, wrong)
        sums = self._sums[number]
        add_dark(stack, STAGE_BITS[number % 3], sums.totals, sums.squares, sums.counts, sums.wrong)
        sums.frames += 1
        return STAGES[number]

    @property
    def sums(self) -> dict[str, StageSums]:
        """The sums so far, by stage; they go on being added to."""
        return {STAGES[number]: sums for number, sums in sorted(self._sums.items())}

    def add_sums(self, stage: str, sums: StageSums) -> None:
        """Add what another taker has of a stage, exactly; takes the arrays over."""
        for name, kind in (("totals", "i8"), ("squares", "i8"), ("counts", "u4"), ("wrong", "u4")):
            values = getattr(sums, name)
            if values.shape != self.shape or values.dtype != np.dtype(kind):
                raise ParameterError(
                    f"sums of {stage}: {name} is {values.dtype} {values.shape}, not {kind} {self.shape}"
                )
        mine = self._sums.setdefault(STAGES.index(stage), sums)
        if mine is sums:
            return
        for name in ("totals", "squares", "counts", "wrong"):
            values = getattr(mine, name)
            values += getattr(sums, name)
        mine.frames += sums.frames

    @property
    def frames(self) -> dict[str, int]:
        """Frames so far, by stage."""
        return {STAGES[number]: sums.frames for number, sums in sorted(self._sums.items())}

    def calibrate(
        self,
        gains_from: Calibration,
        taken_at: datetime,
        limits: PedestalLimits | None = None,
        **conditions: float | str,
    ) -> Calibration:
        """New pedestals, noise and mask with the gains of another calibration; stages not taken keep its maps.

        `ParameterError` when a stage has too few frames, or there are none, or the shapes differ.
        """
        limits = limits or PedestalLimits()
        if gains_from.mask.shape != self.shape:
            raise ParameterError(f"gains of {gains_from.mask.shape} for dark frames of {self.shape}")
        few = [f"{name}: {count}" for name, count in self.frames.items() if count < limits.min_frames]
        if few or not self._sums:
            raise ParameterError(
                f"a pedestal needs {limits.min_frames} dark frames; there are {', '.join(few) or 'none'}"
            )
        pedestals, noise = gains_from.pedestals.copy(), gains_from.noise.copy()
        ours = np.uint32(MASK_DEAD | MASK_NOISY | MASK_WRONG_STAGE)
        mask = gains_from.mask & ~ours if set(self._sums) >= {0, 1, 2} else gains_from.mask.copy()
        for number, sums in self._sums.items():
            pedestals[number], noise[number] = mean_and_noise(sums.totals, sums.squares, sums.counts)
            mask |= _bad_pixels(noise[number], sums, limits)
        line = f"pedestals from dark frames ({', '.join(f'{name}: {count}' for name, count in self.frames.items())})"
        changes = {"pedestals": pedestals, "noise": noise, "mask": mask, "taken_at": taken_at}
        return gains_from.with_step(line, **changes, conditions={**gains_from.conditions, **conditions})


def mean_and_noise(totals: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of one frame, float32; not a number where there were no, or one, frames."""
    n = counts.astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = totals / n
        variance = (n * squares - totals * totals) / (n * (n - 1))  # whole numbers up to here: nothing cancels
    mean[n == 0] = np.nan
    variance[n < 2] = np.nan
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _bad_pixels(noise: np.ndarray, sums: StageSums, limits: PedestalLimits) -> np.ndarray:
    mask = np.zeros(noise.shape, np.uint32)
    seen = sums.counts.astype(np.int64) + sums.wrong
    mask[seen < limits.min_frames] |= MASK_DEAD
    mask[sums.wrong > limits.max_wrong * np.maximum(seen, 1)] |= MASK_WRONG_STAGE
    for module, of_module in enumerate(noise):
        known = of_module[np.isfinite(of_module)]
        if known.size:
            mask[module][of_module > limits.max_noise * max(float(np.median(known)), 0.5)] |= MASK_NOISY
    return mask


class RunningPedestal:
    """Lets the pedestals of one stage follow frames without photons: dark ones, or those that were no hits.

    The maps are changed in place, so a corrector that uses them follows. ``window``: frames of the running mean;
    ``reach``: how far [times the noise] a pixel may be off to count. One thread at a time.
    """

    def __init__(
        self, maps: StageMaps, noise: np.ndarray, stage: int = 0, window: int = 128, reach: float = 4.0
    ) -> None:
        if not 1 <= window <= LONGEST_WINDOW:
            raise ParameterError(f"window of {window} frames: 1 to {LONGEST_WINDOW} is possible")
        if stage not in (0, 1, 2) or noise.shape != maps.pedestals.shape[1:]:
            raise ParameterError(
                f"stage {stage}, noise {noise.shape}: stages are 0, 1, 2, one noise map of their shape"
            )
        self._pedestals = maps.pedestals[stage]
        self._limits = np.nan_to_num(noise * np.float32(reach)).astype(np.float32)
        self._bits, self._weight = STAGE_BITS[stage], 1.0 / window
        self.frames = 0

    def follow(self, stack: np.ndarray, hit: bool | None = None) -> float:
        """Take a raw frame in, unless it was a hit; returns the part of the pixels that counted."""
        if hit:
            return 0.0
        if stack.shape != self._pedestals.shape or stack.dtype != np.uint16 or not stack.flags.c_contiguous:
            raise ParameterError(
                f"frame of {stack.dtype} {stack.shape}; contiguous uint16 {self._pedestals.shape} is needed"
            )
        self.frames += 1
        return track(stack, self._bits, self._weight, self._limits, self._pedestals) / stack.size


def gains_only(gains: np.ndarray, module_ids: tuple[int, ...], taken_at: datetime, origin: str) -> Calibration:
    """A calibration to begin with: gains (6, modules, rows, columns) float32, pedestals still unknown."""
    shape = gains.shape[1:]
    unknown = no_maps(shape), no_maps(shape), np.zeros(shape, np.uint32)
    return Calibration(gains, *unknown, module_ids, taken_at, history=(f"gains from {origin}",))
