"""Numbers learned or given, round robin, stopping, closing, and a host that does not give what is asked."""

import os
import socket
import threading
import time

import numpy as np
import pytest
from intake_rig import Rig, datagram, make_config, wait_for, whole

from lima2_bliss.contract import ParameterError, StateError
from lima2_receivers.detectors.jungfrau.intake import (
    Intake,
    IntakeConfig,
    ListenerSettings,
    PortConfig,
    PortTakenError,
    SlotRing,
    module_ports,
)


def test_numbers_go_on_from_wherever_the_detector_is():
    config = make_config(2, 2)
    with Rig(config, frames=3) as rig:
        for number in (1006, 1007, 1008):
            rig.send_frame(number)
        rig.finish()
    assert [frame.number for frame, _ in rig.frames] == [1006, 1007, 1008]
    np.testing.assert_array_equal(rig.frames[0][1], whole(config, 1006))
    rig.assert_balanced()


def test_the_lowest_first_number_of_all_ports_is_the_first():
    config = make_config(1, 2, settle_s=5.0, reorder_frames=0)
    with Rig(config, frames=2) as rig:
        rig.send(datagram(12, config.ports[0], 63), 0)  # all of frame 11 was lost on the first port
        rig.send_frame(11, ports=[1])
        rig.send_frame(12, without=[(0, 63)])
        rig.finish()
    assert [frame.number for frame, _ in rig.frames] == [11, 12]
    assert rig.frames[0][0].packets.tolist() == [0, 64]
    assert rig.frames[1][0].complete


def test_a_given_first_number_shows_what_was_lost_before_the_first_packet():
    config = make_config(first_number=3, reorder_frames=0)
    with Rig(config, frames=3) as rig:
        rig.send_frame(5)
        rig.finish()
    assert [(frame.number, frame.complete) for frame, _ in rig.frames] == [(3, False), (4, False), (5, True)]


@pytest.mark.parametrize("given", [{}, {"first_number": 6}, {"first_number": 6, "phase": 2}])
def test_the_stride_of_the_round_robin_is_no_loss(given):
    config = make_config(stride=4, **given)
    with Rig(config, frames=3) as rig:
        for number in (8, 12, 16):
            rig.send_frame(number)
        rig.finish()
    assert [(frame.local, frame.number) for frame, _ in rig.frames] == [(0, 8), (1, 12), (2, 16)]
    assert rig.counts.lost == 0


def test_a_stride_with_a_learned_phase_counts_lost_frames_from_the_given_first():
    config = make_config(stride=4, first_number=1, reorder_frames=0)
    with Rig(config, frames=3) as rig:
        rig.send(datagram(0, config.ports[0], 5))  # of the acquisition before
        rig.send_frame(11)
        rig.finish()
    assert [(frame.number, frame.complete) for frame, _ in rig.frames] == [(3, False), (7, False), (11, True)]
    assert rig.counts.packets.late == 1


def test_frames_of_other_receivers_are_foreign():
    config = make_config(stride=4, first_number=1, phase=0)
    with Rig(config, frames=1) as rig:
        rig.send(datagram(2, config.ports[0], 0))
        rig.send_frame(1)
        rig.finish()
    assert rig.counts.packets.foreign == 1
    assert "round robin" in rig.counts.strangers[0]


@pytest.mark.parametrize("first", [None, 1])
@pytest.mark.parametrize("frames", [None, 4])
def test_a_silent_detector_is_stopped_at_once_and_seen_as_silent(first, frames):
    with Rig(make_config(2, first_number=first, grace_s=0.1)) as rig:
        assert rig.counts.silence_s == (float("inf"),) * 2
        began = time.monotonic()
        rig.intake.stop(frames)
        rig.finish()
        assert time.monotonic() - began < 1.0
    assert [frame.local for frame, _ in rig.frames] == list(range(frames or 0))
    assert rig.counts.lost == (frames or 0)


def test_a_stop_waits_for_what_is_due_and_throws_away_what_is_later():
    config = make_config(first_number=1, grace_s=5.0)
    with Rig(config) as rig:
        rig.send_frame(1)
        rig.send_frame(2, order=range(64))
        rig.received()
        rig.given(1)
        rig.intake.stop(2)
        rig.send_frame(2, order=range(64, 128))
        rig.finish()
    assert [frame.complete for frame, _ in rig.frames] == [True, True]


