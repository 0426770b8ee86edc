"""Scans that an external signal triggers; the simulator's commands `pulse` and `set_input` give the signal."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stack

SMALL = """
det = simulator; clean(det)
det.detector.update({"size.x": 64, "size.y": 64, "stamp_frame_number": True})
det.roi_counters.set("number", (0, 0, 1, 1))

def numbers(scan):
    return [int(number) for number in scan.streams["simulator:number_sum"][:]]

def while_it_exposes(act):
    ready = exposing(det)
    def wait_and_act():
        wait(ready)
        return act()
    return gevent.spawn(wait_and_act)
"""


def test_each_pulse_gives_its_images(bliss_values):
    said = bliss_values(
        SMALL
        + """
pulses = while_it_exposes(lambda: det.command("pulse", {"n": 10, "period_s": 0.02}))
say(one=numbers(det.take(10, 0.005, trigger="external")), pulses=pulses.get())
pulses = while_it_exposes(lambda: det.command("pulse", {"n": 2, "period_s": 0.1}))
scan = det.take(10, 0.005, trigger="external", images_per_trigger=5)
say(five=numbers(scan), title=scan.scan_info["title"])
pulses.get()

def gates():
    other = tango.DeviceProxy(det.control_name)
    for level in (1, 0) * 3:
        other.command_inout("detectorCommand", ["set_input", json.dumps({"level": level})])
        gevent.sleep(0.03)
pulses = while_it_exposes(gates)
say(gated=numbers(det.take(3, 0.005, trigger="gate")))
pulses.get()
pulses = while_it_exposes(lambda: det.command("pulse", {"n": 4, "period_s": 0.02}))
say(missing=interrupted(lambda: det.take(10, 0.005, trigger="external"), received(det, 4)),
    missing_file=measurement(session.scans[-1]))
say(commands=det.commands, unknown=failure(lambda: det.command("puls")), early=failure(lambda: det.command("pulse")),
    soft=failure(lambda: det.take(2, 0.01, trigger="software")),
    internal=failure(lambda: det.take(4, 0.01, images_per_trigger=2)))
say(after=numbers(loopscan(2, 0.01, det)))
clean(det)
"""
    )
    assert said["one"] == list(range(10))
    assert said["pulses"] == {"frames": 10, "ignored": 0}
    assert said["five"] == list(range(10))
    assert said["title"] == "simulator.take(10, 0.005, trigger='external', images_per_trigger=5)"
    assert said["gated"] == [0, 1, 2]
    kind, late_s, streams, reason = said["missing"]
    assert (kind, reason) == ("ScanAbort", "USER_ABORT")
    assert late_s < 2.0
    assert streams["simulator:image"] == streams["simulator:number_sum"] == said["missing_file"]["simulator"][0] == 4
    assert said["commands"] == ["poni", "pulse", "set_input"]
    for fault, kind, words in (
        ("unknown", "ParameterError", "it has: poni, pulse, set_input"),
        ("early", "StateError", "no acquisition runs"),
        ("soft", "ParameterError", "allowed: internal, external, gate"),
        ("internal", "ParameterError", "needs trigger='external'"),
    ):
        assert said[fault][0] == kind, said[fault]
        assert words in said[fault][1]
    assert said["after"] == [0, 1]


def test_a_step_scan_waits_at_each_point_for_its_external_trigger(bliss_values):
    said = bliss_values(
        SMALL
        + """
det.acquisition.step_trigger = "external"

def pulse_at_points(points):
    ready = exposing(det)
    def pulse():
        wait(ready)
        for point in range(points):
            wait(lambda: getattr(det.last_outcome.status, "received", 0) >= 2 * point)
            where.append(robx.position)
            det.command("pulse")
    return gevent.spawn(pulse)

where = []
det.acquisition.frames_per_point = 2
pulses = pulse_at_points(4)
scan = ascan(robx, 0, 3, 3, 0.01, det, diode)
pulses.get()
say(numbers=numbers(scan), points=streams(scan)["axis:robx"], where=where)

where = []
pulses = pulse_at_points(2)
say(missing=interrupted(lambda: ascan(robx, 0, 3, 3, 0.01, det, diode), received(det, 4)))
say(file=measurement(session.scans[-1]))
clean(det)
"""
    )
    assert said["numbers"] == list(range(8))
    assert said["points"] == 4
    assert len(said["where"]) == 4
    kind, late_s, streams, reason = said["missing"]
    assert (kind, reason) == ("ScanAbort", "USER_ABORT")
    assert late_s < 2.0
    assert said["file"]["simulator"][0] == 4
    assert streams["axis:robx"] <= 3, "the scan has not gone on without the third trigger"
