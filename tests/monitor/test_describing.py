"""What a scan's info says of its detector."""

from __future__ import annotations

import json

import pytest

from lima2_bliss.monitor.describing import (
    bad_end,
    described,
    device_metadata,
    final_counts,
    frames_per_point,
    geometry,
    hit_map_axes,
)

METADATA = {
    "beam_center_x": 500.5,
    "beam_center_x@units": "px",
    "beam_center_y": 400.5,
    "distance": 0.1,
    "x_pixel_size": 75e-6,
    "@NX_class": "NXdetector",
    "beam": {"incident_wavelength": 1e-10, "@NX_class": "NXbeam"},
    "acquisition": {
        "images_processed": 10,
        "receivers": {"@NX_class": "NXcollection", "name": ["a", "b"], "received": [5, 5], "lost": [0, 1]},
    },
    "frames_per_point": 3,
}


def info(**changed):
    """Scan info with a detector ``det``; None takes something of its metadata away."""
    metadata = {name: value for name, value in (METADATA | changed).items() if value is not None}
    return {
        "title": "amesh(...)",
        "npoints": 12,
        "start_time": "",
        "devices": {"x": {"name": "diode"}, "y": {"name": "det", "metadata": metadata}},
    }


def test_metadata_of_another_detector_is_none():
    assert device_metadata(info(), "det")["distance"] == 0.1
    assert device_metadata(info(), "none") == {}
    assert device_metadata({}, "det") == {}


def test_people_read_values_with_units_and_no_marks():
    told = described(info(), "det")
    json.dumps(told)
    assert told["scan"] == {"title": "amesh(...)", "npoints": 12}
    assert told["det"]["beam_center_x"] == "500.5 px"
    assert told["det"]["outcome"] == {"images_processed": 10}
    assert "@" not in json.dumps(told)
    assert "receivers" not in json.dumps(told)


def test_geometry_counts_pixels_from_their_centres():
    where = geometry(info(), "det")
    assert (where.beam_x, where.beam_y, where.distance_m, where.pixel_m) == (500, 400, 0.1, 75e-6)
    assert where.wavelength_nm == pytest.approx(0.1)


@pytest.mark.parametrize(
    "changed",
    [
        {"distance": None},
        {"distance": 0},
        {"beam": {}},
        {"beam": None},
        {"x_pixel_size": None},
        {"beam_center_y": None},
    ],
)
def test_without_all_of_it_there_is_no_geometry(changed):
    assert geometry(info(**changed), "det") is None


def test_counts_at_the_end_are_a_row_for_each_receiver():
    counts = final_counts(info(), "det")
    assert counts.columns == ["receiver", "received", "lost"]
    assert counts.rows == [["a", 5, 0], ["b", 5, 1]]
    assert final_counts(info(acquisition=None), "det") is None
    assert final_counts({}, "det") is None


@pytest.mark.parametrize(
    ("channels", "axes"),
    [
        ({"axis:y": {"axis_id": 1}, "axis:x": {"axis_id": 0}}, ["axis:x", "axis:y"]),
        ({"axis:x": {"axis_id": 1}, "axis:y": {"axis_id": 0}}, ["axis:y", "axis:x"]),
        ({}, ["axis:x", "axis:y"]),
    ],
)
def test_axes_of_a_map_the_fast_one_first(channels, axes):
    assert hit_map_axes({"channels": channels}, ["axis:x", "axis:y"]) == axes
    assert hit_map_axes({"channels": channels}, ["axis:x"]) == []
    assert hit_map_axes({"channels": channels}, ["axis:x", "axis:y", "axis:z"]) == []


def test_frames_per_point():
    assert frames_per_point(info(), "det") == 3
    assert frames_per_point(info(frames_per_point=None), "det") == 1
    assert frames_per_point(info(frames_per_point="many"), "det") == 1
    assert frames_per_point(info(frames_per_point=0), "det") == 1


def test_only_bad_ends_are_told():
    assert bad_end({}) == bad_end({"end_reason": "SUCCESS"}) == ()
    assert bad_end({"end_reason": "FAILURE"})[0].level == "bad"
    assert bad_end({"end_reason": "USER_ABORT"})[0].level == "warn"
