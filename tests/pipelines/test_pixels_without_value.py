"""What pipelines make of pixels that the detector says have no value: never, or not in this frame."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_bliss.contract import AcquisitionError, FrameInfo
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.engine.node_steps import drop_buffer
from lima2_receivers.kernels import sum_dtype
from lima2_receivers.kernels.widening import sum_dummy
from lima2_receivers.pipelines.legacy import PIPELINE as LEGACY
from lima2_receivers.pipelines.smx import PIPELINE as SMX
from lima2_receivers.pipelines.smx.tables import load_tables
from lima2_receivers.pipelines.trial import Trial

HEIGHT, WIDTH = 40, 60
GAPS = np.zeros((HEIGHT, WIDTH), bool)
GAPS[18:21] = GAPS[:, 30] = True
DUMMIES = {"u2": 65535.0, "i2": -32768.0, "i4": -(2.0**31), "f4": None}


def info(dtype: str) -> FrameInfo:
    return FrameInfo(1, HEIGHT, WIDTH, np.dtype(dtype))


def marked(dtype: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A frame with marks in gaps and at some other pixels; and the same as float64 with NaN."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 60, (HEIGHT, WIDTH)).astype("f8")
    values[GAPS | (random.random(GAPS.shape) < 0.02)] = np.nan
    dummy = DUMMIES[dtype]
    frame = values if dummy is None else np.where(np.isnan(values), dummy, values)
    return frame.astype(dtype), values


def shown(image: np.ndarray) -> np.ndarray:
    """An image with NaN for what marks a sum without a value."""
    return np.where(image == sum_dummy(image.dtype), np.nan, image.astype("f8"))


def trial_of(dtype: str, processing: dict, image: dict | None = None, **acq) -> Trial:
    acquisition = {"acq": {"nb_frames": 12, "expo_time": 1_000_000, **acq}, "img": image or {}}
    return Trial(LEGACY, info(dtype), processing=processing, acquisition=acquisition, masked=GAPS, dummy=DUMMIES[dtype])


WHOLE = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": WIDTH, "y": HEIGHT}}


@pytest.mark.parametrize("dtype", DUMMIES)
def test_the_image_keeps_its_marks_and_statistics_leave_them_out(dtype):
    frame, values = marked(dtype)
    processing = {
        "statistics": {"rect_rois": [WHOLE]},
        "profiles": {"rois": [WHOLE, WHOLE], "directions": ["vertical", "horizontal"]},
    }
    with trial_of(dtype, processing) as trial:
        item = trial.process(frame)
        np.testing.assert_array_equal(item.pixels[0], frame)
        assert trial.pools == []  # nothing is copied for it
        row = item.rows["roi_statistics"][0]
        assert row["sum"] == np.nansum(values)
        assert row["max"] == np.nanmax(values)
        profiles = item.rows["roi_profiles"]["sum"]
        np.testing.assert_array_equal(profiles[:HEIGHT], np.where(GAPS.all(1), np.nan, np.nansum(values, 1)))
        np.testing.assert_array_equal(profiles[HEIGHT:], np.where(GAPS.all(0), np.nan, np.nansum(values, 0)))
        drop_buffer(item)


@pytest.mark.parametrize("dtype", DUMMIES)
@pytest.mark.parametrize("rotation", ["none", "90ccw"])
def test_a_binned_pixel_needs_all_of_its_pixels(dtype, rotation):
    frame, values = marked(dtype)
    image = {"binning": {"x": 3, "y": 2}, "flip": "up_down", "rotation": rotation}
    small = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": 20, "y": 20}}
    with trial_of(dtype, {"statistics": {"rect_rois": [small]}}, image) as trial:
        item = trial.process(frame)
        expected = values.reshape(HEIGHT // 2, 2, WIDTH // 3, 3).sum((1, 3))[::-1]
        expected = np.rot90(expected) if rotation == "90ccw" else expected
        assert item.pixels.dtype == sum_dtype(np.dtype(dtype), 6)
        np.testing.assert_array_equal(shown(item.pixels[0]), expected)
        assert item.rows["roi_statistics"]["sum"] == np.nansum(expected)
        drop_buffer(item)


@pytest.mark.parametrize("dtype", DUMMIES)
@pytest.mark.parametrize("binning", [1, 2])
def test_a_sum_needs_all_of_its_frames(dtype, binning):
    frames = [marked(dtype, seed) for seed in range(3)]
    processing = {"accumulation": {"enabled": True, "nb_frames": 3}, "statistics": {"rect_rois": [WHOLE]}}
    small = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": WIDTH // binning, "y": HEIGHT // binning}}
    processing["statistics"]["rect_rois"] = [small]
    with trial_of(dtype, processing, {"binning": {"x": binning, "y": binning}}) as trial:
        for frame, _ in frames:
            item = trial.process(frame)
        total = sum(values for _, values in frames)
        expected = total.reshape(HEIGHT // binning, binning, WIDTH // binning, binning).sum((1, 3))
        np.testing.assert_array_equal(shown(item.pixels[0]), expected)
        assert item.rows["roi_statistics"]["sum"] == np.nansum(expected)
        drop_buffer(item)


@pytest.mark.parametrize("dtype", DUMMIES)
def test_dark_and_flat_make_them_not_a_number_and_the_mask_zero(dtype, saved):
    frame, values = marked(dtype)
    mask = np.zeros(GAPS.shape, bool)
    mask[:, :7] = True
    processing = {
        "background": {"enabled": True, "path": saved("dark", np.full(GAPS.shape, 2.0))},
        "flatfield": {"enabled": True, "path": saved("flat", np.full(GAPS.shape, 0.5))},
        "mask": {"enabled": True, "path": saved("mask", mask)},
        "statistics": {"rect_rois": [WHOLE]},
    }
    with trial_of(dtype, processing) as trial:
        item = trial.process(frame)
        expected = np.where(mask, 0, (values - 2) / 0.5)
        np.testing.assert_array_equal(item.pixels[0], expected)
        np.testing.assert_allclose(item.rows["roi_statistics"]["sum"], np.nansum(expected[:, 7:]), rtol=1e-5)
        drop_buffer(item)


@pytest.mark.parametrize("dtype", DUMMIES)
def test_the_count_rate_protection_looks_at_values_only(dtype):
    frame, _ = marked(dtype)
    protection = {"enabled": True, "max_countrate": 100.0, "ignore_max_value": False}
    with trial_of(dtype, {"max_countrate_protection": protection}) as trial:
        drop_buffer(trial.process(frame))
        frame[5, 5] = 1000
        with pytest.raises(AcquisitionError, match="x=5 y=5"):
            trial.process(frame)


def test_another_mask_of_the_detector_is_another_set_of_maps(saved):
    frame, values = marked("f4")
    values[GAPS] = frame[GAPS] = 1
    processing = {"statistics": {"rect_rois": [WHOLE]}}
    for masked in (GAPS, GAPS | np.eye(HEIGHT, WIDTH, dtype=bool), GAPS):
        with Trial(LEGACY, info("f4"), processing=processing, masked=masked) as trial:
            item = trial.process(frame)
            assert item.rows["roi_statistics"]["sum"] == np.nansum(np.where(masked, np.nan, values))
            drop_buffer(item)


# --- SMX --------------------------------------------------------------------------------------------------------------


def fai(saved, **more) -> dict:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(y - 20, x - 30).astype("f4")
    centers = np.linspace(0, 36, 12).astype("f4")
    return {"radius1d_path": saved("centers", centers), "radius2d_path": saved("radius", radius), **more}


def test_masked_pixels_are_in_no_bin_and_keep_no_radius(saved):
    mask = np.zeros(GAPS.shape, bool)
    mask[3] = True
    parameters = Fai(**fai(saved, mask_path=saved("mask", mask)))
    plain = load_tables(parameters, info("f4"))
    tables = load_tables(parameters, info("f4"), GAPS)
    assert load_tables(parameters, info("f4"), GAPS.copy()) is tables
    assert load_tables(parameters, info("f4")) is plain
    np.testing.assert_array_equal(np.isnan(tables.bins.radius.reshape(GAPS.shape)), GAPS | mask)
    np.testing.assert_array_equal(tables.corrections.masked.reshape(GAPS.shape), GAPS | mask)
    assert not np.isin(tables.bins.indices, np.flatnonzero(GAPS | mask)).any()
    np.testing.assert_array_equal(np.isnan(tables.sparse_info(np.dtype("f4"), 10).mask), GAPS | mask)


def test_the_dummy_of_the_parameters_goes_before(saved):
    given = fai(saved)
    assert load_tables(Fai(**given), info("u2"), GAPS, 65535.0).corrections.dummy == (65535.0, 0.0)
    assert load_tables(Fai(**given), info("u2"), GAPS).corrections.dummy is None
    assert load_tables(Fai(**given), info("f4"), GAPS, 65535.0).corrections.dummy is None
    chosen = Fai(**given, do_dummy=True, dummy=3.0, delta_dummy=0.5)
    assert load_tables(chosen, info("u2"), GAPS, 65535.0).corrections.dummy == (3.0, 0.5)


PEAKS = {"min_spots": 1, "connected": 1, "patch_size": 3, "cutoff_peak": 20.0}


@pytest.mark.parametrize("dtype", DUMMIES)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_marks_are_no_spots_and_no_background(saved, dtype, backend):
    frame, values = marked(dtype)
    values[10, 10] = frame[10, 10] = 5000
    frame[25, 40] = np.inf if dtype == "f4" else DUMMIES[dtype]  # saturated, or without a value
    frame[25, 41:43] = np.nan if dtype == "f4" else DUMMIES[dtype]
    processing = {"fai": fai(saved), "peaks": PEAKS, "compute": {"backend": backend, "threads_per_frame": 1}}
    with Trial(SMX, info(dtype), processing=processing, masked=GAPS, dummy=DUMMIES[dtype]) as trial:
        item = trial.process(frame)
        spots = item.rows["spots"]
        assert [(round(float(spot["y"])), round(float(spot["x"]))) for spot in spots] == [(10, 10)]
        places = item.rows["sparse"]["index"]
        assert not np.isin(places, np.flatnonzero(GAPS)).any()
        assert 25 * WIDTH + 40 not in places
        assert np.nanmax(item.rows["background"]["avg"]) < 60
        drop_buffer(item)
