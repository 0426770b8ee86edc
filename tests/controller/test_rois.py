"""Regions of interest by name: checked when they are set, kept over sessions, turned into pipeline parameters."""

from __future__ import annotations

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.roi_geometry import ImageView
from lima2_bliss.controller.counters import check_free
from lima2_bliss.controller.roi_drawing import drawn_region, kept_regions, shape_for_display
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
    return RoiCounters("det.roi_counters", store or Memory(), lambda: ImageView(detector_shape=shape), claim, note)


def roi_profiles(store):
    return RoiProfiles(
        "det.roi_profiles", store, lambda: ImageView(detector_shape=(100, 200)), lambda name: None, lambda: None
    )


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


class Images:
    """How images are made: `view` is changed by the test."""

    def __init__(self, **settings):
        self.view = ImageView(detector_shape=(100, 200), **settings)

    def set(self, **settings):
        self.view = ImageView(**{"detector_shape": (100, 200), **settings})


def following(images, store=None):
    return RoiCounters("det.roi_counters", store or Memory(), lambda: images.view, lambda name: None, lambda: None)


def test_rois_follow_the_image_and_come_back_as_they_were_given():
    images = Images()
    rois = following(images)
    rois["box"] = (11, 20, 5, 8)
    rois["ring"] = (50, 60, 5, 10, 0, 90)
    for settings in ({"binning": (2, 2)}, {"binning": (4, 4), "flip": "both"}, {"rotation": "90cw"}):
        images.set(**settings)
        rois.items()
    assert rois["box"] == RectRoi(100 - 28, 11, 8, 5)
    assert rois["ring"] == ArcRoi(39, 50, 5, 10, 90, 180)
    images.set(flip="left_right")
    assert rois["ring"] == ArcRoi(149, 60, 5, 10, 90, 180, mirrored=True)
    images.set()
    assert rois.items() == [("box", RectRoi(11, 20, 5, 8)), ("ring", ArcRoi(50, 60, 5, 10, 0, 90))]


def test_a_roi_given_on_a_binned_image_is_known_on_all_others_in_the_next_session():
    store = Memory()
    following(Images(binning=(2, 2), flip="left_right"), store).set("box", (0, 0, 10, 20))
    images = Images()
    assert following(images, store)["box"] == RectRoi(180, 0, 20, 40)
    assert following(images, store).to_dict()["box"]["image"] == {
        "binning": [2, 2],
        "flip": "left_right",
        "detector_shape": [100, 200],
    }


def test_rois_stored_by_an_older_version_were_given_on_the_images_of_now():
    store = Memory()
    store.set('{"box": {"kind": "rect", "numbers": [1, 2, 3, 4]}}')
    images = Images(binning=(2, 2))
    assert following(images, store)["box"] == RectRoi(1, 2, 3, 4)
    images.set()
    assert following(images, store)["box"] == RectRoi(2, 4, 6, 8)


def test_what_is_not_on_the_image_is_left_out_told_once_and_comes_back(caplog):
    images = Images()
    rois = following(images)
    rois["low"] = (0, 90, 10, 10)
    rois["ring"] = (50, 60, 5, 10, 0, 90)
    assert [rois.follow(), rois.follow()] == [True, False]
    images.set(roi=(0, 0, 200, 95))
    assert [rois.follow(), rois.follow()] == [True, False]
    assert len(caplog.messages) == 1
    assert "'low'" in caplog.text
    assert "not wholly on the image of 200 x 95 pixels" in caplog.text
    assert list(rois.active()) == ["ring"]
    assert "(left out: not wholly on the image" in rois.__info__()
    assert rois["low"] == RectRoi(0, 90, 10, 10)
    images.set(roi=(100, 0, 100, 100))
    assert set(rois.left_out()) == {"low", "ring"}
    images.set()
    assert [rois.follow(), rois.left_out()] == [True, {}]


def test_a_ring_is_left_out_where_binning_would_make_it_an_ellipse():
    images = Images()
    rois = following(images)
    rois["ring"] = (50, 60, 5, 10, 0, 90)
    images.set(binning=(2, 1))
    assert "no ring with binning (2, 1)" in rois.left_out()["ring"]
    images.set(binning=(2, 2))
    assert rois["ring"] == ArcRoi(24.75, 29.75, 2.5, 5, 0, 90)


def test_without_the_size_of_the_detector_a_roi_may_be_nowhere():
    images = Images()
    images.view = ImageView()
    rois = following(images)
    rois["box"] = (1, 2, 3, 4)
    images.view = ImageView(binning=(2, 2))
    assert rois.left_out() == {}
    images.view = ImageView(flip="both")
    assert "size of the detector" in rois.left_out()["box"]


def test_profiles_turn_with_the_image():
    images = Images()
    profiles = RoiProfiles("det.roi_profiles", Memory(), lambda: images.view, lambda name: None, lambda: None)
    profiles["rows"] = (0, 0, 20, 10)
    images.set(rotation="90ccw")
    assert profiles["rows"] == ProfileRoi(0, 180, 10, 20, "horizontal")
    assert profiles["rows"].length == 10


def test_drawn_shapes_are_regions_and_unmoved_ones_are_recognised():
    rois = [("box", RectRoi(1, 2, 3, 4)), ("ring", ArcRoi(5, 6, 1, 2, 10, 50)), ("p", ProfileRoi(0, 0, 5, 5))]
    shapes = [shape_for_display(name, roi) for name, roi in rois]
    assert [drawn_region(shape, (100, 200)) for shape in shapes] == [roi for _, roi in rois]
    shapes[0]._name = "renamed"
    shapes.append(shape_for_display("copy", rois[1][1]))
    shapes.append(shape_for_display("new", RectRoi(1, 2, 3, 5)))
    assert kept_regions(shapes, rois) == {0: 0, 1: 1, 2: 2}
    beyond = shape_for_display("beyond", RectRoi(-5, 90, 10, 20))
    assert drawn_region(beyond, (100, 200)) == RectRoi(0, 90, 5, 10)
    with pytest.raises(ParameterError, match="'off'"):
        drawn_region(shape_for_display("off", RectRoi(300, 0, 5, 5)), (100, 200))


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
    profiles = roi_profiles(store)
    profiles.set("v", (0, 0, 20, 10))
    profiles.set("h", (0, 0, 20, 10), "horizontal")
    again = roi_profiles(store)
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
