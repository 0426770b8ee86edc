"""Continuous scans with motors: every image has a position, and it is the right one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_tools import NUMBERED

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.line import Line, check_line
from lima2_bliss.controller.motor_track import MotorTrack

TRUTH = """
paths = []
start_one = robx.controller.start_one
def record(motion, t0=None):
    start_one(motion, t0)
    if motion.axis is robx:
        paths.append(robx.controller._axis_moves[robx]["motion"].trajectory)
robx.controller.start_one = record

def error_s(scan, line, period, expo, speed):
    "How late the positions of the images are at most, from the movements that the simulated motor really made [s]."
    worst = 0.0
    for received, given in zip(times(scan).reshape(-1, line), axis(scan, "robx").reshape(-1, line)):
        # a busy receiver is late with one image or another, never early
        middles = (received - np.arange(line) * period).min() + np.arange(line) * period - expo / 2
        path = [path for path in paths if path.ti < middles[0]][-1]
        if middles[-1] > path.tf - 0.08:
            continue  # the machine was so busy that the motor had begun to slow down
        true = np.array([path.position(min(time, path.tf)) for time in middles]) / robx.steps_per_unit
        worst = max(worst, float(np.abs(given - true).max()) / speed)
    return worst

def steady(take, *how):
    "The scan of `take()` and its error; again when the machine was too busy to start the detector in time."
    for _ in range(5):
        scan = take()
        late_s = error_s(scan, *how)
        if late_s < 0.04:
            break
    return scan, late_s

def known_within(scan):
    return [each["metadata"]["position_known_within"] for each in scan.scan_info["devices"].values()
            if "position_known_within" in each.get("metadata", {})][0]
"""


@pytest.mark.stack
def test_every_image_has_the_position_where_it_was_taken(bliss_values):
    said = bliss_values(
        NUMBERED
        + TRUTH
        + """
speed = robx.velocity
scan, late_s = steady(lambda: det.sweep(robx, 0, 1, 40, 0.005, *status), 40, 0.00501, 0.005, 1 / 0.2004)
say(sweep=[numbers(scan), saved_numbers(scan)], places=axis(scan, "robx").tolist(), title=scan.scan_info["title"],
    late=late_s, within=known_within(scan) * 0.2004, file=measurement(scan))
scan, late_s = steady(lambda: det.sweep(robx, 1, 0, 20, 0.005, *status, speed=5, save=False), 20, 0.01, 0.005, 5)
say(backwards=numbers(scan), back_places=axis(scan, "robx").tolist(), back_late=late_s)
scan = det.sweep(robx, 0, 1, 10, 0.005, *status, trigger="position", save=False)
say(each=numbers(scan), each_places=axis(scan, "robx").tolist())
scan, late_s = steady(lambda: det.raster(robx, 0, 1, 10, roby, 0, 2, 2, 0.005, *status, backnforth=True),
                      10, 0.00501, 0.005, 1 / 0.0501)
say(raster=[numbers(scan), saved_numbers(scan)], fast=axis(scan, "robx").tolist(), slow=axis(scan, "roby").tolist(),
    raster_late=late_s, raster_title=scan.scan_info["title"])
det.processing.max_exposure = 0.002
det.acquisition.latency_time = 0.001
scan, late_s = steady(lambda: det.sweep(robx, 0, 1, 5, 0.006, *status, save=False), 5, 0.009, 0.008, 1 / 0.045)
say(summed=numbers(scan), summed_late=late_s)
det.processing.reset(); det.acquisition.reset()
say(restored=robx.velocity == speed)

stopped = interrupted(lambda: det.raster(robx, 0, 1, 40, roby, 0, 2, 20, 0.005, *status), received(det, 50))
scan = session.scans[-1]
say(stopped=stopped, stopped_file=measurement(scan), stopped_numbers=[numbers(scan), saved_numbers(scan)],
    at_rest=[motor.state.READY for motor in (robx, roby)], restored_then=robx.velocity == speed,
    after=numbers(det.sweep(robx, 0, 1, 4, 0.005, *status, save=False)))

robx.velocity = 1
say(going=interrupted(lambda: det.sweep(robx, 20, 21, 10, 0.005), lambda: robx.is_moving)[::3],
    rests=robx.state.READY and robx.position < 15)
robx.velocity = speed
begun = received(det, 5)
halt = gevent.spawn(lambda: (wait(begun), robx.stop()))
say(halted=failure(lambda: det.sweep(robx, 0, 1, 60, 0.005)), halted_places=streams(session.scans[-1])["axis:robx"])
halt.get()
det.detector["failed_frame_idx"] = 20
say(failed=failure(lambda: det.sweep(robx, 0, 1, 60, 0.005)), failed_rests=robx.state.READY,
    back=robx.velocity == speed)
det.detector["failed_frame_idx"] = 0

