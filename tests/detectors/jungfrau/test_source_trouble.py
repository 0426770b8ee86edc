"""Who is silent or wrong is named in one clear error, soon, and only then."""

import socket

import pytest
from intake_rig import datagram, wait_for
from source_rig import SourceRig, make_parameters

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, FrameFlags
from lima2_receivers.detectors.jungfrau.intake import PortProgress, module_ports
from lima2_receivers.detectors.jungfrau.silence import Silence, Trouble, describe, never_heard
from lima2_receivers.detectors.jungfrau.wire import Faults


def receiving(**values):
    return {"silence_s": 0.3, "timeout_s": 0.1, **values}


def run_endless(rig, parameters, faults=None):
    """Sources and wire run, and the control goes on talking."""
    rig.prepare(parameters)
    wire = rig.make_wire(parameters, faults)
    rig.begin(1)
    rig.start()
    wire.start(0, 100.0)


def test_a_control_that_never_begins_is_named():
    with SourceRig(control_timeout_s=0.1) as rig:
        rig.prepare(make_parameters(1, 5))
        rig.start()
        rig.join(3)
        assert isinstance(rig.error, DeviceTimeoutError)
        assert "control has not said within 0.1 s" in str(rig.error)


def test_a_control_that_falls_silent_is_named():
    with SourceRig(control_timeout_s=0.3) as rig:
        rig.prepare(make_parameters(1, 5))
        rig.begin(1, 5)
        rig.start()
        wait_for(lambda: rig.sinks[0].counts, "the first note")
        assert not rig.errors
        rig.silence_control()
        rig.join(3)
        assert isinstance(rig.error, DeviceTimeoutError)
        assert "receiver0: the detector's control has been silent" in str(rig.error)


def test_a_detector_that_sends_nothing_is_named_with_its_ports():
    with SourceRig() as rig:
        rig.prepare(make_parameters(2, interfaces=2, receiving=receiving()))
        rig.exposed = 3
        rig.begin(1)
        rig.start()
        rig.join(5)
        first = int(rig.sources[0].endpoints()["udp"].split(":")[1])
        assert isinstance(rig.error, DeviceTimeoutError)
        for text in (f"UDP ports {first}-{first + 3} at 127.0.0.1", "for 0.3 s", "udp_dstip", "tcpdump"):
            assert text in str(rig.error)


def test_silence_while_nothing_is_exposed_is_no_trouble():
    with SourceRig() as rig:
        rig.prepare(make_parameters(1, 3, receiving=receiving(silence_s=0.1)))
        rig.exposed = 0
        rig.begin(1, 3)
        rig.start()
        wait_for(lambda: rig.sinks[0].counts, "the first note")
        with pytest.raises(AssertionError):
            wait_for(lambda: rig.errors, "an error", 0.5)
        wire = rig.make_wire(make_parameters(1))
        rig.exposed = None
        wire.start(3, 100.0)
        rig.join(5)
        assert not rig.errors
        assert rig.sinks[0].indices == [0, 1, 2]


@pytest.mark.parametrize("policy", ["drop", "skip"])
def test_modules_that_send_nothing_are_named(policy):
    parameters = make_parameters(4, receiving=receiving(incomplete=policy))
    with SourceRig() as rig:
        run_endless(rig, parameters, Faults(silent_modules=[1, 2]))
        rig.join(8)
        first = int(rig.sources[0].endpoints()["udp"].split(":")[1])
        assert isinstance(rig.error, DeviceTimeoutError)
        for text in (f"modules 1-2 came for 0.3 s (UDP ports {first + 1}-{first + 2}", "the other modules send"):
            assert text in str(rig.error)


def test_frames_without_some_modules_may_be_wanted():
    parameters = make_parameters(2, receiving=receiving(incomplete="pass"))
    with SourceRig() as rig:
        run_endless(rig, parameters, Faults(silent_modules=[1]))
        sink = rig.sinks[0]
        wait_for(lambda: any("module 1 came" in text for text in sink.warnings), "a warning")
        sent = rig.wire.stop().frames
        rig.end(sent)
        rig.join()
        assert not rig.errors
        assert sink.indices == list(range(sent))
        assert {meta.flags for meta in sink.metas} == {FrameFlags.INCOMPLETE}


def test_swapped_cables_are_named_with_what_the_packets_say():
    with SourceRig() as rig:
        run_endless(rig, make_parameters(2, receiving=receiving()), Faults(swapped_cables=[(0, 1)]))
        rig.join(5)
        assert isinstance(rig.error, AcquisitionError)
        assert "row 1, column 0 where row 0, column 0 is expected: another module's packets" in str(rig.error)
        assert "row 0, column 0 where row 1, column 0" in str(rig.error)
        assert rig.sinks[0].counts["packets_foreign"] > 0
        assert any("another module's packets" in text for text in rig.sinks[0].warnings)


def test_module_ids_in_a_wrong_order_are_an_error_at_the_end_of_a_short_acquisition():
    parameters = make_parameters(2, 2, module_ids=[1235, 1234], receiving=receiving(silence_s=60))
    with SourceRig() as rig:
        rig.acquire(parameters, 2)
        assert isinstance(rig.error, AcquisitionError)
        assert "module id 1234 where 1235 is expected: modules or cables were swapped" in str(rig.error)
        assert rig.sinks[0].lost_indices == [0, 1]


