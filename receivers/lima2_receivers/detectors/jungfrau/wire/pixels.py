"""Pixels as a module sends them: the inverse of the correction, and the pattern of PSI's virtual detector.

A pixel has its gain stage in its two highest bits and the ADC value in the others: ADC = pedestal + gain * energy, with
pedestal and gain of the stage. The amplifier starts in G0 and switches to G1 and G2 as charge comes; the gains of
these two are negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import (
    ADC_MASK,
    DAQ_FORCE_G1,
    DAQ_FORCE_G2,
    DAQ_HIGH_GAIN,
    GAIN_SHIFT,
    MODULE_COLUMNS,
    MODULE_ROWS,
    PACKET_ROWS,
    PACKETS_PER_MODULE,
    SATURATED_PIXEL,
    STAGE_BITS,
)

#: ADU of an unexposed pixel in G0, G1, G2.
PEDESTALS_ADU = (3000.0, 15070.0, 15020.0)
#: ADU per keV in G0, G1, G2, and in G0 with high gain.
GAINS_ADU_PER_KEV = (41.0, -1.439, -0.1145)
HIGH_GAIN_ADU_PER_KEV = 100.0
#: Deposited energy [keV] above which a pixel leaves G0, and G1.
SWITCH_KEV = (310.0, 9000.0)


@dataclass(frozen=True)
class Sensor:
    """How a module (or all of them) answers to energy. A stage that overflows its ADC is left early.

    ``pedestals`` [ADU] and ``gains`` [ADU/keV] of the three stages: (3,), or maps (3, 512, 1024).
    ``noise_adu``: standard deviation of the read-out noise by stage. ``high_gain``: HG0 takes the place of G0.
    ``forced_stage``: None switches by the charge; 0, 1 or 2 stays in that stage, as for pedestals.
    """

    pedestals: np.ndarray
    gains: np.ndarray
    switch_kev: tuple[float, float] = SWITCH_KEV
    noise_adu: tuple[float, float, float] = (0.0, 0.0, 0.0)
    high_gain: bool = False
    forced_stage: int | None = None

    def __post_init__(self) -> None:
        for name in ("pedestals", "gains"):
            maps = np.asarray(getattr(self, name), np.float64)
            if maps.shape not in ((3,), (3, MODULE_ROWS, MODULE_COLUMNS)) or not np.isfinite(maps).all():
                raise ParameterError(
                    f"{name} of shape {maps.shape}: give finite numbers of shape (3,) or "
                    f"(3, {MODULE_ROWS}, {MODULE_COLUMNS})"
                )
            object.__setattr__(self, name, maps.reshape(3, 1, 1) if maps.ndim == 1 else maps)
        if self.forced_stage not in (None, 0, 1, 2):
            raise ParameterError(f"forced_stage = {self.forced_stage}: one of None, 0, 1, 2")
        if not 0 <= self.switch_kev[0] <= self.switch_kev[1]:
            raise ParameterError(f"switch_kev = {self.switch_kev}: two energies, the smaller one first")
        if min(self.noise_adu) < 0:
            raise ParameterError(f"noise_adu = {self.noise_adu}: three numbers, not negative")

    @property
    def daq_info(self) -> int:
        """Bits that such a module sets in the header's ``daq_info``."""
        forced = {1: DAQ_FORCE_G1, 2: DAQ_FORCE_G2}.get(self.forced_stage or 0, 0)
        return forced | (DAQ_HIGH_GAIN if self.high_gain else 0)


def typical_sensor(
    high_gain: bool = False,
    forced_stage: int | None = None,
    seed: int | None = None,
    noise_adu: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Sensor:
    """A sensor of typical values; with ``seed``, maps that scatter from pixel to pixel (G0 pedestal by 200 ADU,
    the others by 50 ADU, gains by 2 %)."""
    first = HIGH_GAIN_ADU_PER_KEV if high_gain else GAINS_ADU_PER_KEV[0]
    pedestals = np.array(PEDESTALS_ADU)
    gains = np.array([first, *GAINS_ADU_PER_KEV[1:]])
    if seed is not None:
        rng = np.random.default_rng(seed)
        shape = (3, MODULE_ROWS, MODULE_COLUMNS)
        spread = np.array([200.0, 50.0, 50.0])[:, None, None]
        pedestals = pedestals[:, None, None] + spread * rng.uniform(-1, 1, shape)
        gains = gains[:, None, None] * (1 + 0.02 * rng.uniform(-1, 1, shape))
    return Sensor(pedestals, gains, noise_adu=noise_adu, high_gain=high_gain, forced_stage=forced_stage)


def encode(
    photons: np.ndarray, sensor: Sensor, photon_kev: float, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Raw pixels (uint16) that a module shows for photon counts, both (512, 1024).

    Counts may be fractions, and negative. More than G2 can hold gives the code of saturation. ``rng`` is needed for a
    sensor with noise.
    """
    if photons.shape != (MODULE_ROWS, MODULE_COLUMNS):
        raise ParameterError(f"photons of shape {photons.shape}: a module has {(MODULE_ROWS, MODULE_COLUMNS)}")
    energy = photons.astype(np.float64) * photon_kev
    if not np.isfinite(energy).all():
        raise ParameterError("photon counts hold NaN or infinity; give finite numbers")
    adc = []
    for stage in range(3):
        value = sensor.pedestals[stage] + sensor.gains[stage] * energy
        if sensor.noise_adu[stage]:
            if rng is None:
                raise ParameterError("a sensor with noise needs a random number generator")
            value += rng.normal(0, sensor.noise_adu[stage], value.shape)
        adc.append(np.rint(value))
    if sensor.forced_stage is not None:
        stage = sensor.forced_stage
        return _code(stage, np.clip(adc[stage], 0, ADC_MASK))
    # ADC 0 is a code of its own in G1 (error) and in G2 (saturated), all bits set is that of a missing packet.
    raw = _code(2, np.clip(adc[2], 1, ADC_MASK - 1))
    raw[adc[2] < 1] = SATURATED_PIXEL
    for stage, low in ((1, 1), (0, -np.inf)):
        stays = (energy <= sensor.switch_kev[stage]) & (adc[stage] >= low) & (adc[stage] <= ADC_MASK)
        np.copyto(raw, _code(stage, np.clip(adc[stage], 0, ADC_MASK)), where=stays)
    return raw


def _code(stage: int, adc: np.ndarray) -> np.ndarray:
    return adc.astype(np.uint16) | np.uint16(STAGE_BITS[stage] << GAIN_SHIFT)


def documented_pattern() -> np.ndarray:
    """What every module of PSI's virtual detector shows in every frame: (512, 1024) uint16.

    The ADC value of packet p (0 to 127 over the module) is p + 1; gain bits are 0 in columns 0 to 299, 1 to column 599,
    then 3.
    """
    adc = np.repeat(np.arange(PACKETS_PER_MODULE, dtype=np.uint16) + 1, PACKET_ROWS)
    bits = np.zeros(MODULE_COLUMNS, np.uint16)
    bits[300:600] = STAGE_BITS[1]
    bits[600:] = STAGE_BITS[2]
    return adc[:, None] | bits[None, :] << GAIN_SHIFT


def read_stamps(raw: np.ndarray) -> np.ndarray:
    """Frame numbers stamped into a module's packets: (512, 1024) uint16 -> (128,) uint64.

    With ``stamp`` the first four pixels of each packet are its frame number, 16 bits a pixel, lowest first.
    """
    first = np.ascontiguousarray(raw[::PACKET_ROWS, :4])
    return first.astype("<u2").view("<u8").ravel()
