"""Raw pixels of the simulated Jungfrau: its pattern, photons through the inverse correction, cutting into modules."""

import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.detectors.jungfrau.packets import (
    ADC_MASK,
    DAQ_FORCE_G1,
    DAQ_FORCE_G2,
    DAQ_HIGH_GAIN,
    ERROR_PIXEL,
    MISSING_PIXEL,
    SATURATED_PIXEL,
)
from lima2_receivers.detectors.jungfrau.wire import (
    Content,
    Gaps,
    Sensor,
    WireLayout,
    bragg_images,
    bragg_parameters,
    cut_modules,
    dark_content,
    documented_pattern,
    encode,
    photon_content,
    typical_sensor,
)
from lima2_receivers.detectors.simulator import diffraction

KEV = 12.4


def stage_of(raw):
    return np.array([0, 1, -1, 2])[raw >> 14]


def decode(raw, sensor):
    """Photons of raw pixels, as the correction defines them."""
    stage = stage_of(raw)
    assert stage.min() >= 0
    shape = (3, 512, 1024)
    pedestal, gain = (
        np.take_along_axis(np.broadcast_to(maps, shape), stage[None], 0)[0] for maps in (sensor.pedestals, sensor.gains)
    )
    return ((raw & ADC_MASK) - pedestal) / gain / KEV


def ramp(top):
    return np.linspace(0, top, 512 * 1024).reshape(512, 1024)


def test_the_pattern_is_the_documented_one():
    raw = documented_pattern()
    assert raw.shape == (512, 1024)
    for packet in (0, 63, 64, 127):
        assert (raw[4 * packet : 4 * packet + 4] & ADC_MASK == packet + 1).all()
    for first, last, bits in ((0, 300, 0), (300, 600, 1), (600, 1024, 3)):
        assert (raw[:, first:last] >> 14 == bits).all()


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("high_gain", [False, True])
def test_photons_come_back_within_the_rounding_of_their_stage(seed, high_gain):
    sensor = typical_sensor(high_gain, seed=seed)
    photons = ramp(9000)
    raw = encode(photons, sensor, KEV)
    stage = stage_of(raw)
    assert set(np.unique(stage)) == {0, 1, 2}
    coarsest = 0.5 / np.abs(sensor.gains).reshape(3, -1).min(axis=1) / KEV
    assert (np.abs(decode(raw, sensor) - photons) <= coarsest[stage] + 1e-9).all()


def test_stages_switch_at_the_thresholds():
    sensor = typical_sensor()
    raw = encode(ramp(1000), sensor, KEV)
    energy, stage = ramp(1000) * KEV, stage_of(raw)
    np.testing.assert_array_equal(stage, np.where(energy <= 310, 0, np.where(energy <= 9000, 1, 2)))


def test_a_stage_that_overflows_is_left_before_its_threshold():
    sensor = Sensor(np.array([15000.0, 15070.0, 15020.0]), typical_sensor().gains[:, 0, 0], (310, 1e6))
    raw = encode(ramp(2000), sensor, KEV)
    photons = ramp(2000)
    assert stage_of(raw)[photons * KEV > (16383.5 - 15000) / 41].min() == 1
    assert stage_of(raw)[photons * KEV > 15070 / 1.439].min() == 2
    assert not (raw == ERROR_PIXEL).any()


def test_more_than_g2_holds_is_saturated_and_nothing_looks_missing():
    flat = np.full((512, 1024), 1e6)
    assert (encode(flat, typical_sensor(), KEV) == SATURATED_PIXEL).all()
    rising = Sensor(np.array([3000.0, 15070.0, 16383.0]), np.array([41.0, -1.439, -0.1145]), (0.0, 0.0))
    assert not (encode(ramp(1), rising, KEV) == MISSING_PIXEL).any()


@pytest.mark.parametrize(("stage", "info"), [(0, 0), (1, DAQ_FORCE_G1), (2, DAQ_FORCE_G2)])
def test_a_forced_stage_is_kept_and_told(stage, info):
    sensor = typical_sensor(forced_stage=stage)
    raw = encode(ramp(20), sensor, KEV)
    assert (stage_of(raw) == stage).all()
    assert sensor.daq_info == info
    assert typical_sensor(True).daq_info == DAQ_HIGH_GAIN