@pytest.mark.parametrize("wire", ["detector", "external"])
def test_another_detector_is_named(wire):
    with SourceRig() as rig:
        rig.prepare(make_parameters(1, wire=wire, receiving=receiving()))
        rig.exposed = 0 if wire == "external" else 5
        rig.begin(None if wire == "external" else 1)
        rig.start()
        host, port = rig.sources[0].endpoints()["udp"].split(":")
        (config,) = module_ports([0], int(port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for packet in range(128):
                other.sendto(datagram(1, config, packet, detector_type=8), (host, int(port)))
        rig.join(5)
        assert isinstance(rig.error, AcquisitionError)
        assert "detector type 8 where 3 (Jungfrau) is expected" in str(rig.error)


def test_datagrams_of_a_wrong_size_are_named():
    with SourceRig() as rig:
        run_endless(rig, make_parameters(1, receiving=receiving()), Faults(malformed_rate=1.0, malformed_sizes=[1500]))
        rig.join(5)
        assert isinstance(rig.error, AcquisitionError)
        assert "datagrams of a wrong size come; check that the links' MTU is 9000" in str(rig.error)


def test_a_detector_that_counts_otherwise_is_named():
    parameters = make_parameters(1, receiving=receiving())
    with SourceRig() as rig:
        rig.prepare(parameters)
        wire = rig.make_wire(parameters, number=1)
        rig.begin(10**6)
        rig.start()
        wire.start(0, 100.0)
        rig.join(5)
        assert "next frame number" in str(rig.error)


def test_an_acquisition_of_which_nothing_came_is_an_error():
    with SourceRig() as rig:
        rig.prepare(make_parameters(1, 4, receiving=receiving(silence_s=60)))
        rig.begin(1, 4)
        rig.start()
        rig.end(4)
        rig.join(5)
        assert "in the whole acquisition" in str(rig.error)
        assert rig.sinks[0].lost_indices == [0, 1, 2, 3]


# --- what silence is, look by look --------------------------------------------------------------------------------


def ports(*given):
    return [PortProgress(reached, placed) for reached, placed in given]


def test_slow_triggers_and_lost_frames_are_no_silence():
    silence = Silence(2, 128, 3.0, learning=False)
    assert silence.look(0, 0, ports((0, 0), (0, 0))) is None
    for frame in range(1, 10):
        now = 10.0 * frame
        got = 128 * frame
        assert silence.look(now, frame, ports((frame - 1, got - 128), (frame - 1, got - 128))) is None
        assert silence.look(now + 0.1, frame, ports((frame, got), (frame - 1, got - 128))) is None  # one is later
        if frame != 5:
            assert silence.look(now + 0.2, frame, ports((frame, got), (frame, got))) is None
        else:  # one frame of one port is lost
            assert silence.look(now + 5, frame, ports((frame, got), (frame - 1, got - 128))) is None


def test_a_slow_port_is_not_silent():
    silence = Silence(2, 128, 3.0, learning=False)
    for second in range(100):
        assert silence.look(second, second, ports((second, 128 * second), (second // 9, second * 14))) is None


def test_packets_that_wait_for_a_place_are_no_silence():
    silence = Silence(1, 128, 3.0, learning=False)
    for second in range(100):
        assert silence.look(second, 50, [PortProgress(9, 900, waiting=True)]) is None


def test_one_exposed_frame_that_no_port_gets_is_silence():
    silence = Silence(2, 128, 3.0, learning=False)
    assert silence.look(0, 1, ports((0, 0), (0, 0))) is None
    assert silence.look(2.9, 1, ports((0, 0), (0, 0))) is None
    assert silence.look(3.0, 1, ports((0, 0), (0, 0))) == Trouble((0, 1), True)


def test_a_port_that_stops_is_silent():
    silence = Silence(2, 128, 3.0, learning=False)
    assert silence.look(0, 5, ports((5, 640), (5, 640))) is None
    assert silence.look(1, 8, ports((8, 1000), (5, 640))) is None
    assert silence.look(4, 12, ports((12, 1500), (5, 640))) == Trouble((1,), False)
    assert silence.look(5, 12, ports((12, 1500), (6, 700))) is None


def test_at_the_end_only_ports_that_had_nothing_at_all_count():
    assert never_heard(0, ports((0, 0))) is None
    assert never_heard(9, ports((1, 5), (1, 1))) is None
    assert never_heard(9, ports((1, 5), (0, 0))) == Trouble((1,), False)


def test_modules_and_ports_are_named_in_ranges():
    configs = module_ports(range(8), 50000, 2, 4)
    progress = ports(*[(0, 0)] * 16)
    text = describe(Trouble((1, 6, 7, 8, 9), False), configs, progress, lambda port: "", "for 3 s")
    assert "modules 3-4, module 0 (interface 1)" in text
    assert "UDP ports 50001, 50006-50009 at 127.0.0.1" in text
    text = describe(Trouble(tuple(range(16)), True), configs, progress, lambda port: f"stranger {port}", "for 3 s")
    assert text.endswith("stranger 0; stranger 1; stranger 2; stranger 3; and 12 more ports")
