"""The simulated Jungfrau sends on loopback: what arrives, where, when, and what its report says of it."""

import time

import numpy as np
import pytest

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, ParameterError, StateError
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES, HEADER, module_packet
from lima2_receivers.detectors.jungfrau.wire import (
    Content,
    Faults,
    WireLayout,
    WireSimulator,
    documented_pattern,
    pattern_content,
    read_stamps,
)
from lima2_receivers.detectors.jungfrau.wire import sender as sending
from lima2_receivers.detectors.jungfrau.wire.catching import Catcher, catch
from lima2_receivers.detectors.jungfrau.wire.pacing import Pace
from lima2_receivers.detectors.jungfrau.wire.sender import Sender

NOWHERE = [[("127.0.0.1", 9)]]


@pytest.fixture
def catchers():
    """Makes the sockets of so many receivers."""
    opened = []

    def make(layout, receivers=1):
        opened.extend(Catcher(layout.ports) for _ in range(receivers))
        if not all(catcher.room for catcher in opened):
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        return opened

    yield make
    for catcher in opened:
        catcher.__exit__(None, None, None)


def addresses(catchers):
    return [catcher.addresses for catcher in catchers]


def headers(datagrams):
    return np.frombuffer(b"".join(datagram[:48] for datagram in datagrams), HEADER)


def assembled(layout, ports):
    """(frames, modules, 512, 1024) of what one receiver's ports got, packets put where their numbers say."""
    frames = len(ports[0]) // layout.packets
    found = np.zeros((frames, layout.modules, 128, 4096), np.uint16)
    for port, datagrams in enumerate(ports):
        module, interface = divmod(port, layout.interfaces)
        for place, datagram in enumerate(datagrams):
            packet = int(headers([datagram])["packet_number"][0])
            pixels = np.frombuffer(datagram, "<u2", offset=48)
            found[place // layout.packets, module, module_packet(interface, packet, layout.interfaces)] = pixels
    return found.reshape(frames, layout.modules, 512, 1024)


@pytest.mark.parametrize("method", ["segments", "sendmmsg", "sendmsg"])
@pytest.mark.parametrize("interfaces", [1, 2])
def test_every_way_to_send_puts_the_same_datagrams_on_the_wire(method, interfaces, catchers):
    layout = WireLayout(1, 2, interfaces)
    there = catchers(layout)
    if method == "segments" and not sending._kernel_cuts():
        pytest.skip("this kernel has no UDP_SEGMENT")
    with WireSimulator(layout, addresses(there), method=method) as simulator:
        (ports,), report = catch(simulator, there, 2)
    assert report.method == method
    for port, datagrams in enumerate(ports):
        assert {len(datagram) for datagram in datagrams} == {DATAGRAM_BYTES}
        found = headers(datagrams)
        order = layout.packet_order(port % interfaces)
        np.testing.assert_array_equal(found["packet_number"], np.tile(order, 2))
        np.testing.assert_array_equal(found["frame_number"], np.repeat([1, 2], layout.packets))
        assert set(zip(found["row"].tolist(), found["column"].tolist(), strict=True)) == {layout.position(port)}
    frames = assembled(layout, ports)
    assert frames.shape == (2, 2, 512, 1024)
    np.testing.assert_array_equal(frames, np.broadcast_to(documented_pattern(), frames.shape))


@pytest.mark.parametrize("order", ["ascending", "descending", "centre_out"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 4)])
def test_different_frames_of_all_modules_come_in_turn(shape, order, catchers):
    layout = WireLayout(*shape, 2, order)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 65536, (2, layout.modules, 512, 1024)).astype(np.uint16)
    there = catchers(layout)
    with WireSimulator(layout, addresses(there), Content(pixels, daq_info=5)) as simulator:
        (ports,), report = catch(simulator, there, 3)
    np.testing.assert_array_equal(assembled(layout, ports), pixels[[0, 1, 0]])
    assert (headers(ports[0])["daq_info"] == 5).all()
    assert report.total("datagrams") == report.total("good") == report.total("packets") == 3 * layout.modules * 128


