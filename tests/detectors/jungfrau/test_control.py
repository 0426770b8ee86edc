"""The control of a Jungfrau: what it asks of the detector, and what it tells the receivers."""

from __future__ import annotations

from typing import Any

import pytest
from control_rig import ControlRig, new_uuid, parameters

from lima2_bliss.contract import AcquisitionError, ParameterError, StateError


def test_receivers_hear_the_first_number_then_the_frames_then_the_end() -> None:
    with ControlRig(receivers=2) as rig:
        uuid = new_uuid()
        rig.control.prepare(uuid, parameters(nb_frames=40))
        words = [rig.words(uuid, rank) for rank in (0, 1)]
        for heard in words:
            begin = heard.wait("begin")[0]
            assert (begin.first_number, begin.total) == (100, 40)
            assert heard.wait("exposed", 2)[-1].count == 0  # it says that it is alive before the start too
        assert rig.control.status() == {"state": "armed", "backend": "fake", "temperature": 20.0}
        rig.control.start()
        rig.detector.frames_exposed = 17
        assert rig.control.status()["state"] == "exposing"
        seen = len(words[0].of("exposed"))
        assert words[0].wait("exposed", seen + 2)[-1].count == 17
        rig.detector.frames_exposed, rig.detector.finished = 40, True
        rig.detector.changed()
        assert [heard.wait("end")[0].total for heard in words] == [40, 40]
        assert rig.control.finished
        assert rig.control.nb_frames_acquired == 40
        assert rig.control.status()["state"] == "idle"
        exposed = len(words[0].of("exposed"))
        rig.detector.changed()
        assert len(words[0].of("exposed")) == exposed
        assert len(words[0].of("end")) == 1


def test_the_end_is_said_at_once_and_not_with_the_next_report() -> None:
    with ControlRig(period_s=60.0) as rig:
        uuid = new_uuid()
        rig.control.prepare(uuid, parameters(nb_frames=3))
        rig.control.start()
        rig.detector.frames_exposed, rig.detector.finished = 3, True
        rig.detector.changed()
        assert rig.words(uuid).wait("end")[0].total == 3


def test_frames_go_to_the_receivers_in_blocks() -> None:
    with ControlRig(receivers=2) as rig:
        given = parameters({"interfaces": 2})
        given.xfer.block = 2
        rig.control.prepare(new_uuid(), given)
        table = rig.detector.calls[0][1]
        assert [entry[0][0] for entry in table] == ["10.9.0.0", "10.9.0.0", "10.9.0.1", "10.9.0.1"]
        assert [port for _, port in table[0]] == [20032, 20033]
        given.xfer.block = 17
        with pytest.raises(ParameterError, match=r"34 destinations.*accumulation\.nb_frames to 16"):
            rig.control.prepare(new_uuid(), given)


def test_a_stop_tells_how_many_frames_there_are() -> None:
    with ControlRig() as rig:
        uuid = new_uuid()
        rig.control.prepare(uuid, parameters(nb_frames=0))
        rig.control.start()
        rig.detector.frames_exposed = 1234
        rig.control.stop()
        rig.control.stop()
        assert [end.total for end in rig.words(uuid).wait("end")] == [1234]
        assert rig.control.cut == 1234
        with pytest.raises(StateError, match="new uuid"):
            rig.control.prepare(uuid, parameters())


def test_a_new_acquisition_ends_the_one_before() -> None:
    with ControlRig() as rig:
        first, second = new_uuid(), new_uuid()
        rig.control.prepare(first, parameters())
        rig.control.prepare(second, parameters())
        assert rig.words(first).wait("end")[0].total == 0
        rig.control.start()
        rig.control.reset()
        assert rig.words(second).wait("end")[0].total == 0
        with pytest.raises(StateError, match="without prepare"):
            rig.control.start()


