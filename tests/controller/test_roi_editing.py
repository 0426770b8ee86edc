"""What becomes of regions that were drawn, with a Flint that answers as told; the real one is in test_flint_rois."""

from __future__ import annotations

from types import SimpleNamespace

import gevent.event
import numpy as np
import pytest
from detector_views import Memory

from lima2_bliss.contract import ConnectionLostError
from lima2_bliss.contract.roi_geometry import ImageView
from lima2_bliss.controller import roi_editing
from lima2_bliss.controller.roi_drawing import shape_for_display
from lima2_bliss.controller.rois import ProfileRoi, RectRoi, RoiCounters, RoiProfiles


class Plot:
    """A live plot in Flint: ``answers`` are what the user makes of the shapes, one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.open = True

    def get_data_range(self):
        return (0.0, 200.0), (0.0, 100.0), None

    def focus(self):
        pass

    def is_open(self):
        return self.open

    def select_shapes(self, shapes, kinds):
        self.asked.append(([shape.name for shape in shapes], kinds))
        if not self.answers:
            gevent.event.Event().wait()
        return self.answers.pop(0)


@pytest.fixture
def detector():
    """A detector of 200 x 100 pixels with the ROIs box and low, of which low is cut off, and the profile p."""
    images = SimpleNamespace(view=ImageView(detector_shape=(100, 200)))
    made = (lambda: images.view, lambda name: None, lambda: None)
    counters, profiles = RoiCounters("rois", Memory(), *made), RoiProfiles("profiles", Memory(), *made)
    counters["box"], counters["low"], profiles["p"] = (1, 2, 3, 4), (0, 95, 5, 5), (5, 5, 5, 5)
    images.view = ImageView(roi=(0, 0, 200, 90), detector_shape=(100, 200))
    return SimpleNamespace(
        name="det",
        roi_counters=counters,
        roi_profiles=profiles,
        image_shape=lambda: (90, 200),
        last_image=np.zeros((90, 200)),
    )


def edit(monkeypatch, detector, plot, *tables):
    flint = SimpleNamespace(get_live_plot=lambda image_detector: plot, set_static_image=lambda name, image: None)
    monkeypatch.setattr(roi_editing, "get_flint", lambda: flint)
    roi_editing._edit(detector, tables, None)


def test_a_drawing_with_faults_goes_on_until_it_is_right(monkeypatch, detector, capsys):
    shapes = [
        [shape_for_display(name, RectRoi(1, 2, 3, 4)), shape_for_display("p", RectRoi(9, 9, 9, 9))]
        for name in ("a b", "renamed")
    ]
    shapes[1][1]._name = "new"
    plot = Plot(*shapes)
    before = detector.roi_counters.definitions()
    edit(monkeypatch, detector, plot, detector.roi_counters)
    assert [names for names, _ in plot.asked] == [["box"], ["a b", "p"]]
    assert plot.asked[0][1] == ["lima-rectangle", "lima-arc"]
    assert "'a b'" in capsys.readouterr().out
    now = detector.roi_counters.definitions()
    assert set(now) == {"low", "renamed", "new"}
    assert (now["renamed"], now["low"]) == (before["box"], before["low"])
    assert detector.roi_profiles["p"] == ProfileRoi(5, 5, 5, 5)


def test_names_of_what_was_not_to_be_seen_are_taken(monkeypatch, detector, capsys):
    plot = Plot([shape_for_display("low", RectRoi(1, 1, 1, 1))], None)
    before = detector.roi_counters.to_dict()
    edit(monkeypatch, detector, plot, detector.roi_counters, detector.roi_profiles)
    assert "choose another name" in capsys.readouterr().out
    assert detector.roi_counters.to_dict() == before
    assert list(detector.roi_profiles) == ["p"]


def test_closing_flint_ends_the_drawing(monkeypatch, detector):
    monkeypatch.setattr(roi_editing, "_LOOK_S", 0.01)
    plot = Plot()
    plot.open = False
    before = detector.roi_counters.to_dict()
    with pytest.raises(ConnectionLostError, match="Flint was closed"):
        edit(monkeypatch, detector, plot, detector.roi_counters)
    assert detector.roi_counters.to_dict() == before
