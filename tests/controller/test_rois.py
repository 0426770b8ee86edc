"""Regions of interest by name: checked when they are set, kept over sessions, turned into pipeline parameters."""

from __future__ import annotations

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.counters import check_free
from lima2_bliss.controller.rois import ArcRoi, ProfileRoi, RectRoi, RoiCounters, RoiProfiles


class Memory:
    """A store that lives as long as the test."""

    def __init__(self) -> None:
        self.text = None

    def get(self):
        return self.text

    def set(self, text):
        self.text = text

    def clear(self):
        self.text = None


def roi_counters(store=None, shape=(100, 200), changes=None):
    def claim(name):
        check_free(name, [], [], is_profile=False)

    note = (lambda: None) if changes is None else (lambda: changes.append(1))
    return RoiCounters("det.roi_counters", store or Memory(), lambda: shape, claim, note)


def test_rois_are_there_again_in_the_next_session_in_the_same_order():
    store = Memory()
    rois = roi_counters(store)
    rois.set("roi1", (10, 20, 30, 40))
    rois.set_arc("ring", (50, 60, 5, 10, 0, 90))
    again = roi_counters(store)
    assert again.items() == [("roi1", RectRoi(10, 20, 30, 40)), ("ring", ArcRoi(50, 60, 5, 10, 0, 90))]


def test_four_numbers_are_a_rectangle_and_six_an_arc():
    rois = roi_counters()
    rois["a"] = (0, 0, 5, 5)
    rois["b"] = (10, 10, 2, 4, 0, 360)
    assert [roi.kind for _, roi in rois.items()] == ["rect", "arc"]


@pytest.mark.parametrize("rect", [(190, 0, 11, 5), (0, 95, 5, 6), (200, 0, 1, 1)])
def test_a_rectangle_outside_the_image_is_refused_with_both_sizes(rect):
    rois = roi_counters()
    with pytest.raises(ParameterError, match="outside the image of 200 x 100 pixels"):
        rois.set("roi1", rect)
    assert len(rois) == 0


def test_a_rectangle_that_fills_the_image_is_inside():
    rois = roi_counters()
    rois.set("all", (0, 0, 200, 100))
    assert "all" in rois


def test_a_ring_may_reach_over_the_edge_but_not_be_off_the_image():
    rois = roi_counters()
    rois.set_arc("edge", (0, 0, 5, 500, 0, 360))
    with pytest.raises(ParameterError, match="outside the image"):
        rois.set_arc("off", (300, 0, 5, 50, 0, 360))


def test_without_a_known_image_size_rois_are_checked_later():
    rois = roi_counters(shape=None)
    rois.set("far", (100_000, 0, 5, 5))
    with pytest.raises(ParameterError, match="'far'"):
        rois["far"].check_inside("far", (100, 200))


@pytest.mark.parametrize(
    ("name", "rect"),
    [
        ("1roi", (0, 0, 1, 1)),
        ("a b", (0, 0, 1, 1)),
        ("r", (0, 0, 0, 1)),
        ("r", (-1, 0, 1, 1)),
        ("r", (0, 0, 1)),
        ("r", (0.5, 0, 1, 1)),
    ],
)
def test_wrong_names_and_numbers_are_refused(name, rect):
    with pytest.raises(ParameterError):
        roi_counters().set(name, rect)


@pytest.mark.parametrize("arc", [(0, 0, 5, 5, 0, 90), (0, 0, 5, 4, 0, 90), (0, 0, 1, 4, 90, 0), (0, 0, 1, 4)])
def test_wrong_arcs_are_refused(arc):
    with pytest.raises(ParameterError, match="'ring'"):
        roi_counters().set_arc("ring", arc)


def test_every_change_is_told_and_removal_needs_a_known_name():
    changes: list[int] = []
    rois = roi_counters(changes=changes)
    rois.set("roi1", (0, 0, 5, 5))
    rois.remove("roi1")
    assert len(changes) == 2
    with pytest.raises(ParameterError, match="no 'roi1'; defined: none"):
        rois.remove("roi1")


def test_profiles_have_a_direction_that_gives_their_length():
    store = Memory()
    profiles = RoiProfiles("det.roi_profiles", store, lambda: (100, 200), lambda name: None, lambda: None)
    profiles.set("v", (0, 0, 20, 10))
    profiles.set("h", (0, 0, 20, 10), "horizontal")
    again = RoiProfiles("det.roi_profiles", store, lambda: (100, 200), lambda name: None, lambda: None)
    assert [(name, roi.length) for name, roi in again.items()] == [("v", 10), ("h", 20)]
    assert isinstance(again["h"], ProfileRoi)
    with pytest.raises(ParameterError, match="'diagonal' is unknown"):
        profiles.set("d", (0, 0, 20, 10), "diagonal")


@pytest.mark.parametrize("name", ["image", "preview", "frame_flags", "taken"])
def test_a_profile_cannot_take_the_name_of_another_counter(name):
    with pytest.raises(ParameterError, match="choose another name"):
        check_free(name, rois=[], profiles=["taken"], is_profile=True)


def test_a_roi_and_a_profile_cannot_give_the_same_counter():
    with pytest.raises(ParameterError, match="'a_sum'"):
        check_free("a_sum", rois=["a"], profiles=[], is_profile=True)
    with pytest.raises(ParameterError, match="'a_sum'"):
        check_free("a", rois=[], profiles=["a_sum"], is_profile=False)


def test_the_table_that_a_user_sees_has_names_kinds_and_coordinates():
    rois = roi_counters()
    assert rois.__info__() == "det.roi_counters: none"
    rois.set("roi1", (1, 2, 3, 4))
    assert "roi1  rect     x=1 y=2 width=3 height=4" in rois.__info__()
