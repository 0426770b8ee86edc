"""What the simulated detector sees: raw frames of a beam that the correction turns back into its photons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from lima2_bliss.contract import NotReadyError, ParameterError
from lima2_receivers.detectors.jungfrau.beam import (
    NOISE_ADU,
    BeamCache,
    diffraction_of,
    gaps,
    mean_photons,
    module_maps,
    simulated_calibration,
    wire_layout,
)
from lima2_receivers.detectors.jungfrau.calibration import require_fit
from lima2_receivers.detectors.jungfrau.exposing import expose
from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS
from lima2_receivers.detectors.jungfrau.params import JungfrauSettings
from lima2_receivers.detectors.jungfrau.wire import Sensor, cut_modules, documented_pattern, encode
from lima2_receivers.detectors.jungfrau.wire.pixels import SWITCH_KEV
from lima2_receivers.detectors.simulator import diffraction

SHAPE = (MODULE_ROWS, MODULE_COLUMNS)


def settings(modules: tuple[int, int] = (1, 1), beam: dict[str, Any] | None = None, **det: Any) -> JungfrauSettings:
    """A detector of (rows, columns) modules in a beam of few images."""
    geometry = {"module_rows": modules[0], "module_columns": modules[1]}
    return JungfrauSettings.model_validate({"geometry": geometry, "beam": {"images": 2} | (beam or {})} | det)


@pytest.fixture
def cache() -> Iterator[BeamCache]:
    made = BeamCache(threads=2)
    yield made
    made.close()


def corrected(raw: np.ndarray, det: JungfrauSettings) -> np.ndarray:
    """Photons of raw frames (modules, 512, 1024), by the definition."""
    calibration = simulated_calibration(det, datetime.now(UTC))
    maps = calibration.stage_maps(det.beam.photon_kev, det.high_gain)
    stage = np.choose(raw >> 14, [0, 1, 2, 2])
    pedestals, factors = (np.take_along_axis(of, stage[None], 0)[0] for of in (maps.pedestals, maps.factors))
    return ((raw & 0x3FFF) - pedestals) * factors


def seen(det: JungfrauSettings, image: int) -> np.ndarray:
    """Mean photons of the modules."""
    wide = det.geometry.double_pixels != "copy"
    return cut_modules(mean_photons(det, image), wire_layout(det), gaps(det), wide)


# --- a module ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("high_gain", [False, True])
@pytest.mark.parametrize("forced", [None, 0, 1, 2])
def test_a_module_without_noise_is_as_the_reference_has_it(high_gain: bool, forced: int | None) -> None:
    maps = module_maps(3, 1)
    photons = np.random.default_rng(2).exponential(1.0, SHAPE).astype(np.float32)
    photons *= np.float32(10) ** np.linspace(-2, 5, MODULE_ROWS, dtype=np.float32)[:, None]  # all stages, saturated too
    found = np.empty(SHAPE, np.uint16)
    gains = maps.gains_of(high_gain)
    expose(photons, 12.4, maps.pedestals, gains, SWITCH_KEV, found, forced_stage=forced)
    expected = encode(photons, Sensor(maps.pedestals, gains, forced_stage=forced), 12.4)
    np.testing.assert_array_equal(found, expected)
    if forced is None:
        assert set(np.unique(found >> 14)) == {0, 1, 3}
        assert (found == 0xC000).any()


@pytest.mark.parametrize("mean", [0.0, 0.3, 3.0, 25.0, 200.0])
def test_photons_follow_poisson_and_the_read_out_has_its_noise(mean: float) -> None:
    pedestals, gains = (np.broadcast_to(np.float32(value), (3, *SHAPE)).copy() for value in (3000.0, 100.0))
    frames = np.empty((2, *SHAPE), np.uint16)
    for seed, frame in enumerate(frames):
        expose(
            np.full(SHAPE, mean, np.float32), 0.5, pedestals, gains, (1e9, 1e9), frame, noise_adu=(5, 0, 0), seed=seed
        )
    photons = (frames.astype(float) - 3000) / 50
    pixels = photons[0].size
    assert photons[0].mean() == pytest.approx(mean, abs=5 * np.sqrt((mean + 0.01) / pixels))
    variance = mean + (5 / 50) ** 2 + 1 / 12 / 50**2
    assert photons[0].var() == pytest.approx(variance, rel=0.02)
    assert abs(np.corrcoef(photons.reshape(2, -1))[0, 1]) < 0.01  # another seed is other noise
    assert abs(np.corrcoef(photons[0].ravel()[:-1], photons[0].ravel()[1:])[0, 1]) < 0.01
    if mean == 0.3:
        nothing = np.mean(np.abs(photons[0]) < 0.5)
        assert nothing == pytest.approx(np.exp(-mean), abs=0.005)


# --- a beam -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["bragg", "flat"])
@pytest.mark.parametrize("double_pixels", ["copy", "split"])
def test_frames_are_corrected_to_the_photons_of_the_beam(cache: BeamCache, pattern: str, double_pixels: str) -> None:
    beam = {"pattern": pattern, "noise": False, "hit_rate": 1.0, "spot_intensity": 5000}
    det = settings((2, 1), beam, geometry={"module_rows": 2, "module_columns": 1, "double_pixels": double_pixels})
    content = cache.content(det, 20)
    assert content.pixels.shape == (2 if pattern == "bragg" else 1, 2, *SHAPE)
    expected = seen(det, 0)
    found = corrected(content.pixels[0], det)
    stage_step = np.choose(content.pixels[0] >> 14, [0.5 / 41, 0.5 / 1.4, 0, 0.5 / 0.11]) / 12.4 * 1.05
    assert (np.abs(found - expected) <= stage_step + 1e-3).all()
    assert expected.max() > 3 if pattern == "bragg" else expected.min() == 2.0


def test_noise_leaves_the_mean_and_drift_moves_the_pedestals(cache: BeamCache) -> None:
    dark = settings(beam={"pattern": "dark", "drift_adu": 50.0})
    found = corrected(cache.content(dark, 20).pixels[0], dark) * 12.4 * 41
    assert found.mean() == pytest.approx(50.0, abs=0.2)
    assert found.std() == pytest.approx(NOISE_ADU[0], rel=0.05)


def test_high_gain_is_corrected_with_its_own_gain(cache: BeamCache) -> None:
    det = settings(beam={"pattern": "flat", "noise": False}, high_gain=True)
    content = cache.content(det, 20)
    assert content.daq_info == 1
    np.testing.assert_allclose(corrected(content.pixels[0], det), 2.0, atol=0.5 / 98 / 12.4 + 1e-3)


@pytest.mark.parametrize(
    ("mode", "bits", "stage"),
    [("forceswitchg1", 1 << 12, 1), ("forceswitchg2", 1 << 13, 3), ("fixg1", 1 << 1, 1), ("fixg2", 1 << 2, 3)],
)
def test_forced_stages_are_in_pixels_and_headers(cache: BeamCache, mode: str, bits: int, stage: int) -> None:
    content = cache.content(settings(beam={"pattern": "dark"}, gain_mode=mode), 20)
    assert content.daq_info == bits
    assert (content.pixels >> 14 == stage).all()


def test_the_documented_pattern_is_as_it_is(cache: BeamCache) -> None:
    content = cache.content(settings((2, 1), {"pattern": "documented", "stamp": True}))
    assert content.stamp
    np.testing.assert_array_equal(content.pixels[0, 1], documented_pattern())


def test_hits_have_spots_and_the_others_do_not() -> None:
    det = settings(beam={"images": 10, "hit_rate": 0.4})
    crystal = diffraction_of(det)
    hits = diffraction.hits(crystal)
    assert hits.sum() == 4
    assert [len(diffraction.spots(crystal, image)) > 0 for image in range(10)] == list(hits)
    assert (crystal.det.size.x, crystal.det.size.y) == (1030, 514)


def test_the_exact_calibration_fits_the_modules() -> None:
    det = settings((2, 1), module_ids=[7, 9])
    calibration = simulated_calibration(det, datetime.now(UTC))
    require_fit(calibration, (2, *SHAPE), module_ids=[7, 9])
    assert calibration.has_high_gain


# --- the cache --------------------------------------------------------------------------------------------------------


def test_the_same_beam_is_computed_once(cache: BeamCache) -> None:
    first = cache.content(settings(), 20)
    other = cache.content(settings(beam={"order": "ascending", "stamp": True}), 0.0)  # the pixels are the same
    assert other.pixels is first.pixels
    again = cache.content(settings(beam={"seed": 2}), 20)
    assert not np.array_equal(again.pixels, first.pixels)
    assert cache.content(settings(), 0.0).pixels is first.pixels


def test_frames_that_take_too_long_say_how_far_they_are(cache: BeamCache) -> None:
    det = settings(beam={"images": 40})
    with pytest.raises(NotReadyError, match=r"\d+ of 40; prepare again"):
        cache.content(det, 0.0)
    assert len(cache.content(det, 20).pixels) == 40


def test_what_is_not_needed_any_more_is_let_go() -> None:
    cache = BeamCache(threads=2, max_bytes=5 << 20)
    first = cache.content(settings(beam={"pattern": "dark"}), 20)
    cache.content(settings(beam={"pattern": "flat", "images": 4}), 20)
    assert cache.content(settings(beam={"pattern": "dark"}), 20).pixels is not first.pixels
    cache.close()


def test_too_many_images_are_refused_with_a_number_that_fits(cache: BeamCache) -> None:
    with pytest.raises(ParameterError, match=r"set det\.beam\.images to 256 or less"):
        cache.content(settings((4, 2), {"images": 1000}))
