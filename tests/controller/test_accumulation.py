"""Images summed of several exposures: their number, the times, and what counters and files say of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_tools import NUMBERED

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.accumulation import exposures, with_depth
from lima2_bliss.controller.parameters import DetectorState, acquisition_parameters, processing_parameters
from lima2_bliss.controller.report import processing_words
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)


def state(latency_s: float = 0.001, **processing) -> DetectorState:
    return DetectorState(
        acquisition=AcquisitionSettings(latency_time=latency_s),
        image=ImageSettings(),
        processing=ProcessingSettings(**processing),
        saving=SavingSettings(),
    )


def test_long_images_are_summed_of_exposures_no_longer_than_allowed():
    each = exposures(state(max_exposure=0.004), ScanRequest(5, 0.01, "internal"))
    assert (each.number, each.exposure_us, each.latency_us) == (3, 3333, 1000)
    assert each.real_s == pytest.approx(3 * 0.004333)
    assert exposures(state(max_exposure=0.004), ScanRequest(5, 0.004, "internal")).number == 1
    assert exposures(state(max_exposure=0.1), ScanRequest(5, 0.3, "internal")).number == 3, "not 4 by rounding"


def test_in_real_time_the_dead_times_are_part_of_the_count_time():
    each = exposures(state(max_exposure=0.004, accumulation_time="real"), ScanRequest(5, 0.01, "internal"))
    assert (each.number, each.exposure_us) == (2, 4000)
    assert each.real_s == pytest.approx(0.01)
    each = exposures(state(accumulation=5, accumulation_time="real"), ScanRequest(5, 0.01, "internal"))
    assert (each.number, each.exposure_us) == (5, 1000)
    each = exposures(state(accumulation_time="real"), ScanRequest(5, 0.01, "internal"))
    assert each.exposure_us == 10_000, "an image of one exposure has its count time"


@given(
    count=st.floats(1e-3, 1000),
    longest=st.floats(1e-3, 10),
    latency=st.floats(0, 0.01),
    real=st.booleans(),
)
def test_exposures_add_up(count, longest, latency, real):
    mode = "real" if real else "live"
    settings = state(latency_s=latency, max_exposure=longest, accumulation_time=mode)
    request = ScanRequest(1, count, "internal")
    try:
        each = exposures(settings, request)
    except ParameterError:
        assert real
        assert count / max(1, round(count / (longest + latency))) < latency + 2e-3
        return
    assert each.exposure_us <= longest * 1e6 + 1
    total = each.real_s if real else each.live_s
    assert total == pytest.approx(count, abs=1.1e-6 * each.number)
    again = exposures(with_depth(settings, request), request)
    assert again == each, "settings with the depth of a scan give the same exposures"


def test_receivers_get_depth_and_exposure():
    request = ScanRequest(5, 0.01, "software", images_per_trigger=2)
    settings = with_depth(state(max_exposure=0.004), request)
    acq = acquisition_parameters(settings, request)["acq"]
    assert (acq["nb_frames"], acq["nb_frames_per_trigger"], acq["expo_time"]) == (15, 6, 3333)
    accumulation = processing_parameters(settings, None).accumulation
    assert (accumulation.enabled, accumulation.nb_frames) == (True, 3)
    assert "longer than 4 ms summed" in processing_words(settings.processing)


@pytest.mark.parametrize(
    ("settings", "request_", "words"),
    [
        ({"max_exposure": 0.1}, ScanRequest(1, 1, "gate"), "max_exposure cannot be used with trigger mode 'gate'"),
        ({"accumulation": 3, "accumulation_time": "real"}, ScanRequest(1, 1, "gate"), "accumulation_time = 'real'"),
        ({"accumulation": 10, "accumulation_time": "real"}, ScanRequest(1, 0.01, "internal"), "below 1 us each"),
        ({"max_exposure": 1e-6}, ScanRequest(1, 3, "internal"), "too many"),
        ({"max_exposure": 1e-3}, ScanRequest(3_000_000, 1, "internal"), "too many"),
    ],
)
def test_what_is_impossible_is_refused_with_what_to_change(settings, request_, words):
    with pytest.raises(ParameterError, match=words):
        exposures(state(**settings), request_)


def test_two_ways_to_say_the_number_are_one_too_many():
    with pytest.raises(ValueError, match="set accumulation = 1 or max_exposure = None"):
        ProcessingSettings(accumulation=2, max_exposure=0.1)


@pytest.mark.stack
def test_summed_images_in_a_scan(bliss_values):
    said = bliss_values(
        NUMBERED
        + """
det.acquisition.latency_time = 0.002
det.processing.max_exposure = 0.004

def told(scan):
    with h5py.File(scan.scan_info["filename"]) as file:
        group = file[f"{int(scan.scan_number)}.1/instrument/simulator"]
        names = ("count_time", "sub_exposure_time", "dead_time", "image_period", "processing/accumulation",
                 "acquisition/exposure_time")
        return {name: float(group[name][()]) for name in names}

live = ascan(robx, 0, 1, 3, 0.012, *status, diode)
say(live=numbers(live), live_saved=saved_numbers(live), live_points=at_their_points(live), live_told=told(live))
det.processing.accumulation_time = "real"
real = det.take(10, 0.012, *status)
say(real=numbers(real), real_told=told(real), rate=float(np.diff(times(real)).mean()))
both = failure(lambda: det.processing.update({"accumulation": 2}))
det.processing.pipeline = "smx"
smx = failure(lambda: det.take(2, 0.01))
det.processing.pipeline = "legacy"
gate = failure(lambda: det.take(2, 0.01, trigger="gate"))
say(both=both, smx=smx, gate=gate, info=det.__info__())
clean(det)
"""
    )
    assert said["live"] == said["live_saved"] == [sum(range(3 * n, 3 * n + 3)) for n in range(4)]
    assert said["live_points"]
    times = {"count_time": 0.012, "sub_exposure_time": 0.004, "dead_time": 0.002, "image_period": 0.018}
    assert said["live_told"] == pytest.approx(
        {**times, "processing/accumulation": 3, "acquisition/exposure_time": 0.012}
    )
    assert said["real"] == [2 * n + 2 * n + 1 for n in range(10)]
    assert said["real_told"] == pytest.approx(
        times | {"count_time": 0.008, "image_period": 0.012, "processing/accumulation": 2}
        | {"acquisition/exposure_time": 0.012}
    )  # fmt: skip
    assert said["rate"] == pytest.approx(0.012, rel=0.5)
    for fault, words in {
        "both": "both say how many exposures",
        "smx": "processing.max_exposure = 0.004",
        "gate": "trigger mode 'gate'",
    }.items():
        assert said[fault][0] == "ParameterError", said[fault]
        assert words in said[fault][1]
    assert "dead times counted in" in said["info"]
