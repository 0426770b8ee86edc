"""Simulated photons come back from raw frames; what has no value is marked."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from conditioning_rig import PHOTON_KEV, Bench, Modules

from lima2_bliss.contract import FrameFlags, ParameterError
from lima2_receivers.detectors.jungfrau.calibration import MASK_DEAD
from lima2_receivers.detectors.jungfrau.calibration_file import save_calibration
from lima2_receivers.detectors.jungfrau.packets import DAQ_HIGH_GAIN, ERROR_PIXEL, MISSING_PIXEL, SATURATED_PIXEL
from lima2_receivers.detectors.jungfrau.pixel_totals import PixelTotals
from lima2_receivers.kernels.jungfrau_layout import assemble_reference
from lima2_receivers.kernels.jungfrau_types import PixelCounts

ONE = Modules(1)
PHOTONS = ONE.photons()
RAW = ONE.raw(PHOTONS)

#: Of the rounding to whole ADU, in the stage with the smallest gain.
G2_ERROR = 0.52 / (0.1145 * 0.98)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "one.h5"
    save_calibration(path, ONE.calibration())
    return str(path)


@pytest.fixture(scope="module")
def with_high_gain(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "high.h5"
    save_calibration(path, Modules(1, high_gain=True).calibration())
    return str(path)


@pytest.mark.parametrize("output", ["float32", "int32", "int16", "uint16"])
@pytest.mark.parametrize("unit", ["photons", "keV"])
def test_photons_of_every_gain_stage_come_back(calibration, output, unit):
    parameters = ONE.parameters(calibration, output, correction={"unit": unit})
    bench = Bench(ONE, parameters)
    image, meta = bench.process(RAW)
    bench.end()
    assert meta.flags.valid
    assert image.dtype == np.dtype(output)
    scale = 1.0 if unit == "photons" else PHOTON_KEV
    shown = assemble_reference(PHOTONS * scale, parameters.det.geometry.layout, np.nan)
    inside = ~np.isnan(shown)
    assert inside.all()  # a single module has no gaps but those between chips, which show their neighbours
    if output == "float32":
        assert np.abs(image - shown).max() < G2_ERROR * scale / PHOTON_KEV
        assert np.abs(image - shown)[shown < 25 * scale].max() < 0.52 / 40 * scale / PHOTON_KEV
    elif unit == "photons":
        np.testing.assert_array_equal(image, shown)  # rounding errors are below a half even in G2
    else:
        highest = {"int16": 32766, "uint16": 65533, "int32": 2**31}[output]
        expected = np.minimum(shown, highest)
        assert np.abs(image - expected).max() <= G2_ERROR + 0.5
    switched = {"pixels_in_G1": 171 * 1024, "pixels_in_G2": 170 * 1024}
    assert bench.nodes.counts() == dict.fromkeys(bench.nodes.counts(), 0) | switched


@pytest.mark.parametrize("number", [2, 8])
def test_modules_stand_apart_and_gaps_are_masked(tmp_path, number):
    modules = Modules(number)
    save_calibration(tmp_path / "several.h5", modules.calibration())
    parameters = modules.parameters(tmp_path / "several.h5", "float32")
    layout = parameters.det.geometry.layout
    photons = modules.photons()
    bench = Bench(modules, parameters)
    image, _ = bench.process(modules.raw(photons))
    shown = assemble_reference(photons, layout, np.nan)
    assert image.shape == layout.image_shape == {2: (1064, 1030), 8: (2164, 2068)}[number]
    np.testing.assert_array_equal(np.isnan(image), np.isnan(shown))
    assert np.nanmax(np.abs(image - shown)) < G2_ERROR / PHOTON_KEV
    np.testing.assert_array_equal(bench.conditioning.masked, np.isnan(shown))
    assert bench.conditioning.dummy is None
    bench.end()


@pytest.mark.parametrize("policy", ["copy", "split", "keep", "mask"])
@pytest.mark.parametrize("output", ["float32", "int32"])
def test_double_pixels_and_the_mask(tmp_path, policy, output):
    mask = np.zeros((1, 512, 1024), "u4")
    mask[0, 10, 20] = mask[0, 255, 300] = MASK_DEAD
    save_calibration(tmp_path / "masked.h5", ONE.calibration(mask=mask))
    parameters = ONE.parameters(tmp_path / "masked.h5", output, geometry={"double_pixels": policy})
    layout = parameters.det.geometry.layout
    bench = Bench(ONE, parameters)
    image, _ = bench.process(RAW)
    mark = np.nan if output == "float32" else np.iinfo("i4").min
    valued = np.where(mask, mark, PHOTONS).astype(output)
    shown = assemble_reference(valued, layout, mark, (mark,))
    no_value = np.isnan(shown) if output == "float32" else shown == mark
    np.testing.assert_array_equal(bench.conditioning.masked, no_value)
    if policy in ("copy", "split"):
        assert no_value.sum() == 1 + 2  # one of them is shown beside the gap, too
    assert image[10, 20] == mark or np.isnan(image[10, 20])
    if output == "float32":
        np.testing.assert_allclose(image, shown, atol=G2_ERROR / PHOTON_KEV)
        assert bench.conditioning.dummy is None
    else:
        np.testing.assert_array_equal(image, shown)
        assert bench.conditioning.dummy == mark
    bench.end()


def test_codes_of_pixels_become_marks(calibration):
    stack = RAW.copy()
    stack[0, 0, :4] = MISSING_PIXEL, SATURATED_PIXEL, ERROR_PIXEL, 0x8005
    for output, marks in (
        ("float32", [np.nan, np.inf, np.nan, np.nan]),
        ("int32", [-(2**31), 2**31 - 1, -(2**31), -(2**31)]),
        ("int16", [-32768, 32767, -32768, -32768]),
        ("uint16", [65535, 65534, 65535, 65535]),
    ):
        bench = Bench(ONE, ONE.parameters(calibration, output))
        image, _ = bench.process(stack)
        np.testing.assert_array_equal(image[0, :4], np.array(marks, output))
        assert bench.conditioning.dummy in (None, marks[0])
        counted = bench.nodes.counts()
        assert [counted[f"pixels_{name}"] for name in ("missing", "saturated", "error", "invalid")] == [1, 1, 1, 1]
        bench.end()


def test_raw_output_is_assembled_without_a_calibration():
    modules = Modules(2)
    stack = np.arange(2 * 512 * 1024, dtype="u4").reshape(2, 512, 1024).astype("u2")
    bench = Bench(modules, modules.parameters(output="raw", geometry={"double_pixels": "keep"}))
    image, _ = bench.process(stack)
    layout = modules.parameters(output="raw", geometry={"double_pixels": "keep"}).det.geometry.layout
    np.testing.assert_array_equal(image, assemble_reference(stack, layout, MISSING_PIXEL))
    assert bench.conditioning.dummy == MISSING_PIXEL
    assert (image[bench.conditioning.masked] == MISSING_PIXEL).all()
    gaps = image.size - stack.size
    assert bench.conditioning.masked.sum() == gaps
    bench.end()


@pytest.mark.parametrize(("policy", "with_image"), [("skip", False), ("drop", False), ("pass", True)])
def test_incomplete_frames(calibration, policy, with_image):
    bench = Bench(ONE, ONE.parameters(calibration, receiving={"incomplete": policy, "window": 7}))
    stack = RAW.copy()
    stack[0, 4:8] = MISSING_PIXEL
    image, meta = bench.process(stack, flags=FrameFlags.INCOMPLETE)
    assert meta.flags == FrameFlags.INCOMPLETE
    assert (image is not None) is with_image
    if with_image:
        assert np.isnan(image[4:8]).all()
        assert not np.isnan(image[:4]).any()
    assert bench.process(None, flags=FrameFlags.LOST)[0] is None
    assert bench.process(RAW)[0] is not None
    assert bench.conditioning.ahead == 7
    bench.end()


def test_the_headers_say_which_frames_are_of_high_gain_mode(with_high_gain):
    high = Modules(1, high_gain=True)
    photons = np.minimum(PHOTONS, 9)
    bench = Bench(ONE, high.parameters(with_high_gain, "int32"))
    assert (bench.process(high.raw(photons), daq=DAQ_HIGH_GAIN)[0][:256, :256] == photons[0, :256, :256]).all()
    assert (bench.process(ONE.raw(photons), daq=0)[0][:256, :256] == photons[0, :256, :256]).all()
    assert (bench.process(high.raw(photons), extras=False)[0][:256, :256] == photons[0, :256, :256]).all()
    bench.end()


def test_modules_in_different_modes_give_no_image(tmp_path, caplog):
    modules = Modules(2)
    bench = Bench(modules, modules.parameters(output="raw"))
    image, meta = bench.process(np.zeros((2, 512, 1024), "u2"), daq=[0, DAQ_HIGH_GAIN])
    assert image is None
    assert meta.flags == FrameFlags.FAILED
    assert "some modules are in high-gain mode" in caplog.text
    bench.end()


def test_frames_of_high_gain_mode_need_maps_for_it(calibration):
    with pytest.raises(ParameterError, match=r"one\.h5 does not fit: there are no maps HG0"):
        Bench(ONE, Modules(1, high_gain=True).parameters(calibration))
    bench = Bench(ONE, ONE.parameters(calibration))
    with pytest.raises(Exception, match=r"one\.h5 has no maps HG0"):
        bench.process(RAW, daq=DAQ_HIGH_GAIN)
    bench.end()


@pytest.mark.parametrize(
    ("det", "text"),
    [
        ({"module_ids": [1]}, r"one\.h5 does not fit: it is of modules \[700\], the detector has \[1\]"),
        ({"correction": {"calibration": "/nowhere/a.h5"}}, r"det.correction.calibration: /nowhere/a.h5 cannot be read"),
        ({"geometry": {"module_rows": 2}}, r"does not fit: it has maps of \(1, 512, 1024\)"),
        ({"correction": {"backend": "opencl", "device": "9:9"}}, "det.correction.device = '9:9'"),
    ],
)
def test_what_does_not_fit_is_refused(calibration, det, text):
    with pytest.raises(ParameterError, match=text):
        Bench(ONE, ONE.parameters(calibration, **det))


def test_old_pedestals_are_refused_when_asked(tmp_path):
    save_calibration(tmp_path / "old.h5", ONE.calibration(taken_at=datetime.now(UTC) - timedelta(hours=30)))
    Bench(ONE, ONE.parameters(tmp_path / "old.h5")).end()
    with pytest.raises(ParameterError, match="take pedestals anew"):
        Bench(ONE, ONE.parameters(tmp_path / "old.h5", correction={"max_age_h": 24}))
    save_calibration(tmp_path / "new.h5", ONE.calibration(taken_at=datetime.now(UTC) + timedelta(seconds=90)))
    Bench(ONE, ONE.parameters(tmp_path / "new.h5", correction={"max_age_h": 24})).end()  # clocks differ


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "changing.h5"
    save_calibration(path, ONE.calibration())
    before, _ = Bench(ONE, ONE.parameters(path)).process(RAW)
    path.unlink()
    gains = ONE.calibration().gains * np.float32(2)
    save_calibration(path, ONE.calibration(gains=gains))
    os.utime(path, ns=(1, 1))
    after, _ = Bench(ONE, ONE.parameters(path)).process(RAW)
    np.testing.assert_allclose(after, before / 2, rtol=1e-5)


def test_files_are_told_where_values_come_from(calibration):
    bench = Bench(ONE, ONE.parameters(calibration, "int32"))
    told = json.loads(json.dumps(bench.conditioning.metadata))
    assert told["calibration"]["path"] == calibration
    assert told["calibration"]["module_ids"] == [700]
    assert (told["unit"], told["photon_kev"], told["marks"]["saturated"]) == ("photons", 12.4, 2**31 - 1)
    floats = Bench(ONE, ONE.parameters(calibration, correction={"unit": "keV"}))
    assert floats.conditioning.metadata["marks"]["saturated"] == "inf"
    assert "photon_kev" not in floats.conditioning.metadata
    bench.end()
    floats.end()


def test_totals_of_pixels_add_up():
    totals = PixelTotals()
    for _ in range(3):
        totals.add(PixelCounts(saturated=2, g1=5))
    assert totals.read() == dict.fromkeys(totals.read(), 0) | {"pixels_saturated": 6, "pixels_in_G1": 15}
