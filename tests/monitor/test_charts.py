"""Charts as messages and as CSV."""

import json

import numpy as np
import pytest

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.monitor.charts import chart_csv, chart_message, chart_names
from lima2_bliss.monitor.model import Bars, Curve, DetectorView, HitMap, ScanSummary
from lima2_bliss.monitor.series import Series

SCAN = ScanSummary("key", "demo", 3, "amesh", "amesh(...)", "running", 1.0, None, 12, "/data/data.h5", ("det",))


@pytest.fixture
def view():
    """A view with one chart of each kind."""
    rate = Series()
    rate.add(0, np.array([np.nan, 0.5, 1.0]))
    view = DetectorView(SCAN, "det", series={"hit_rate": rate, "empty": Series(), "beam_sum": rate})
    view.background = Curve(np.array([1.0, 2.0]), np.array([5.0, np.nan]), x_title="q", y_title="counts")
    view.resolution = Bars(np.array([1.0, 2.0]), np.array([3, 4]), "1/d")
    view.hit_map = HitMap("robx", "roby", np.array([0.0, 1.0]), np.array([0.0]), np.array([[2.0, np.nan]]))
    return view


def test_charts_that_have_something_are_listed_in_the_order_of_the_page(view):
    assert chart_names(view) == ["hit_rate", "background", "map", "resolution", "beam_sum"]


def test_messages_are_plain_json(view):
    for name in chart_names(view):
        message = chart_message(view, name)
        json.dumps(message, allow_nan=False)
        assert (message["type"], message["name"]) == ("series", name)
    assert chart_message(view, "hit_rate") | {"x": [1, 2], "y": [0.5, 1]} == chart_message(view, "hit_rate")
    assert chart_message(view, "background")["y"] == [5, None]
    assert chart_message(view, "map")["z"] == [[2, None]]
    assert chart_message(view, "resolution")["counts"] == [3, 4]


def test_charts_as_csv(view):
    assert chart_csv(view, "hit_rate") == "frame,hit_rate,lowest,highest\n1,0.5,0.5,0.5\n2,1,1,1\n"
    assert chart_csv(view, "background") == "q,counts\n1,5\n2,\n"
    assert chart_csv(view, "map") == "robx,roby,hits\n0,0,2\n1,0,\n"
    assert chart_csv(view, "resolution") == "1/d,count\n1,3\n2,4\n"


def test_a_chart_that_is_not_there_is_refused_with_those_that_are(view):
    with pytest.raises(NotAvailableError, match="no chart 'x'; there are: hit_rate"):
        chart_message(view, "x")