robx.velocity_limits = None, 100
limits, robx.limits = robx.limits, (-1, 2)
wrong = {
    "speed": lambda: det.sweep(robx, 0, 1, 10, 0.005, speed=50),
    "limit": lambda: det.sweep(robx, 0, 1, 2, 0.001),
    "range": lambda: det.sweep(robx, 0, 2, 20, 0.005),
    "slow": lambda: det.raster(robx, 0, 1, 20, robx, 0, 2, 2, 0.005),
    "other": lambda: det.sweep(robx, 0, 0.5, 20, 0.005, det, diode),
    "length": lambda: det.sweep(robx, 1, 1, 20, 0.005),
    "trigger": lambda: det.sweep(robx, 0, 1, 20, 0.005, trigger="external"),
}
say(wrong={name: failure(call)[:2] for name, call in wrong.items()})
robx.velocity_limits, robx.limits = (None, None), limits
clean(det)
"""
    )
    assert said["sweep"] == [list(range(40))] * 2
    # on a busy machine a trigger may come late, even when the motor slows down: then this is where the images are
    assert np.all(np.diff(said["places"]) >= 0)
    assert said["late"] < 0.04 + said["within"], "half a reading of the motor, and the way of a trigger"
    assert said["file"]["robx"] == [40]
    assert said["title"] == "simulator.sweep(robx, 0, 1, 40, 0.005)"
    assert said["backwards"] == list(range(20))
    assert np.all(np.diff(said["back_places"]) <= 0)
    assert said["back_late"] < 0.04
    assert said["each"] == list(range(10))
    assert np.all(np.diff(said["each_places"]) >= 0)
    assert said["raster"] == [list(range(30))] * 2
    assert said["slow"] == [0] * 10 + [1] * 10 + [2] * 10
    assert [np.sign(line[-1] - line[0]) for line in np.reshape(said["fast"], (3, 10))] == [1, -1, 1]
    assert said["raster_late"] < 0.04
    assert said["raster_title"] == "simulator.raster(robx, 0, 1, 10, roby, 0, 2, 2, 0.005)"
    assert said["summed"] == [sum(range(3 * n, 3 * n + 3)) for n in range(5)]
    assert said["summed_late"] < 0.04
    assert said["restored"]
    assert said["restored_then"]
    kind, late_s, streams, reason = said["stopped"]
    assert (kind, reason) == ("ScanAbort", "USER_ABORT")
    assert late_s < 3.0
    images = streams["simulator:image"]
    assert said["stopped_numbers"] == [list(range(images))] * 2
    assert streams["axis:robx"] == streams["axis:roby"] == said["stopped_file"]["robx"][0] == images
    assert said["at_rest"] == [True, True]
    assert said["after"] == [0, 1, 2, 3]
    assert said["going"] == ["ScanAbort", "USER_ABORT"]
    assert said["rests"]
    assert said["halted"][0] == "StateError"
    assert "before the end of the line at 1" in said["halted"][1]
    assert said["halted_places"] == 60
    assert said["failed"][0] == "AcquisitionError"
    assert said["failed_rests"]
    assert said["back"]
    for fault, words in {
        "speed": "lower the speed to 19.9",
        "limit": "need a speed of 495.05 mm/s, robx allows at most 100",
        "range": "speeding up and slowing down included; its limits are -1 to 2",
        "slow": "cannot be both motors",
        "other": "takes images of simulator alone, not counters of",
        "length": "a line needs a length",
        "trigger": "allowed: internal, position",
    }.items():
        assert said["wrong"][fault][0] == "ParameterError", said["wrong"][fault]
        assert words in said["wrong"][fault][1]


@given(
    start=st.floats(-100, 100),
    length=st.floats(0.01, 100),
    back=st.booleans(),
    images=st.integers(1, 1000),
    period=st.floats(1e-4, 10),
    acceleration=st.floats(0.1, 1e4),
)
def test_a_line_is_covered_at_constant_speed(start, length, back, images, period, acceleration):
    stop = start - length if back else start + length
    line = Line(start, stop, images, period, period / 2)
    begin, end = line.ends(acceleration)
    assert line.speed * period * images == pytest.approx(length)
    ramp = line.speed**2 / (2 * acceleration)
    assert (start - begin) * line.direction > ramp
    assert (end - stop) * line.direction > ramp
    middles = line.middles()
    assert np.all((middles - start) * line.direction > 0)
    assert np.all((stop - middles) * line.direction > 0)
    assert (line.reversed().start, line.reversed().direction) == (stop, -line.direction)


def test_all_that_a_motor_cannot_do_is_in_one_error():
    motor = SimpleNamespace(
        name="m", unit="deg", velocity_limits=(0.5, 2.0), limits=(-1.0, 5.0), acceleration=10.0, position=0.0
    )
    check_line("det.sweep", motor, Line(0, 4, 4, 1.0, 0.9))
    with pytest.raises(ParameterError, match=r"speed of 4 deg/s, m allows 0.5 to 2: count longer.*; m would move"):
        check_line("det.sweep", motor, Line(0, 4, 4, 0.25, 0.2))
    with pytest.raises(ParameterError, match="count shorter"):
        check_line("det.sweep", motor, Line(0, 4, 4, 4.0, 0.2))


def test_positions_lie_between_readings_and_slow_readings_tell_nothing():
    track = MotorTrack()
    assert track.known_until() == -np.inf
    for time_s in (0.0, 1.0, 3.0):
        track.add(time_s - 0.001, time_s + 0.001, 10 * time_s)
    track.add(3.5, 4.5, 47.0)
    assert track.known_until() == 3.0
    assert track.at([0.5, 2.0, 2.5]) == pytest.approx([5, 20, 25])
    assert track.at([-1.0]) == pytest.approx([0])
    track.rest(5.0, 50.0)
    assert track.known_until() == 5.0
    assert track.at([4.0, 6.0]) == pytest.approx([40, 50])
    assert track.last == (5.0, 50.0)
