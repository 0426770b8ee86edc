"""Step scans and meshes with motors, simulated counters and two detectors: each image belongs to its point."""

from __future__ import annotations

import pytest
from scan_tools import NUMBERED

pytestmark = pytest.mark.stack


def test_each_image_is_of_its_point(bliss_values):
    said = bliss_values(
        NUMBERED
        + """
scan = amesh(robx, 0, 1, 2, roby, 0, 2, 2, 0.005, *status, diode)
say(mesh=numbers(scan), saved=saved_numbers(scan), places=[axis(scan, m).tolist() for m in ("robx", "roby")],
    mesh_points=at_their_points(scan), file=measurement(scan))

det.acquisition.frames_per_point = 3
scan = amesh(robx, 0, 1, 1, roby, 0, 2, 1, 0.003, *status, diode, backnforth=True)
say(three=numbers(scan), saved_three=saved_numbers(scan), three_points=at_their_points(scan, 3),
    places_three=axis(scan, "robx").tolist(), file_three=measurement(scan))

scan = ascan(robx, 0, 1, 3, 0.003, *status, sim1, sim1.counter_groups.status, diode)
say(two=[numbers(scan), numbers(scan, "sim1")], saved_two=[saved_numbers(scan), saved_numbers(scan, "sim1")],
    two_points=[at_their_points(scan, 3), at_their_points(scan, 1, "sim1")], file_two=measurement(scan))

say(stopped=interrupted(lambda: amesh(robx, 0, 1, 50, roby, 0, 2, 50, 0.003, *status), received(det, 5)),
    stopped_numbers=numbers(session.scans[-1]), at_rest=[robx.state.READY, roby.state.READY])
det.acquisition.reset()

endless = interrupted(lambda: det.take(0, 0.003, *status), received(det, 20))
say(endless=endless, endless_numbers=numbers(session.scans[-1]), endless_saved=saved_numbers(session.scans[-1]))

def lines(waits, go=True):
    det.acquisition.step_trigger = "external"
    DEFAULT_CHAIN.set_settings([{"device": det, "acquisition_settings": {"wait_frame_id": waits}}])
    try:
        return amesh(robx, 0, 1, 1, roby, 0, 1, 1, 0.003, *status, save=False, run=go)
    finally:
        det.acquisition.reset()
        DEFAULT_CHAIN.set_settings([])

def pulse():
    wait(exposing_now)
    for line in (1, 2):  # both triggers of a line at once: the second comes when the motor is there, or long after
        wait(lambda: len(scan.streams.get("timer:epoch", [])) >= 2 * line)
        det.command("pulse", {"n": 2, "period_s": 0.01})

exposing_now = exposing(det)
scan = lines([-1, 1, 1, 3], go=False)
pulses = gevent.spawn(pulse)
scan.run()
pulses.get()
came = scan.streams["timer:epoch"][:]
say(waiting=numbers(scan), first_line=bool(came[1] < times(scan)[0]), second_line=bool(came[2] > times(scan)[1]))
say(down=failure(lambda: lines([1, 0, 2, 3])), beyond=failure(lambda: lines([1, 2, 3, 4])))
"""
    )
    assert said["mesh"] == said["saved"] == list(range(9))
    assert said["places"] == [[0, 0.5, 1] * 3, [0, 0, 0, 1, 1, 1, 2, 2, 2]]
    assert said["mesh_points"]
    assert said["file"]["diode"] == said["file"]["robx"] == [9]
    assert said["three"] == said["saved_three"] == list(range(12))
    assert said["places_three"] == [0, 1, 1, 0]
    assert said["three_points"]
    assert said["file_three"]["diode"] == [4]
    assert said["file_three"]["simulator"][0] == 12
    assert said["two"] == said["saved_two"] == [list(range(12)), list(range(4))]
    assert said["two_points"] == [True, True]
    assert (said["file_two"]["simulator"][0], said["file_two"]["sim1"][0]) == (12, 4)
    kind, _, _, reason = said["stopped"]
    assert (kind, reason) == ("ScanAbort", "USER_ABORT")
    assert said["stopped_numbers"] == list(range(len(said["stopped_numbers"])))
    assert said["at_rest"] == [True, True]
    assert said["endless"][3] == "USER_ABORT"
    assert len(said["endless_numbers"]) >= 20
    assert said["endless_numbers"] == said["endless_saved"] == list(range(len(said["endless_numbers"])))
    assert said["waiting"] == [0, 1, 2, 3]
    assert said["first_line"], "within a line the scan does not wait for images"
    assert said["second_line"], "the second line begins when the images of the first are there"
    assert said["down"][0] == said["beyond"][0] == "ParameterError"
    assert "goes down" in said["down"][1]
    assert "allowed: -1 (wait for nothing) to 3" in said["beyond"][1]
