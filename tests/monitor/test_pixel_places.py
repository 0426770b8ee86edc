"""What a scan says of pixels: the mask, and where radial bins lie."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lima2_bliss.monitor.model import Geometry
from lima2_bliss.monitor.pictures import without
from lima2_bliss.monitor.pixel_places import bin_radii, in_unit, inverse_spacings, mask_of

WHERE = Geometry(beam_x=2.0, beam_y=1.0, distance_m=0.1, pixel_m=1e-4, wavelength_nm=0.1)


def info(**metadata):
    return {"devices": {"1": {"name": "det", "metadata": metadata}}}


def test_the_mask_is_read_from_the_file_that_the_scan_names(tmp_path):
    masked = np.zeros((3, 5), np.uint8)
    masked[1, 2] = 1
    np.save(tmp_path / "mask.npy", masked)
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["entry/mask"] = masked
    for name in ("mask.npy", "mask.h5::/entry/mask"):
        found = mask_of(info(mask={"file": str(tmp_path / name)}), "det", (3, 5))
        np.testing.assert_array_equal(found, masked != 0)
    pixels = without(np.ones((3, 5), np.uint16), found)
    assert np.isnan(pixels[1, 2])
    assert np.nansum(pixels) == 14
    for given, shape in ((str(tmp_path / "mask.npy"), (6, 5)), ("/nowhere.npy", (3, 5)), (None, (3, 5))):
        assert mask_of(info(mask={"file": given}), "det", shape) is None


@pytest.mark.parametrize("unit", ["r_m", "r_mm", "2th_deg", "2th_rad", "q_nm^-1", "q_A^-1"])
def test_all_radial_units_mean_the_same_resolution(unit):
    radii = np.array([0.0, 0.01, 0.1])
    expected = 2 * np.sin(np.arctan(radii / 0.1) / 2) / 0.1
    np.testing.assert_allclose(inverse_spacings(in_unit(radii, unit, WHERE), unit, WHERE), expected, atol=1e-12)


def test_bins_go_evenly_from_the_nearest_pixel_to_the_farthest():
    told = info(hit_finding={"unit": "r_m"})
    radii = bin_radii(told, "det", WHERE, (3, 5), 4)
    farthest = np.hypot(1, 2) * 1e-4
    np.testing.assert_allclose(radii, (np.arange(4) + 0.5) * farthest / 4)
    tilted = info(hit_finding={"unit": "r_m"}, poni={"rot1": 0.1})
    assert bin_radii(tilted, "det", WHERE, (3, 5), 4) is None
    assert bin_radii(info(), "det", WHERE, (3, 5), 4) is None