def test_a_stop_without_a_cut_gives_out_what_was_seen():
    config = make_config(first_number=1)
    with Rig(config) as rig:
        rig.send_frame(1)
        rig.send_frame(3, order=range(10))
        rig.received()
        rig.intake.stop()
        rig.finish()
    assert [int(frame.packets[0]) for frame, _ in rig.frames] == [128, 0, 10]
    rig.assert_balanced()


def test_ports_are_free_after_close_and_counts_stay():
    intake = Intake(make_config(1, 2))
    ports = intake.ports
    intake.close()
    intake.close()
    assert intake.counts().complete == 0
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
            each.bind(("127.0.0.1", port))
    with pytest.raises(StateError, match="once"):
        intake.run(SlotRing(1, 1, lambda frame, slot: None))


def test_close_from_another_thread_ends_a_run():
    intake = Intake(make_config())
    thread = threading.Thread(target=intake.run, args=(SlotRing(4, 1, lambda frame, slot: None),))
    thread.start()
    intake.close()
    thread.join(2)
    assert not thread.is_alive()


def test_a_taken_port_is_named_with_who_has_it():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"{port} is taken.*ss -ulpn 'sport = :{port}'") as caught:
            Intake(IntakeConfig((PortConfig(port),)))
        assert f"pid {os.getpid()}" in str(caught.value)


def test_an_address_of_another_host_is_refused():
    with pytest.raises(ParameterError, match=r"no interface with address 192\.0\.2\.1"):
        Intake(IntakeConfig((PortConfig(0, address="192.0.2.1"),)))


def test_a_small_socket_buffer_is_a_warning_that_says_what_to_do():
    with Intake(make_config(listeners=ListenerSettings(socket_buffer=1 << 34))) as intake:
        assert "sysctl -w net.core.rmem_max=17179869184" in intake.warnings[0]
        assert intake.socket_buffers[0] < 1 << 34


def test_an_impossible_core_is_refused_with_those_there_are():
    with pytest.raises(ParameterError, match=r"core 4000: this process may use cores \[0"):
        Intake(make_config(listeners=ListenerSettings(cpus=(4000,))))


def test_refused_real_time_priority_says_what_it_needs(monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(ParameterError, match="CAP_SYS_NICE"):
        Intake(make_config(listeners=ListenerSettings(priority=50)))


def test_listeners_run_on_the_core_they_are_given():
    core = min(os.sched_getaffinity(0))
    config = make_config(first_number=1, listeners=ListenerSettings(cpus=(core,), busy_poll_us=10))
    with Rig(config, frames=1) as rig:
        wait_for(lambda: any(each.name.startswith("jungfrau:") for each in threading.enumerate()), "a listener")
        listener = next(each for each in threading.enumerate() if each.name.startswith("jungfrau:"))
        wait_for(lambda: listener.native_id is not None, "its start")
        wait_for(lambda: os.sched_getaffinity(listener.native_id) == {core}, "its pinning")
        rig.send_frame(1)
        rig.finish()


def test_an_error_of_the_target_ends_the_run_and_gives_all_places_back():
    class Failing(SlotRing):
        def deliver(self, buffer, frame):
            buffer.release()
            raise OSError("the ring is gone")

    ring = Failing(20, 1, lambda frame, slot: None)
    with Rig(make_config(first_number=1), ring) as rig:
        rig.send_frame(1)
        rig.finish()
        error, rig.error = rig.error, None
    assert "ring is gone" in str(error)
    assert len(ring.free) == 20
    assert not [each for each in threading.enumerate() if each.name.startswith("jungfrau:")]


def test_faults_of_the_configuration_are_named_all_at_once():
    with pytest.raises(ParameterError) as caught:
        IntakeConfig((PortConfig(70000), PortConfig(5, half=1)), stride=0, window=1, phase=3)
    for text in ("UDP port 70000", "(module, half)", "stride 0", "window 1", "phase"):
        assert text in str(caught.value)


def test_ports_of_a_4M_are_those_that_the_detector_sends_to():
    ports = module_ports(range(4, 8), 50000, interfaces=2, module_rows=4, module_ids=(1, 2, 3, 4))
    assert [(each.port, each.module, each.half) for each in ports][:3] == [(50000, 0, 0), (50001, 0, 1), (50002, 1, 0)]
    assert [(each.row, each.column) for each in ports] == [(row, 1) for row in range(8)]
    assert ports[7].module_id == 4
