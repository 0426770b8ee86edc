"""Pedestals of a Jungfrau: taken from dark frames of each stage, and following drifts."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.calibration import (
    MASK_DEAD,
    MASK_NOISY,
    MASK_USER,
    MASK_WRONG_STAGE,
    all_stages,
)
from lima2_receivers.detectors.jungfrau.packets import DAQ_FORCE_G1, DAQ_FORCE_G2, DAQ_HIGH_GAIN
from lima2_receivers.detectors.jungfrau.pedestals import PedestalTaker, RunningPedestal, gains_only, stage_of

SHAPE = (2, 8, 16)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SERIES = {"G0": (0, 0, 3000), "G1": (DAQ_FORCE_G1, 1, 15000), "G2": (DAQ_FORCE_G2, 3, 15100)}


def gains(nb_maps: int = 3) -> np.ndarray:
    return all_stages(np.broadcast_to(np.array([41, -1.4, -0.11, 100])[:nb_maps, None, None, None], (nb_maps, *SHAPE)))


def start():
    return gains_only(gains(), (1, 2), NOW, "nowhere")


def dark(random: np.random.Generator, bits: int, mean: float, noise: float = 10) -> np.ndarray:
    return (np.rint(random.normal(mean, noise, SHAPE)).astype("u2") | bits << 14).astype("u2")


def test_the_stage_of_a_dark_frame_is_in_its_daq_bits():
    assert [stage_of(bits) for bits in (0, DAQ_FORCE_G1, DAQ_FORCE_G2, DAQ_FORCE_G1 | DAQ_FORCE_G2)] == [0, 1, 2, 2]
    assert [stage_of(bits | DAQ_HIGH_GAIN) for bits in (0, DAQ_FORCE_G1, DAQ_FORCE_G2)] == [3, 4, 5]


def test_three_series_of_dark_frames_give_pedestals_and_noise():
    random, taker = np.random.default_rng(1), PedestalTaker(SHAPE)
    taken = {name: [] for name in SERIES}
    for number in range(90):
        name = list(SERIES)[number % 3]
        daq, bits, mean = SERIES[name]
        frame = dark(random, bits, mean)
        taken[name].append(frame & 0x3FFF)
        assert taker.add(frame, daq) == name
    assert taker.frames == {"G0": 30, "G1": 30, "G2": 30}
    made = taker.calibrate(start(), NOW, exposure_s=1e-5)
    for stage, name in enumerate(SERIES):
        series = np.array(taken[name], "f8")
        np.testing.assert_allclose(made.pedestals[stage], series.mean(0), rtol=1e-6)
        np.testing.assert_allclose(made.noise[stage], series.std(0, ddof=1), rtol=1e-5)
    assert (made.mask == 0).all()
    assert not made.has_high_gain
    assert made.conditions == {"exposure_s": 1e-5}
    assert made.history == ("gains from nowhere", "pedestals from dark frames (G0: 30, G1: 30, G2: 30)")
    assert np.isfinite(made.stage_maps(12.4).factors).all()


def test_the_stage_can_be_told_and_high_gain_is_another_series():
    taker = PedestalTaker(SHAPE)
    for _ in range(10):
        taker.add(dark(np.random.default_rng(1), 1, 15000), stage="G1")
        taker.add(dark(np.random.default_rng(1), 0, 3100), DAQ_HIGH_GAIN)
    assert taker.frames == {"G1": 10, "HG0": 10}
    before = gains_only(gains(4), (1, 2), NOW, "nowhere")
    before.mask[0, 0, 0] = MASK_DEAD
    made = taker.calibrate(before, NOW)
    assert made.has_high_gain
    assert np.isnan(made.pedestals[0]).all()
    assert made.mask[0, 0, 0] == MASK_DEAD  # not all stages were taken anew


def test_pixels_that_misbehave_in_the_dark_are_masked():
    random, taker = np.random.default_rng(1), PedestalTaker(SHAPE)
    before = start()
    before.mask[0, 3, 3] = MASK_USER
    before.mask[0, 3, 4] = MASK_DEAD  # of an older series: forgotten
    for number in range(100):
        for daq, bits, mean in SERIES.values():
            frame = dark(random, bits, mean)
            frame[0, 0, 0] = 0xFFFF
            if number % 10 == 0:
                frame[0, 1, 1] = 2 << 14
            frame[1, 2, 2] = np.uint16(mean + random.normal(0, 200)) | bits << 14
            taker.add(frame, daq)
    mask = taker.calibrate(before, NOW).mask
    assert mask[0, 0, 0] == MASK_DEAD
    assert mask[0, 1, 1] & MASK_WRONG_STAGE
    assert mask[1, 2, 2] == MASK_NOISY
    assert mask[0, 3, 3] == MASK_USER
    assert (mask != 0).sum() == 4


def test_too_few_frames_and_wrong_frames_are_refused():
    taker = PedestalTaker(SHAPE)
    with pytest.raises(ParameterError, match="there are none"):
        taker.calibrate(start(), NOW)
    taker.add(np.zeros(SHAPE, "u2"))
    with pytest.raises(ParameterError, match="needs 10 dark frames; there are G0: 1"):
        taker.calibrate(start(), NOW)
    with pytest.raises(ParameterError, match="uint16"):
        taker.add(np.zeros(SHAPE, "u4"))
    with pytest.raises(ParameterError, match="stage 'G3'"):
        taker.add(np.zeros(SHAPE, "u2"), stage="G3")
    with pytest.raises(ParameterError, match="dark frames of"):
        PedestalTaker((1, 8, 16)).calibrate(start(), NOW)


def drifting():
    made = start()
    made.pedestals[:3] = np.array([3000, 15000, 15000], "f4")[:, None, None, None]
    return made.stage_maps(12.4), np.full(SHAPE, 10, "f4")


def test_a_running_pedestal_follows_a_drift_but_no_photons_and_no_hits():
    maps, noise = drifting()
    running, random = RunningPedestal(maps, noise, window=32), np.random.default_rng(3)
    for number in range(400):
        frame = dark(random, 0, 3000 + number * 0.05)
        frame[0, 0] += np.uint16(500)  # photons
        frame[0, 1] |= 1 << 14  # another stage
        assert running.follow(frame, hit=False) > 0.8
        assert running.follow(np.full(SHAPE, 3030, "u2"), hit=True) == 0
    assert running.frames == 400
    rest = maps.pedestals[0][1]
    assert abs(rest.mean() - 3020) < 3
    assert rest.std() < 4
    np.testing.assert_array_equal(maps.pedestals[0][0, :2], 3000)
    np.testing.assert_array_equal(maps.pedestals[1], 15000)


def test_running_pedestals_that_cannot_be_are_refused():
    maps, noise = drifting()
    for wrong in ({"window": 0}, {"window": 5000}, {"stage": 3}):
        with pytest.raises(ParameterError, match=r"is possible|stages are"):
            RunningPedestal(maps, noise, **wrong)
    with pytest.raises(ParameterError, match="frame of"):
        RunningPedestal(maps, noise).follow(np.zeros((1, 8, 16), "u2"))
