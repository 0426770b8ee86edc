"""A detector below masters of BLISS, and alone: each trigger mode, several images per trigger, several lines."""

from __future__ import annotations

import itertools

import pytest
from scan_tools import NUMBERED

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.frame_waits import frame_ids
from lima2_bliss.controller.scan_request import scan_request

PULSES = """
class Pulses(AcquisitionMaster):
    "Hardware that gives pulses to the detector's input: some in each iteration."
    def __init__(self, iterations, **pulses):
        super().__init__(name="pulses", npoints=iterations, prepare_once=True)
        self.pulses, self.begun = pulses, []
    def __iter__(self):
        for _ in range(self.npoints):
            yield self
    def prepare(self):
        pass
    def start(self):
        self.trigger()
    def trigger(self):
        self.trigger_slaves()
        self.begun.append(time.time())
        det.command("pulse", self.pulses)
    def stop(self):
        pass

def in_lines(scan, master, images):
    "Each iteration began when the images of the one before were there."
    return bool((np.array(master.begun[1:]) > times(scan).reshape(-1, images).max(axis=1)[:-1]).all())
"""


@pytest.mark.stack
def test_images_come_in_order_under_every_master(bliss_values):
    said = bliss_values(
        NUMBERED
        + PULSES
        + """
software = {"acq_trigger_mode": "software"}
internal = {"acq_trigger_mode": "internal"}

def positions(npoints, time):
    return SoftwarePositionTriggerMaster(robx, 0, 2, npoints=npoints, time=time)

def lines():
    return MotorMaster(robx, [0, 2], 4, time=0.1)

by_place = under(positions(6, 0.6), acq_nb_frames=12, acq_frames_per_point=2, **software)
mesh = under(MeshStepTriggerMaster(robx, 0, 1, 3, roby, 0, 1, 2), acq_nb_frames=12, acq_frames_per_point=2, **software)
say(by_place=numbers(by_place), places=axis(by_place, "robx").tolist(), mesh=numbers(mesh),
    mesh_places=[axis(mesh, motor).tolist() for motor in ("robx", "roby")])
say(line=numbers(under(MotorMaster(robx, 0, 2, time=0.1), acq_nb_frames=20, **internal)),
    lines=numbers(under(lines(), acq_nb_frames=20, acq_frames_per_point=10, **software)),
    lima1=numbers(under(lines(), acq_nb_frames=10, prepare_once=False, wait_frame_id=[9, 9],
                        acq_trigger_mode="INTERNAL_TRIGGER")),
    through=numbers(under(lines(), acq_nb_frames=20, wait_frame_id=iter([12, 19]), **internal)))
say(alone=numbers(under(None, acq_nb_frames=6, acq_frames_per_point=2, **software)),
    alone_ids=numbers(under(None, acq_nb_frames=6, wait_frame_id=[2, 5], **internal)))
say(fast=failure(lambda: under(positions(400, 0.1), acq_nb_frames=400, **software)),
    again=failure(lambda: under(lines(), acq_nb_frames=20, **internal)),
    few=failure(lambda: under(lines(), acq_nb_frames=20, wait_frame_id=[12], **internal)),
    never=failure(lambda: under(lines(), acq_nb_frames=20, acq_frames_per_point=10, wait_frame_id=[12, 19],
                                **software)))
by_hardware = {}
for mode, per_trigger in (("external", 1), ("external", 3), ("gate", 1)):
    images = 4 * per_trigger
    master = Pulses(3, n=4, period_s=0.02, width_s=0.005)
    waits = [images - 1, 2 * images - 1, 3 * images - 1]
    scan = under(master, acq_nb_frames=3 * images, acq_frames_per_point=per_trigger, acq_trigger_mode=mode,
                 wait_frame_id=waits, save=True)
    in_order = numbers(scan) == saved_numbers(scan) == list(range(3 * images))
    by_hardware[f"{mode}, {per_trigger} each"] = in_order and in_lines(scan, master, images)

master = Pulses(4, n=1)
scan = under(master, acq_nb_frames=8, acq_frames_per_point=2, acq_trigger_mode="external", acq_wait_each_point=True)
by_hardware["each point"] = numbers(scan) == list(range(8)) and in_lines(scan, master, 2)
master = Pulses(2, n=1)
scan = under(master, acq_nb_frames=10, prepare_once=False, wait_frame_id=[9, 9], acq_trigger_mode="EXTERNAL_TRIGGER")
by_hardware["all at once"] = numbers(scan) == list(range(20)) and in_lines(scan, master, 10)
say(by_hardware=by_hardware)
say(after=numbers(loopscan(2, 0.005, det, save=False)))
"""
    )
    assert said["by_place"] == said["mesh"] == list(range(12))
    assert said["places"] == pytest.approx([i / 3 for i in range(6)])
    assert said["mesh_places"] == [[0, 0.5, 1] * 2, [0, 0, 0, 1, 1, 1]]
    assert said["line"] == said["lines"] == said["lima1"] == said["through"] == list(range(20))
    assert said["alone"] == said["alone_ids"] == list(range(6))
    for fault, words in {
        "fast": "before the images of trigger 1 are there; lower the speed",
        "again": "the first trigger starts all images of the scan",
        "few": "iteration 2, but wait_frame_id has only 1",
        "never": "image 12 of wait_frame_id cannot come: after iteration 1 the scan has triggered 10 images",
    }.items():
        assert said[fault][0] == "StateError", said[fault]
        assert words in said[fault][1]
    assert said["by_hardware"] == dict.fromkeys(said["by_hardware"], True)
    assert said["after"] == [0, 1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("12", "is no list"),
        (9, "is no list"),
        ([], "is empty"),
        ([1.5], "whole numbers"),
        ([True], "whole numbers"),
        ([3, 2], "goes down"),
        ([-2], "allowed: -1"),
        ([10], "to 9, the last of 10 images"),
    ],
)
def test_wrong_image_indices_are_refused(given, words):
    with pytest.raises(ParameterError, match=words) as caught:
        frame_ids("det", given, 10)
    assert str(caught.value).startswith("det")


def test_indices_without_end_are_checked_as_they_come():
    ids = frame_ids("det", itertools.count(4, 5), 10)
    assert [next(ids), next(ids)] == [4, 9]
    with pytest.raises(ParameterError, match="14"):
        next(ids)
    assert frame_ids("det", range(0, 100, 10), 0) == tuple(range(0, 100, 10))


def test_a_lima1_scan_that_prepares_anew_is_one_acquisition():
    params = {"acq_expo_time": 1, "acq_nb_frames": 10, "prepare_once": False, "wait_frame_id": [9] * 3}
    request = scan_request("det", {**params, "acq_trigger_mode": "INTERNAL_TRIGGER"})
    assert (request.nb_images, request.trigger, request.images_per_trigger) == (30, "software", 10)
    assert request.wait_frame_ids == (9, 19, 29)
    request = scan_request("det", {**params, "acq_trigger_mode": "EXTERNAL_TRIGGER_MULTI"})
    assert (request.nb_images, request.trigger, request.images_per_trigger) == (30, "external", 1)
    with pytest.raises(ParameterError, match="acq_nb_frames - 1 = 9 for each iteration"):
        scan_request("det", {**params, "wait_frame_id": [4, 9]})
