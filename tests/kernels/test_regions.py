"""Which pixels belong to a ROI."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_receivers.kernels import ArcRoi, arc_mask, find_regions

angles = st.one_of(st.sampled_from([0.0, 45.0, 90.0, 180.0, 270.0, 359.5]), st.floats(-720, 720))


def test_a_rectangle_owns_its_pixels_row_by_row():
    regions = find_regions((1, 5, 6), [(1, 2, 3, 2)])
    assert regions.pixels(0).tolist() == [13, 14, 15, 19, 20, 21]


def test_full_rows_are_one_run():
    assert len(find_regions((1, 100, 100), [(0, 10, 100, 50)]).starts) == 1


def test_a_region_spans_all_channels():
    assert find_regions((3, 2, 2), [(1, 1, 1, 1)]).pixels(0).tolist() == [3, 7, 11]


def test_masked_pixels_are_left_out_per_channel():
    valid = np.ones((2, 2, 2), bool)
    valid[0, 0, 1] = valid[1, 1, 1] = False
    assert find_regions((2, 2, 2), [(0, 0, 2, 2)], valid=valid).pixels(0).tolist() == [0, 2, 3, 4, 5, 6]


def test_one_mask_serves_all_channels():
    valid = np.array([[[True, False]]])
    assert find_regions((2, 1, 2), [(0, 0, 2, 1)], valid=valid).pixels(0).tolist() == [0, 2]


def test_a_quarter_turns_from_columns_to_rows():
    """a1 = 0, a2 = 90: from +x (to the right) to +y (down); the border at 90 degrees belongs to the next arc."""
    inside = arc_mask((5, 5), ArcRoi(2, 2, 1, 2.1, 0, 90))
    assert np.argwhere(inside).tolist() == [[2, 3], [2, 4], [3, 3]]


def test_inner_radius_is_in_and_outer_radius_is_out():
    inside = arc_mask((1, 7), ArcRoi(0, 0, 2, 5))
    assert np.flatnonzero(inside).tolist() == [2, 3, 4]


def test_masks_that_are_single_pixels_and_whole_rows():
    valid = np.random.default_rng(1).random((1, 30, 20)) > 0.5
    valid[0, 3] = False
    valid[0, 4] = True
    arc = ArcRoi(10, 15, 2, 30)
    regions = find_regions((2, 30, 20), [(0, 0, 20, 30), (3, 3, 1, 2)], [arc], valid)
    inside = arc_mask((30, 20), arc) & valid[0]
    for roi, mask in enumerate((valid[0], None, inside)):
        if mask is not None:
            one = np.flatnonzero(mask).tolist()
            assert regions.pixels(roi).tolist() == one + [pixel + 600 for pixel in one]
    assert regions.pixels(1).tolist() == [83, 683]


def test_an_arc_over_the_border_of_the_image_is_cut():
    assert find_regions((1, 4, 4), arcs=[ArcRoi(0, 0, 0, 1.5)]).pixels(0).tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("centre", [(-50.0, -50.0), (100.0, 2.0), (2.0, 100.0), (2.0, -100.0)])
def test_an_arc_outside_the_image_has_no_pixels(centre):
    regions = find_regions((1, 4, 4), arcs=[ArcRoi(*centre, 1, 10)])
    assert regions.sizes == [0]
    assert regions.pixels(0).size == 0


@pytest.mark.parametrize("angle", [-1e-20, -1e-300, 360.0, 720.0, 1e-20])
def test_angles_that_rounding_makes_equal_do_not_lose_the_circle(angle):
    whole = arc_mask((9, 9), ArcRoi(4, 4, 0, 4))
    assert (arc_mask((9, 9), ArcRoi(4, 4, 0, 4, angle, angle + 360)) == whole).all()


@given(st.lists(angles, min_size=1, max_size=5), st.floats(-3, 15), st.floats(-3, 15), st.floats(0, 8))
def test_sectors_around_the_circle_share_no_pixel_and_miss_none(borders, x, y, r1):
    borders = sorted({round(border % 360.0, 6) % 360.0 for border in borders})
    ends = [*borders[1:], borders[0] + 360]
    sectors = [arc_mask((12, 13), ArcRoi(x, y, r1, r1 + 4, a1, a2)) for a1, a2 in zip(borders, ends, strict=True)]
    assert (np.sum(sectors, axis=0) == arc_mask((12, 13), ArcRoi(x, y, r1, r1 + 4))).all()


@given(st.floats(-5, 15), st.floats(-5, 15), st.floats(0, 6), st.floats(0.1, 8), angles, st.floats(0.5, 360))
def test_runs_give_the_pixels_of_the_mask(x, y, r1, width, a1, turn):
    arc = ArcRoi(x, y, r1, r1 + width, a1, a1 + turn)
    regions = find_regions((2, 11, 12), arcs=[arc])
    one_channel = np.flatnonzero(arc_mask((11, 12), arc)).tolist()
    assert regions.pixels(0).tolist() == one_channel + [pixel + 11 * 12 for pixel in one_channel]
    assert regions.sizes == [2 * len(one_channel)]
