"""Calibrations of a Jungfrau: gain files of others, our own files, what is refused, and what the kernels get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import ParameterError, SavingError
from lima2_receivers.detectors.jungfrau.calibration import (
    MASK_DEAD,
    STAGES,
    Calibration,
    all_stages,
    misfits,
    require_fit,
)
from lima2_receivers.detectors.jungfrau.calibration_file import FORMAT, load_calibration, save_calibration
from lima2_receivers.detectors.jungfrau.calibration_report import report_on, save_pictures
from lima2_receivers.detectors.jungfrau.gain_files import read_hdf5_gains, read_psi_gains, write_psi_gains
from lima2_receivers.kernels.jungfrau_layout import Layout

SHAPE = (2, 8, 16)
GAINS = (41.0, -1.439, -0.1145, 100.0)
PEDESTALS = (3000.0, 15000.0, 15100.0, 3100.0)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def maps(values: tuple[float, ...], shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return all_stages(np.broadcast_to(np.array(values)[:, None, None, None], (len(values), *shape)))


def calibration(shape: tuple[int, int, int] = SHAPE, gains: tuple[float, ...] = GAINS) -> Calibration:
    noise = maps((13.0, 8.0, 8.0, 20.0), shape)
    mask = np.zeros(shape, "u4")
    return Calibration(maps(gains, shape), maps(PEDESTALS, shape), noise, mask, tuple(range(7, 7 + shape[0])), NOON)


@pytest.mark.parametrize("nb_maps", [3, 6])
def test_psi_gain_files_give_their_maps_in_module_order(tmp_path, nb_maps):
    gains = np.random.default_rng(1).normal(40, 1, (nb_maps, 2, 512, 1024))
    paths = [tmp_path / "M1.bin", tmp_path / "M2.bin"]
    write_psi_gains(paths, gains)
    assert paths[0].stat().st_size == nb_maps * 512 * 1024 * 8
    assert np.fromfile(paths[1])[512 * 1024 + 3 * 1024 + 5] == gains[1, 1, 3, 5]
    np.testing.assert_array_equal(read_psi_gains(paths), gains)


def test_files_that_are_no_psi_gains_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="cannot be read"):
        read_psi_gains([tmp_path / "none.bin"])
    (tmp_path / "short.bin").write_bytes(b"1234")
    with pytest.raises(ParameterError, match="4 bytes are no gain file"):
        read_psi_gains([tmp_path / "short.bin"])
    with pytest.raises(ParameterError, match="none given"):
        read_psi_gains([])
    write_psi_gains([tmp_path / "three.bin"], np.ones((3, 1, 512, 1024)))
    write_psi_gains([tmp_path / "six.bin"], np.ones((6, 1, 512, 1024)))
    with pytest.raises(ParameterError, match="the same number of maps"):
        read_psi_gains([tmp_path / "three.bin", tmp_path / "six.bin"])


def test_hdf5_gains_of_modules_on_top_of_each_other(tmp_path):
    path = tmp_path / "gains.h5"
    values = np.arange(4 * 1024 * 1024, dtype="f4").reshape(4, 1024, 1024)
    with h5py.File(path, "w") as file:
        file["gains"] = values
    gains = read_hdf5_gains(path, 2)
    assert gains.shape == (4, 2, 512, 1024)
    assert gains[2, 1, 3, 4] == values[2, 515, 4]
    assert np.isnan(all_stages(gains)[4:]).all()
    with pytest.raises(ParameterError, match="without gaps"):
        read_hdf5_gains(path, 3)
    with pytest.raises(ParameterError, match="there is no dataset 'dark'"):
        read_hdf5_gains(path, 2, "dark")
    with pytest.raises(ParameterError, match="cannot be read as HDF5"):
        read_hdf5_gains(tmp_path / "none.h5", 2)


def test_a_saved_calibration_comes_back_whole(tmp_path):
    saved = calibration().with_step("made up", serial="JF-1", conditions={"exposure_s": 1e-3, "cooling": "on"})
    saved.mask[1, 2, 3] = MASK_DEAD
    save_calibration(tmp_path / "jf.h5", saved)
    loaded = load_calibration(tmp_path / "jf.h5")
    for name in ("gains", "pedestals", "noise", "mask"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
        assert getattr(loaded, name).dtype == getattr(saved, name).dtype
    for name in ("module_ids", "taken_at", "serial", "conditions", "history"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert [path.name for path in tmp_path.iterdir()] == ["jf.h5"]


def test_a_calibration_file_is_never_overwritten(tmp_path):
    save_calibration(tmp_path / "jf.h5", calibration())
    before = (tmp_path / "jf.h5").read_bytes()
    with pytest.raises(SavingError, match="exists already"):
        save_calibration(tmp_path / "jf.h5", calibration())
    with pytest.raises(SavingError, match="could not be written"):
        save_calibration(tmp_path / "nowhere" / "jf.h5", calibration())
    assert (tmp_path / "jf.h5").read_bytes() == before


def test_files_that_are_no_calibration_or_from_the_future_are_refused(tmp_path):
    path = tmp_path / "jf.h5"
    with pytest.raises(ParameterError, match="cannot be read"):
        load_calibration(path)
    for name, value, text in (
        ("version", 2, "up to 1"),
        ("format", "other", "holds no calibration"),
        ("taken_at", "x", "damaged"),
    ):
        path.unlink(missing_ok=True)
        save_calibration(path, calibration())
        with h5py.File(path, "r+") as file:
            assert file.attrs["format"] == FORMAT
            file.attrs[name] = value
        with pytest.raises(ParameterError, match=text):
            load_calibration(path)
    path.unlink()
    save_calibration(path, calibration())
    with h5py.File(path, "r+") as file:
        del file["noise"]
    with pytest.raises(ParameterError, match="damaged"):
        load_calibration(path)


def test_a_calibration_that_fits_is_used():
    assert misfits(calibration(), SHAPE, (7, 8), NOON + timedelta(minutes=50), timedelta(hours=1)) == []
    require_fit(calibration(), SHAPE, module_ids=(7, 8))


@pytest.mark.parametrize(
    ("changed", "given", "text"),
    [
        ({}, {"shape": (1, 8, 16)}, r"maps of \(2, 8, 16\)"),
        ({}, {"module_ids": (8, 7)}, "another order"),
        ({}, {"module_ids": (8, 9)}, r"modules \[7, 8\]"),
        ({}, {"data_from": NOON - timedelta(seconds=1)}, "0:00:01 after the data"),
        ({}, {"data_from": NOON + timedelta(hours=2), "max_age": timedelta(hours=1)}, "take pedestals anew"),
        ({"gains": maps((0.041, -1.4, -0.11))}, {}, "median gain of G0"),
        ({"gains": maps((41.0, 1.4, -0.11))}, {}, "median gain of G1"),
        ({"pedestals": maps((3000.0, 17000.0, 15000.0))}, {}, "median pedestal of G1"),
        ({"mask": np.ones(SHAPE, "u4")}, {}, "100.0% of the pixels"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused_with_the_reason(changed, given, text):
    given = {"shape": SHAPE, **given}
    with pytest.raises(ParameterError, match=text):
        require_fit(calibration().with_step("changed", **changed), **given)


def test_maps_of_the_kernels_hold_photons_and_mark_bad_pixels():
    made = calibration()
    made.mask[0, 0, 0] = MASK_DEAD
    made.gains[1, 0, 0, 1] = 0
    made.pedestals[2, 0, 0, 2] = np.nan
    of_photons, of_kev = made.stage_maps(12.4), made.stage_maps()
    np.testing.assert_allclose(of_photons.factors[:, 1, 1, 1], 1 / (np.array(GAINS[:3]) * 12.4), rtol=1e-6)
    np.testing.assert_allclose(of_kev.factors[:, 1, 1, 1], 1 / np.array(GAINS[:3]), rtol=1e-6)
    np.testing.assert_array_equal(of_kev.pedestals[:, 1, 1, 1], PEDESTALS[:3])
    assert np.isnan(of_kev.factors[:, 0, 0, :3]).T.tolist() == [[True] * 3, [False, True, False], [False, False, True]]
    assert np.isfinite(of_kev.pedestals).all()
    high = made.stage_maps(high_gain=True)
    np.testing.assert_allclose(high.factors[:, 1, 1, 1], 1 / np.array([100.0, *GAINS[1:3]]), rtol=1e-6)
    np.testing.assert_array_equal(high.pedestals[:, 1, 1, 1], [3100, 15000, 15100])


def test_maps_that_cannot_be_made_are_refused():
    with pytest.raises(ParameterError, match="no maps HG0"):
        calibration(gains=GAINS[:3]).stage_maps(high_gain=True)
    for energy in (0.0, -1.0, float("nan")):
        with pytest.raises(ParameterError, match="photon energy"):
            calibration().stage_maps(energy)
    with pytest.raises(ParameterError, match="module ids"):
        calibration().with_step("", module_ids=(1,))
    with pytest.raises(ParameterError, match="time zone"):
        calibration().with_step("", taken_at=datetime(2024, 5, 1))
    with pytest.raises(ParameterError, match="3, 4 or 6"):
        all_stages(np.zeros((2, *SHAPE)))


def test_the_report_has_numbers_of_each_stage_and_module():
    made = calibration()
    made.mask[1, 0, :3] = MASK_DEAD
    report = report_on(made)
    assert [(row.module, row.stage) for row in report.stages] == [(m, s) for m in (0, 1) for s in STAGES[:4]]
    first = report.stages[0]
    assert (first.pedestal, first.spread, first.noise, first.module_id) == (3000, 0, 13, 7)
    assert first.noise_kev == pytest.approx(13 / 41)
    assert report.bad == (0, 3)
    assert report.faults["dead"] == (0, 3)
    text = str(report)
    assert "module 1: 3 of 128 pixels are bad (dead 3)" in text
    assert "15000.0" in text


def test_pictures_show_the_assembled_maps_with_bad_pixels_in_red(tmp_path):
    image = pytest.importorskip("PIL.Image")
    made = calibration()
    made.mask[0, 0, 0] = MASK_DEAD
    layout = Layout(grid=(2, 1), module_shape=(8, 16), chip=4)
    paths = save_pictures(made, layout, tmp_path / "pictures")
    names = [f"{what}_{stage}.png" for stage in STAGES[:4] for what in ("pedestal", "noise")]
    assert [path.name for path in paths] == [*names, "mask.png"]
    height, width = layout.image_shape
    picture = image.open(paths[0])
    assert picture.size == (width, height + 16)
    red, green, _ = picture.getpixel((0, 16))
    assert red > 2 * green
    assert len(set(picture.getpixel((1, 16)))) == 1