def test_consecutive_frames_go_to_consecutive_receivers_from_the_first_one(catchers):
    layout = WireLayout(interfaces=2)
    there = catchers(layout, 3)
    with WireSimulator(layout, addresses(there), pattern_content(layout, stamp=True)) as simulator:
        caught, report = catch(simulator, there, 5, first_destination=1)
        again, _ = catch(simulator, there, 2)
    numbers = [np.unique(headers(ports[1])["frame_number"]).tolist() for ports in caught]
    assert numbers == [[3], [1, 4], [2, 5]]
    assert report.ports["frames"][:, 0, 0].tolist() == [1, 2, 2]
    assert [len(ports[0]) // 64 for ports in again] == [1, 1, 0]  # the turn begins anew, the numbers go on
    assert set(headers(again[0][0])["frame_number"]) == {6}
    assert (read_stamps(assembled(layout, caught[2])[1, 0]) == 5).all()


def test_frame_numbers_go_on_until_one_is_given(catchers):
    layout = WireLayout()
    there = catchers(layout)
    with WireSimulator(layout, addresses(there), next_frame_number=100) as simulator:
        catch(simulator, there, 2)
        assert simulator.next_frame_number == 102
        _, report = catch(simulator, there, 1)
        assert report.first_frame_number == 102
        (ports,), _ = catch(simulator, there, 1, first_frame_number=7)
    assert set(headers(ports[0])["frame_number"]) == {7}


def test_paced_frames_come_evenly_and_say_when():
    with WireSimulator(WireLayout(), NOWHERE) as simulator:
        began = time.monotonic()
        simulator.start(21, 200)
        report = simulator.wait(10)
        assert time.monotonic() - began >= 0.1
    assert report.frames == report.ports["frames"].sum() == 21
    assert report.duration_s >= 0.1
    assert report.frames_per_s == pytest.approx(21 / report.duration_s)


def test_timestamps_of_paced_frames_are_multiples_of_the_period(catchers):
    layout = WireLayout()
    (catcher,) = catchers(layout)
    with WireSimulator(layout, [catcher.addresses], exposure_s=0.5e-3) as simulator:
        simulator.start(2, 100)
        simulator.wait(10)
    got = [catcher.sockets[0].recv(65536) for _ in range(2 * 128)]
    assert np.unique(headers(got)["timestamp"]).tolist() == [0, 100_000]
    assert set(headers(got)["exp_length"]) == {5000}


def test_a_delay_is_made_up_for_but_only_so_much():
    pace = Pace(0.01, max_behind_s=0.05)
    pace.begin(10.0)
    assert pace.wait_s(10.0) == 0
    pace.sent()
    assert pace.wait_s(10.0) == pytest.approx(0.01)
    assert pace.wait_s(10.04) == pytest.approx(-0.03)  # late, but not lost
    assert pace.slipped_s == 0
    assert pace.wait_s(10.5) == pytest.approx(-0.05)
    assert pace.slipped_s == pytest.approx(0.44)
    for _ in range(5):
        pace.sent()
    assert pace.wait_s(10.5) == pytest.approx(0)
    assert Pace(0).wait_s(1e9) == 0


def test_triggers_give_their_frames_and_no_more():
    with WireSimulator(WireLayout(), NOWHERE) as simulator:
        with pytest.raises(StateError, match="frames_per_trigger"):
            simulator.trigger()
        simulator.start(5, frames_per_trigger=2)
        simulator.trigger()
        simulator.wait_frames(2, 10)
        with pytest.raises(DeviceTimeoutError, match="2 frames are sent"):
            simulator.wait_frames(3, 0.05)
        with pytest.raises(DeviceTimeoutError, match="2 so far"):
            simulator.wait(0.05)
        simulator.trigger()
        simulator.trigger()
        assert simulator.wait(10).frames == 5


def test_it_stops_after_a_frame_and_starts_again():
    with WireSimulator(WireLayout(), NOWHERE) as simulator:
        simulator.start()
        simulator.wait_frames(3, 10)
        assert simulator.running
        with pytest.raises(StateError, match="stop first"):
            simulator.start()
        report = simulator.stop()
        assert not simulator.running
        assert report.frames == simulator.frames_sent == simulator.next_frame_number - 1
        assert report.total("packets") == 128 * report.frames
        simulator.start(1)
        assert simulator.wait(10).frames == 1
    with pytest.raises(StateError, match="closed"):
        simulator.start()


def test_what_cannot_be_sent_is_an_error_of_the_acquisition():
    with WireSimulator(WireLayout(), NOWHERE) as simulator:
        simulator._sender.close()
        simulator.start(1)
        with pytest.raises(AcquisitionError, match="cannot be sent: Bad file descriptor"):
            simulator.wait(10)
        with pytest.raises(AcquisitionError, match="cannot be sent"):
            simulator.wait_frames(1, 10)


def test_links_that_are_too_narrow_get_no_segments(monkeypatch, caplog):
    monkeypatch.setattr(sending, "path_mtu", lambda address: 1500)
    sender = Sender([("10.0.0.1", 1)])
    sender.close()
    assert (sender.method, sender.segments) == ("sendmmsg", 1)
    assert "10.0.0.1 (MTU 1500)" in caplog.text
    with pytest.raises(ParameterError, match="MTU is too small"):
        Sender([("10.0.0.1", 1)], "segments")
    with pytest.raises(ParameterError, match="method"):
        Sender([], "carrier pigeon")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"content": pattern_content(WireLayout(2, 1))}, "content has 2 modules"),
        ({"exposure_s": 500}, "exposure_s"),
        ({"next_frame_number": -1}, "frame number"),
        ({"faults": Faults(silent_modules=[1])}, r"modules \[1\]"),
    ],
)
def test_a_simulator_that_cannot_be_is_refused(arguments, says):
    with pytest.raises(ParameterError, match=says):
        WireSimulator(WireLayout(), NOWHERE, **arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"frames": -1}, "negative"), ({"first_destination": 1}, "first_destination"), ({"first_frame_number": -1}, "2")],
)
def test_a_start_that_cannot_be_is_refused(arguments, says):
    with (
        WireSimulator(WireLayout(), NOWHERE) as simulator,
        pytest.raises(ParameterError, match=says),
    ):
        simulator.start(**arguments)
