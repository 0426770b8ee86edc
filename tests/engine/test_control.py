"""A control's life: the detector is told the right things at the right time."""

from __future__ import annotations

import threading
import time

import pytest

from lima2_bliss.contract import AcqState, AcquisitionError, ParameterError, StateError
from lima2_receivers.engine import ControlEngine


@pytest.fixture
def control(fake_control):
    engine = ControlEngine("fake", fake_control.plugin, fake_control.context)
    yield engine
    engine.shutdown()
    assert fake_control.made[0].calls[-1] == "close"


@pytest.fixture
def detector(control, fake_control):
    return fake_control.made[0]


def test_a_whole_acquisition(control, detector):
    states = []
    control.subscribe_state(states.append)
    control.check_acquisition('{"acq": {"nb_frames": 5, "trigger_mode": "software"}}')
    control.prepare("uuid")
    control.start()
    control.trigger()
    assert not control.finished
    detector.nb_frames_acquired, detector.finished = 5, True
    assert (control.nb_frames_acquired, control.finished, control.state) == (5, True, AcqState.RUNNING)
    control.close()
    assert detector.calls == ["prepare", "start", "trigger"]
    assert states == [AcqState.PREPARED, AcqState.RUNNING, AcqState.IDLE]


def test_stop_then_close(control, detector):
    control.check_acquisition("{}")
    control.prepare("uuid")
    control.start()
    control.stop()
    assert control.state is AcqState.STOPPED
    control.stop()
    control.close()
    assert control.state is AcqState.IDLE
    assert detector.calls == ["prepare", "start", "stop"]


def test_what_the_detector_cannot_do_is_refused_with_all_faults(control):
    with pytest.raises(
        ParameterError, match=r"trigger_mode = 'gate'; allowed: internal, software; acq.expo_time = 20000"
    ):
        control.check_acquisition('{"acq": {"trigger_mode": "gate", "expo_time": 20000000}}')
    with pytest.raises(ParameterError, match="before Prepare"):
        control.prepare("uuid")
    assert control.state is AcqState.IDLE


def test_a_failing_prepare_leaves_idle_and_a_failing_start_is_a_fault(control, detector):
    control.check_acquisition("{}")
    detector.errors = {"prepare": OSError("no answer"), "start": OSError("no answer")}
    with pytest.raises(AcquisitionError, match="control fake: prepare failed: OSError: no answer"):
        control.prepare("uuid")
    assert control.state is AcqState.IDLE
    del detector.errors["prepare"]
    control.prepare("uuid")
    with pytest.raises(AcquisitionError, match="start failed"):
        control.start()
    assert control.state is AcqState.FAULT
    assert "start failed" in str(control.last_error)
    control.reset()
    assert (control.state, control.last_error) == (AcqState.IDLE, None)


def test_an_early_trigger_changes_nothing(control, detector):
    control.check_acquisition("{}")
    with pytest.raises(StateError, match="Trigger is not allowed"):
        control.trigger()
    control.prepare("uuid")
    control.start()
    detector.errors = {"trigger": StateError("still exposing")}
    with pytest.raises(StateError, match="still exposing"):
        control.trigger()
    assert control.state is AcqState.RUNNING


def test_the_detector_may_fail_outside_of_any_command(control, detector):
    detector.context.fail(OSError("high voltage lost"))
    assert control.state is AcqState.FAULT
    assert "control fake: run failed: OSError: high voltage lost" in str(control.last_error)
    control.reset()


def test_own_commands_of_the_detector(control):
    assert control.command_names() == ["bad", "echo"]
    assert control.command("echo", {"a": 1}) == {"a": 1}
    with pytest.raises(ParameterError, match="no command 'nope'; it has: bad, echo"):
        control.command("nope")
    with pytest.raises(AcquisitionError, match="bad failed: ZeroDivisionError"):
        control.command("bad")
    assert control.state is AcqState.IDLE


def test_an_acquisition_that_nobody_watches_is_stopped(control, detector):
    stopped = threading.Event()
    control.subscribe_state(lambda state: state is AcqState.STOPPED and stopped.set())
    control.check_acquisition('{"acq": {"nb_frames": 0, "watched_within": 0.3}}')
    control.prepare("uuid")
    control.start()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        control.looked()
        assert not stopped.wait(0.02)
    assert control.state is AcqState.RUNNING
    assert stopped.wait(10)
    assert detector.calls == ["prepare", "start", "stop"]


def test_an_acquisition_that_has_ended_is_not_watched(control, detector):
    control.check_acquisition('{"acq": {"nb_frames": 0, "watched_within": 0.05}}')
    control.prepare("one")
    control.start()
    control.close()
    control.check_acquisition("{}")
    control.prepare("two")
    control.start()
    for thread in threading.enumerate():
        if thread.name.endswith(":watchdog"):
            thread.join(5)
            assert not thread.is_alive()
    assert control.state is AcqState.RUNNING