def test_dark_frames_have_pedestals_and_noise():
    sensor = typical_sensor(noise_adu=(10, 5, 5), seed=2)
    content = dark_content(WireLayout(), sensor, frames=4)
    spread = content.pixels[:, 0].astype(float) - sensor.pedestals[0]
    assert abs(spread.mean()) < 0.1
    assert abs(spread.std() - 10) < 0.2
    assert not np.array_equal(content.pixels[0], content.pixels[1])
    with pytest.raises(ParameterError, match="random number generator"):
        encode(ramp(1), sensor, KEV)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: encode(np.zeros((512, 512)), typical_sensor(), KEV), "512, 1024"),
        (lambda: encode(np.full((512, 1024), np.nan), typical_sensor(), KEV), "NaN"),
        (lambda: Sensor(np.zeros((3, 2)), np.ones(3)), "pedestals of shape"),
        (lambda: Sensor(np.zeros(3), np.ones(3), forced_stage=3), "forced_stage"),
        (lambda: Sensor(np.zeros(3), np.ones(3), (2.0, 1.0)), "switch_kev"),
        (lambda: Content(np.zeros((1, 1, 512, 1024), np.int16)), "uint16"),
        (lambda: Content(np.zeros((0, 1, 512, 1024), np.uint16)), "at least one"),
        (lambda: Content(np.zeros((1, 1, 512, 2048), np.uint16)[..., ::2]), "contiguous"),
        (lambda: cut_modules(np.zeros((512, 1023)), WireLayout()), "with them"),
        (lambda: photon_content([], WireLayout()), "no image"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(ParameterError, match=says):
        make()


def test_modules_are_cut_out_of_stacked_and_of_assembled_images():
    layout, gaps = WireLayout(2, 4), Gaps()
    assert gaps.shape(layout) == (2164, 2068)
    rows, columns = np.indices((2048, 2048))
    stacked = (rows * 4096 + columns).astype(np.int64)
    found = cut_modules(stacked, layout)
    np.testing.assert_array_equal(found[5], stacked[512:1024, 1024:])
    assembled = np.full((2164, 2068), -1)
    for module in range(8):
        x, y = divmod(module, 4)
        for chip_y in range(2):
            for chip_x in range(4):
                top, left = y * 550 + chip_y * 258, x * 1038 + chip_x * 258
                part = found[module, chip_y * 256 : chip_y * 256 + 256, chip_x * 256 : chip_x * 256 + 256]
                assembled[top : top + 256, left : left + 256] = part
    np.testing.assert_array_equal(cut_modules(assembled, layout), found)


def test_wide_edges_take_in_what_falls_between_the_chips():
    found = cut_modules(np.ones((514, 1030)), WireLayout(), wide_edges=True)[0]
    assert found.sum() == 514 * 1030
    assert found[255:257, 255:257].tolist() == [[4, 4], [4, 4]]
    assert found[0, 254:258].tolist() == [1, 2, 2, 1]
    assert found[0, 0] == found[511, 1023] == 1


def test_bragg_frames_have_their_spots_where_the_generator_says():
    layout = WireLayout()
    parameters = bragg_parameters(layout, frames=2, seed=5)
    parameters.det.generator.diffraction.hit_rate = 1.0
    content = photon_content(bragg_images(parameters), layout)
    assert content.pixels.shape == (2, 1, 512, 1024)
    photons = decode(content.pixels[0, 0], typical_sensor())
    spots = diffraction.spots(parameters, 0)
    strong = spots[np.argmax(np.where((spots["y"] < 250) & (spots["x"] < 250), spots["intensity"], 0))]
    y, x = round(float(strong["y"])), round(float(strong["x"]))
    assert photons[y, x] > 3 * np.median(photons[max(y - 20, 0) : y + 20, max(x - 20, 0) : x + 20])