def test_a_detector_that_fails_is_a_fault_and_ends_the_acquisition() -> None:
    with ControlRig() as rig:
        uuid = new_uuid()
        rig.control.prepare(uuid, parameters(nb_frames=100))
        rig.control.start()
        rig.detector.frames_exposed = 12
        rig.detector.fail()
        error = rig.wait_failure()
        assert isinstance(error, AcquisitionError)
        assert "status ERROR" in str(error)
        assert rig.words(uuid).wait("end")[0].total == 12
        assert rig.control.finished
        assert len(rig.failures) == 1


def test_a_receiver_that_does_not_listen_is_reported_once() -> None:
    with ControlRig(period_s=0.001) as rig:
        gone = rig.endpoints[0] | {"link": "tcp://127.0.0.1:1"}
        rig.endpoints[:] = [gone]
        rig.control._transmitter._max_waiting = 3
        rig.control.prepare(new_uuid(), parameters(nb_frames=100))
        error = rig.wait_failure()
        assert "receiver 0 (tcp://127.0.0.1:1)" in str(error)
        assert len(rig.failures) == 1


@pytest.mark.parametrize(
    ("acq", "det", "match"),
    [
        ({"expo_time": 100, "nb_frames": 2}, {}, "set acq.latency_time to 325 or more"),
        ({"trigger_mode": "software", "nb_frames": 2}, {"wire": "external"}, "take 'internal'"),
    ],
)
def test_timing_that_cannot_be_is_refused(acq: dict[str, Any], det: dict[str, Any], match: str) -> None:
    with ControlRig() as rig:
        with pytest.raises(ParameterError, match=match):
            rig.control.prepare(new_uuid(), parameters(det, **acq))
        rig.control.prepare(new_uuid(), parameters(expo_time=100, nb_frames=1))  # a single frame may be short


@pytest.mark.parametrize(
    ("endpoints", "match"),
    [
        ([], "no receivers"),
        ([{"head": "tcp://h:1"}], "receiver 0 is not one of a Jungfrau"),
        ([{"link": "tcp://h:1", "udp": "h:65536"}], "not HOST:PORT"),
        ([{"link": "tcp://h:1", "udp": "20032"}], "not HOST:PORT"),
    ],
)
def test_receivers_that_cannot_be_used_are_named(endpoints: list[dict[str, str]], match: str) -> None:
    with ControlRig() as rig:
        rig.endpoints[:] = endpoints
        with pytest.raises(ParameterError, match=match):
            rig.control.prepare(new_uuid(), parameters())


def test_the_image_size_is_that_of_the_properties_until_there_are_parameters() -> None:
    with ControlRig(properties={"module_rows": "4", "module_columns": "2"}) as rig:
        info = rig.control.info()
        assert info["dimensions"] == {"x": 2068, "y": 2164}
        assert (info["model"], info["plugin"]) == ("Fake", "Jungfrau")
        rig.control.prepare(new_uuid(), parameters())
        assert rig.control.info()["dimensions"] == {"x": 1030, "y": 514}
    with pytest.raises(ParameterError, match="module_rows = 'four'"):
        ControlRig(properties={"module_rows": "four"})


# --- packets of another program ---------------------------------------------------------------------------------------


def test_an_external_wire_needs_no_detector_and_ends_when_told() -> None:
    with ControlRig(receivers=2) as rig:
        uuid = new_uuid()
        rig.control.prepare(uuid, parameters({"wire": "external"}, nb_frames=0))
        begin = rig.words(uuid).wait("begin")[0]
        assert (begin.first_number, begin.total) == (None, 0)
        assert rig.control.commands()["udp_addresses"](None) == ["10.9.0.0:20032+", "10.9.0.1:20032+"]
        end = rig.control.commands()["external_end"]
        with pytest.raises(StateError, match="external"):
            end({"total": 5})
        rig.control.start()
        assert not rig.control.finished
        with pytest.raises(StateError, match="'external'"):
            rig.control.trigger()
        assert end({"total": 5}) == {"total": 5}
        assert [rig.words(uuid, rank).wait("end")[0].total for rank in (0, 1)] == [5, 5]
        assert rig.control.finished
        assert rig.control.nb_frames_acquired == 5
        assert rig.detector.calls == []
