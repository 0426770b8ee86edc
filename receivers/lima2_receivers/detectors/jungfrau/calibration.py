"""The calibration of a Jungfrau: gains, pedestals, noise and mask of each pixel, what they belong to and when they were
taken; what fits the present data is used, the rest is refused in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.kernels.jungfrau_types import StageMaps

#: The maps of a calibration, in order. Maps that are not known are not a number.
STAGES = ("G0", "G1", "G2", "HG0", "HG1", "HG2")

#: Which maps convert frames; in high-gain mode the stages G1 and G2 stand in where theirs were not taken.
NORMAL_STAGES, HIGH_GAIN_STAGES = (0, 1, 2), (3, 4, 5)

#: Bits of the mask, as NeXus defines them for pixel_mask; bit 9 is free there.
MASK_DEAD, MASK_NOISY, MASK_USER, MASK_WRONG_STAGE = 1 << 1, 1 << 4, 1 << 8, 1 << 9

#: Gains [ADU/keV] whose median is outside of these are of another detector, or in another unit.
PLAUSIBLE_GAINS = {
    "G0": (10, 200), "G1": (-20, -0.2), "G2": (-2, -0.02), "HG0": (20, 500), "HG1": (-20, -0.2), "HG2": (-2, -0.02)
}  # fmt: skip
HIGHEST_ADC = 0x3FFF

NO_HIGH_GAIN = "there are no maps HG0: take pedestals in high-gain mode, with gains for it"


@dataclass(frozen=True)
class Calibration:
    """Maps of all modules: ``gains`` [ADU/keV], ``pedestals`` and ``noise`` [ADU], float32 (6, modules, rows, columns)
    in the order `STAGES`; ``mask`` uint32 (modules, rows, columns), 0 for good pixels.

    ``module_ids`` in module order; ``taken_at`` (with time zone) is when the pedestals were; ``conditions`` such as
    exposure_s or temperature_c; ``history``: one line per step that made this calibration.
    """

    gains: np.ndarray
    pedestals: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    module_ids: tuple[int, ...]
    taken_at: datetime
    serial: str = ""
    conditions: Mapping[str, float | str] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.mask.shape
        if len(shape) != 3 or shape[0] != len(self.module_ids):
            raise ParameterError(f"calibration: mask {shape} for {len(self.module_ids)} module ids")
        for name in ("gains", "pedestals", "noise"):
            values = getattr(self, name)
            if values.shape != (len(STAGES), *shape) or values.dtype != np.float32:
                raise ParameterError(
                    f"calibration: {name} is {values.dtype} {values.shape}, not float32 {(len(STAGES), *shape)}"
                )
        if self.taken_at.tzinfo is None:
            raise ParameterError("calibration: taken_at has no time zone")

    @property
    def has_high_gain(self) -> bool:
        """Whether frames of high-gain mode can be converted."""
        return bool(np.isfinite(self.gains[3]).any() and np.isfinite(self.pedestals[3]).any())

    def with_step(self, line: str, **changes: object) -> Calibration:
        """A copy with changes, and a line about them in the history."""
        return replace(self, **changes, history=(*self.history, line))  # type: ignore[arg-type]

    def stage_maps(self, photon_kev: float | None = None, high_gain: bool = False) -> StageMaps:
        """What the kernels need for photons of this energy, or for keV when it is None.

        Masked pixels, and pixels without gain or pedestal in a stage, get a factor that is not a number.
        """
        if photon_kev is not None and not photon_kev > 0:
            raise ParameterError(f"photon energy {photon_kev} keV: it is positive, or not given for values in keV")
        if high_gain and not self.has_high_gain:
            raise ParameterError(f"calibration: {NO_HIGH_GAIN}")
        gains, pedestals = (self._of_stages(values, high_gain) for values in (self.gains, self.pedestals))
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = (1 / (gains.astype(np.float64) * (photon_kev or 1.0))).astype(np.float32)
        bad = ~np.isfinite(factors) | ~np.isfinite(pedestals) | (self.mask != 0)
        factors[bad] = np.nan
        return StageMaps(np.where(np.isfinite(pedestals), pedestals, np.float32(0)), factors)

    @staticmethod
    def _of_stages(values: np.ndarray, high_gain: bool) -> np.ndarray:
        if not high_gain:
            return np.ascontiguousarray(values[list(NORMAL_STAGES)])
        chosen = values[list(HIGH_GAIN_STAGES)]
        return np.where(np.isfinite(chosen), chosen, np.stack([chosen[0], values[1], values[2]]))


def no_maps(shape: tuple[int, ...]) -> np.ndarray:
    """Maps of which none is known."""
    return np.full((len(STAGES), *shape), np.nan, np.float32)


def all_stages(maps: np.ndarray) -> np.ndarray:
    """Maps (3, 4 or 6, modules, rows, columns) as float32 (6, ...), those that are not given not a number."""
    if maps.ndim != 4 or len(maps) not in (3, 4, 6):
        raise ParameterError(f"maps of {maps.shape}: 3, 4 or 6 of (modules, rows, columns) are needed")
    whole = no_maps(maps.shape[1:])
    whole[: len(maps)] = maps
    return whole


def misfits(
    calibration: Calibration,
    shape: tuple[int, int, int],
    module_ids: Sequence[int] | None = None,
    data_from: datetime | None = None,
    max_age: timedelta | None = None,
    max_bad: float = 0.05,
    high_gain: bool = False,
) -> list[str]:
    """All that speaks against using a calibration, as texts; empty when it fits.

    ``shape``: (modules, rows, columns) of the data; ``max_bad``: the largest part of pixels that may be unusable, in
    the stages of high-gain mode or the normal ones. The others as for `occasion_misfits`.
    """
    if calibration.mask.shape != shape:
        return [f"it has maps of {calibration.mask.shape} (modules, rows, columns), the detector has {shape}"]
    faults = occasion_misfits(calibration.module_ids, calibration.taken_at, module_ids, data_from, max_age)
    for stage, name in enumerate(STAGES):
        some = (values[stage, :, ::4, ::4] for values in (calibration.gains, calibration.pedestals))  # enough, and fast
        gains, pedestals = (values[np.isfinite(values)] for values in some)
        low, high = PLAUSIBLE_GAINS[name]
        if gains.size and not low <= np.median(gains) <= high:
            faults.append(f"the median gain of {name} is {np.median(gains):.4g} ADU/keV; {low} to {high} is plausible")
        if pedestals.size and not 0 < np.median(pedestals) < HIGHEST_ADC:
            faults.append(f"the median pedestal of {name} is {np.median(pedestals):.4g} ADU; the ADC gives 0 to 16383")
    if high_gain and not calibration.has_high_gain:
        return [*faults, NO_HIGH_GAIN]
    bad = np.isnan(calibration.stage_maps(high_gain=high_gain).factors).any(0).mean()
    if bad > max_bad:
        faults.append(f"{bad:.1%} of the pixels cannot be used in all stages; at most {max_bad:.1%} is allowed")
    return faults


def occasion_misfits(
    known_ids: tuple[int, ...],
    taken_at: datetime,
    module_ids: Sequence[int] | None = None,
    data_from: datetime | None = None,
    max_age: timedelta | None = None,
) -> list[str]:
    """What speaks against a calibration of such modules and date, whatever is in its maps.

    ``module_ids`` as the packets' headers have them; ``data_from``: when the data was (or is) taken: the pedestals must
    be older, but no more than ``max_age``.
    """
    faults = []
    if module_ids is not None and tuple(module_ids) != known_ids:
        faults.append(_other_modules(known_ids, tuple(module_ids)))
    if data_from is not None:
        moment = data_from if data_from.tzinfo else data_from.replace(tzinfo=UTC)
        age = moment - taken_at
        if age < timedelta(0):
            faults.append(f"it was taken {-age} after the data ({taken_at:%Y-%m-%d %H:%M:%S %Z})")
        elif max_age is not None and age > max_age:
            faults.append(f"it is {age} older than the data; at most {max_age} is allowed: take pedestals anew")
    return faults


def _other_modules(known: tuple[int, ...], present: tuple[int, ...]) -> str:
    text = f"it is of modules {list(known)}, the detector has {list(present)}"
    return f"{text}: the same in another order; look at the cables" if sorted(known) == sorted(present) else text


def require_fit(calibration: Calibration, shape: tuple[int, int, int], source: str = "", **conditions: object) -> None:
    """`ParameterError` that names every misfit (see `misfits`, which takes the conditions)."""
    refuse(misfits(calibration, shape, **conditions), source or calibration.serial)  # type: ignore[arg-type]


def refuse(faults: Sequence[str], source: str) -> None:
    """`ParameterError` that names the calibration and its misfits, if there are any."""
    if faults:
        raise ParameterError(f"calibration {source} does not fit: " + "; ".join(faults))
