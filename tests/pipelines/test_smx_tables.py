"""Set-up of the SMX pipeline from a PONI file or from ready arrays."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.pipelines.smx.geometry import spacing_faults
from lima2_receivers.pipelines.smx.geometry_arrays import _nearest
from lima2_receivers.pipelines.smx.tables import load_tables, table_faults, write_arrays

HEIGHT, WIDTH = 200, 150
INFO = FrameInfo(1, HEIGHT, WIDTH, np.dtype("u2"))


def test_poni_file_gives_bins_in_the_unit(poni):
    made = load_tables(Fai(poni_path=poni(), nb_bins=50, unit="r_mm"), INFO)
    bins = made.bins
    assert bins.nb_bins == 50
    assert (made.unit, made.unit_label) == ("r_mm", "Radius (mm)")
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = np.hypot(y * 0.1 - 8.1, x * 0.1 - 6.2)
    np.testing.assert_allclose(bins.radius.reshape(HEIGHT, WIDTH), expected, rtol=1e-5)
    assert made.span == pytest.approx((expected.min(), expected.max()), rel=1e-5)
    step = bins.centers[1] - bins.centers[0]
    assert not list(spacing_faults(bins.centers, ""))
    assert sorted(bins.indices) == list(range(HEIGHT * WIDTH))
    of_entries = np.repeat(bins.centers, np.diff(bins.indptr))
    assert np.abs(bins.radius[bins.indices] - of_entries).max() <= step * 0.501
    assert bins.coefs is None
    assert made.corrections.masked is None
    assert made.corrections.normalization is None
    about = made.description
    assert about["beam_center_x"] == pytest.approx(62)
    assert about["beam_center_y"] == pytest.approx(81)
    assert about["distance"] == 0.1
    assert about["wavelength"] == 1e-10
    assert about["x_pixel_size"] == about["y_pixel_size"] == 1e-4
    assert json.loads(about["poni"])["poni1"] == 0.0081


@pytest.mark.parametrize("unit", ["r_m", "q_nm^-1", "q_A^-1", "2th_deg", "2th_rad"])
def test_units(poni, unit):
    made = load_tables(Fai(poni_path=poni(), nb_bins=20, unit=unit), INFO)
    r = np.hypot(200 * 0.1 - 8.1, 0.05)  # roughly the lower edge [mm]
    angle = np.arctan2(r, 100)
    q = 4 * np.pi * np.sin(angle / 2) / 0.1
    largest = {"r_m": r * 1e-3, "q_nm^-1": q, "q_A^-1": q / 10, "2th_deg": np.degrees(angle), "2th_rad": angle}
    assert largest[unit] < made.span[1] < largest[unit] * 1.4


def test_mask_and_module_gaps_are_combined(poni, saved):
    info = FrameInfo(1, 195, 487, np.dtype("u2"))  # one module of three
    path = poni(detector="Pilatus300k", config={"orientation": 3})
    gaps_info = FrameInfo(1, 619, 487, np.dtype("u2"))
    gaps = load_tables(Fai(poni_path=path, nb_bins=50), gaps_info).corrections.masked.reshape(619, 487)
    assert gaps[195:212].all()
    assert not gaps[:195].any()
    mask = np.zeros((619, 487), "u1")
    mask[10, 20] = 1
    made = load_tables(Fai(poni_path=path, nb_bins=50, mask_path=saved("mask", mask)), gaps_info)
    masked = made.corrections.masked.reshape(619, 487)
    assert masked[195:212].all()
    assert masked[10, 20]
    np.testing.assert_array_equal(np.isnan(made.bins.radius), made.corrections.masked)
    assert not made.corrections.masked[made.bins.indices].any()
    assert "619" in table_faults(Fai(poni_path=path), info)[0]


def test_normalisation_is_the_product(poni, saved):
    rng = np.random.default_rng(1)
    flat, absorption = rng.uniform(0.5, 2, (2, HEIGHT, WIDTH)).astype("f4")
    flat[3, 4], flat[5, 6] = 0, np.nan
    common = {"poni_path": poni(), "nb_bins": 50, "correct_solid_angle": True, "correct_polarization": True}
    plain = load_tables(Fai(**common), INFO).corrections.normalization
    made = load_tables(
        Fai(
            **common,
            flat_path=saved("flat", flat),
            absorption_path=saved("absorption", absorption),
            normalization_factor=3.0,
        ),
        INFO,
    )
    bad = np.zeros((HEIGHT, WIDTH), bool)
    bad[3, 4] = bad[5, 6] = True
    np.testing.assert_array_equal(made.corrections.masked, bad.ravel())
    assert (plain < 1).any()
    expected = (3 * flat * absorption).ravel() * plain
    np.testing.assert_allclose(made.corrections.normalization[~bad.ravel()], expected[~bad.ravel()], rtol=1e-5)
    assert np.isfinite(made.corrections.normalization).all()
    assert np.isnan(made.bins.radius[bad.ravel()]).all()


def test_dark_variance_and_dummy(poni, saved):
    dark = np.full((HEIGHT, WIDTH), 2.5)
    dark[0, 0] = np.nan
    given_maps = {"dark_path": saved("dark", dark), "variance_path": saved("variance", dark + 1)}
    fai = Fai(
        poni_path=poni(), nb_bins=50, do_dummy=True, dummy=-1, delta_dummy=0.5, error_model="variance", **given_maps
    )
    corrections = load_tables(fai, INFO).corrections
    assert corrections.dark[1] == 2.5
    assert corrections.variance[1] == 3.5
    assert corrections.dummy == (-1, 0.5)
    assert corrections.masked.sum() == 1


def test_ready_arrays_are_what_write_arrays_wrote(poni, saved, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH))
    mask[50:60] = 1
    made = load_tables(Fai(poni_path=poni(), nb_bins=50, mask_path=saved("mask", mask), correct_solid_angle=True), INFO)
    parameters = write_arrays(made, tmp_path / "arrays")
    again = load_tables(Fai(**parameters), INFO)
    for name in ("centers", "indptr", "indices", "radius"):
        np.testing.assert_array_equal(getattr(again.bins, name), getattr(made.bins, name))
    np.testing.assert_array_equal(again.corrections.masked, made.corrections.masked)
    good = ~made.corrections.masked
    np.testing.assert_array_equal(again.corrections.normalization[good], made.corrections.normalization[good])
    assert (again.unit, again.span) == (made.unit, made.span)

    del parameters["csr_path"]
    nearest = load_tables(Fai(**parameters), INFO).bins
    np.testing.assert_array_equal(np.sort(nearest.indices), np.sort(made.bins.indices))
    assert np.abs(np.diff(nearest.indptr) - np.diff(made.bins.indptr)).max() <= 2  # rounding at the edges of bins


@pytest.mark.parametrize(("group", "with_data"), [("", True), ("", False), ("deep/matrix", True)])
def test_csr_file_layouts(poni, tmp_path, group, with_data):
    made = load_tables(Fai(poni_path=poni(), nb_bins=50), INFO)
    parameters = write_arrays(made, tmp_path)
    share = np.full(len(made.bins.indices), 0.5, "f8")
    with h5py.File(parameters["csr_path"], "w") as file:
        place = file.create_group(group) if group else file
        place["indices"] = made.bins.indices.astype("u8")
        place["indptr"] = made.bins.indptr.astype("i8")
        if with_data:
            place["data"] = share
    bins = load_tables(Fai(**parameters), INFO).bins
    np.testing.assert_array_equal(bins.indices, made.bins.indices)
    assert bins.indices.dtype == bins.indptr.dtype == np.int32
    assert (bins.coefs is None) == (not with_data)


def test_masked_pixels_leave_the_matrix(poni, saved, tmp_path):
    parameters = write_arrays(load_tables(Fai(poni_path=poni(), nb_bins=50), INFO), tmp_path)
    mask = np.zeros((HEIGHT, WIDTH), "i4")
    mask[:, :30] = -1
    bins = load_tables(Fai(**parameters, mask_path=saved("mask", mask)), INFO).bins
    assert len(bins.indices) == bins.indptr[-1] == HEIGHT * (WIDTH - 30)
    assert (bins.indices % WIDTH >= 30).all()


@settings(max_examples=50, deadline=None)
@given(
    first=st.floats(-5, 50),
    step=st.floats(1e-3, 10),
    nb_bins=st.integers(2, 40),
    places=st.lists(st.floats(-2, 45), max_size=60),
)
def test_nearest_centre_is_nearest(first, step, nb_bins, places):
    centers = first + step * np.arange(nb_bins)
    radius = np.array([first + step * place for place in places] + [np.nan], "f4")
    _, indices, indptr = _nearest(centers, radius)
    assert len(indptr) == nb_bins + 1
    assert indptr[-1] == len(indices) == len(set(indices.tolist()))
    of_entries = np.repeat(centers, np.diff(indptr))
    assert (np.abs(radius[indices] - of_entries) <= 0.502 * step).all()
    inside = (radius >= centers[0] - 0.499 * step) & (radius <= centers[-1] + 0.499 * step)
    assert set(np.flatnonzero(inside)) <= set(indices.tolist())
