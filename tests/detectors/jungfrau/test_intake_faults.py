"""Lost, late, doubled, strange and unreadable packets, dead ports and full rings: handled and counted exactly."""

import time

import numpy as np
import pytest
from intake_rig import Rig, datagram, make_config, pixels_of, wait_for, whole

from lima2_receivers.detectors.jungfrau.intake import PortConfig, SlotRing


def test_an_incomplete_frame_is_dropped_as_a_hole_with_its_mask():
    config = make_config(1, 2, first_number=1, reorder_frames=0)
    with Rig(config, frames=3) as rig:
        rig.send_frame(1)
        rig.send_frame(2, without=[(0, 3), (1, 63)])
        rig.send_frame(3)
        rig.finish()
    frame, pixels = rig.frames[1]
    assert pixels is None
    assert not frame.complete
    assert frame.packets.tolist() == [63, 63]
    assert np.unpackbits(frame.mask, axis=-1, bitorder="little").argmin(axis=1).tolist() == [3, 63]
    np.testing.assert_array_equal(rig.frames[2][1], whole(config, 3))
    counts = rig.counts
    assert (counts.complete, counts.incomplete, counts.lost, counts.missing) == (2, 1, 0, 2)
    rig.assert_balanced()


def test_an_incomplete_frame_is_passed_with_the_missing_pixels_set():
    config = make_config(first_number=1, reorder_frames=0, incomplete="pass")
    with Rig(config, slots=17, frames=2) as rig:
        rig.send_frame(1, without=[(0, 0), (0, 77)])
        rig.send_frame(2)
        rig.finish()
    expected = whole(config, 1)
    expected[0, :4] = expected[0, 77 * 4 : 78 * 4] = 0xFFFF
    np.testing.assert_array_equal(rig.frames[0][1], expected)


def test_a_frame_of_which_nothing_came_is_lost_in_its_place():
    config = make_config(first_number=1, reorder_frames=0)
    with Rig(config, frames=4) as rig:
        rig.send_frame(1)
        rig.send_frame(4)
        rig.finish()
    assert [(frame.number, frame.empty) for frame, _ in rig.frames] == [(1, False), (2, True), (3, True), (4, False)]
    assert rig.counts.lost == 2
    rig.assert_balanced()


def test_frames_that_newer_ones_leave_behind_are_not_waited_for():
    config = make_config(first_number=1, reorder_frames=2)
    with Rig(config) as rig:
        rig.send_frame(1, without=[(0, 5)])
        for number in (2, 3, 4):
            rig.send_frame(number)
        rig.given(4)
    assert [frame.complete for frame, _ in rig.frames] == [False, True, True, True]


def test_late_and_double_packets_are_counted_and_change_nothing():
    config = make_config(first_number=5, reorder_frames=1)
    port = config.ports[0]
    with Rig(config, frames=5) as rig:
        rig.send(datagram(4, port, 0))  # before the first
        rig.send_frame(5, without=[(0, 9)])
        rig.send_frame(6)
        rig.send_frame(7)
        rig.given(3)
        rig.send(datagram(5, port, 9))  # given out already
        rig.send_frame(8, order=range(64))
        rig.send(datagram(8, port, 10))
        rig.send(datagram(9, port, 100))  # early, and twice
        rig.send(datagram(9, port, 100))
        rig.send_frame(8, order=range(64, 128))
        rig.send_frame(9, without=[(0, 100)])
        rig.finish()
    packets = rig.counts.packets
    assert (packets.late, packets.duplicate) == (2, 2)
    np.testing.assert_array_equal(rig.frames[3][1], whole(config, 8))
    np.testing.assert_array_equal(rig.frames[4][1], whole(config, 9))
    rig.assert_balanced()


STRANGE = {
    "another detector": ({"detector_type": 8}, "another detector sends"),
    "another version": ({"version": 1}, "header version 1 where 2"),
    "another module": ({"row": 3}, "row 3, column 0 where row 0, column 0"),
    "another module's id": ({"module_id": 77}, "module id 77 where 42"),
    "another number of interfaces": ({"packet_number": 128}, "numinterfaces"),
    "another round robin": ({"frame_number": 10**9}, "frame number 1000000000"),
    "a frame number beyond all": ({"frame_number": 2**64 - 5}, "frame number 18446744073709551611"),
}


@pytest.mark.parametrize(
    ("what", "learned"),
    [(what, False) for what in STRANGE]  # the first packet of all says which frame numbers are right
    + [(what, True) for what, (changes, _) in STRANGE.items() if "frame_number" not in changes],
)
def test_foreign_packets_are_named_and_leave_no_trace(what, learned):
    changes, text = STRANGE[what]
    config = make_config(first_number=None if learned else 1)
    config = type(config)((PortConfig(0, module_id=42),), first_number=config.first_number)
    port = config.ports[0]
    with Rig(config, frames=1) as rig:
        rig.send(datagram(1, port, 0, **changes))
        for packet in range(128):
            rig.send(datagram(1, port, packet))
            if packet % 5 == 0:
                rig.send(datagram(1, port, packet, **changes))
        rig.finish()
    assert rig.counts.packets.foreign in (26, 27)  # the last one may come after the frame was complete
    assert text in rig.counts.strangers[0]
    np.testing.assert_array_equal(rig.frames[0][1], whole(config, 1))


@pytest.mark.parametrize("learned", [False, True])
def test_datagrams_of_a_wrong_size_are_counted_and_leave_no_trace(learned):
    config = make_config(first_number=None if learned else 1)
    good = datagram(1, config.ports[0], 4)
    with Rig(config) as rig:
        for bad in (b"", b"x", good[:48], good[:-1], good + b"y", good * 3):
            rig.send(bad)
        rig.send_frame(1)
        rig.send(good[:100])
        rig.given(1)
        rig.received()
    assert rig.counts.packets.malformed == 7
    np.testing.assert_array_equal(rig.frames[0][1], whole(config, 1))
    rig.assert_balanced()


def test_a_dead_module_does_not_hold_up_the_others_and_is_seen_as_silent():
    config = make_config(2, first_number=1, push_s=0.005, window=4)
    with Rig(config) as rig:
        rig.send_frame(1)
        for number in range(2, 30):
            rig.send_frame(number, ports=[0])
        rig.given(24)
        counts = rig.counts
    assert counts.complete == 1
    assert counts.incomplete >= 23
    assert counts.silence_s[1] > counts.silence_s[0]
    assert rig.frames[5][0].packets.tolist() == [128, 0]


def test_a_port_that_lags_behind_is_waited_for():
    """The other one is a window ahead; its packets wait in the socket, none is lost."""
    config = make_config(1, 2, first_number=1, push_s=60.0, window=2)
    with Rig(config, frames=6) as rig:
        rig.send_frame(1, ports=[0])
        rig.send_frame(2, ports=[0])
        ahead = [0]
        rig.send_frame(3, ports=[0], order=ahead)
        rig.received()
        assert not rig.frames
        rig.send_frame(1, ports=[1])
        rig.send_frame(2, ports=[1])
        rig.send_frame(3, without=[(0, packet) for packet in ahead])
        for number in (4, 5, 6):
            rig.send_frame(number)
        rig.finish()
    assert rig.counts.complete == 6
    np.testing.assert_array_equal(rig.frames[2][1], whole(config, 3))
    rig.assert_balanced()


def test_a_port_ahead_of_its_own_incomplete_frame_never_hangs():
    config = make_config(first_number=1, push_s=60.0, reorder_frames=50, window=2)
    with Rig(config) as rig:
        rig.send_frame(1, without=[(0, 1)])
        for number in (2, 3, 4, 5):
            rig.send_frame(number)
        rig.given(3)
    assert [frame.complete for frame, _ in rig.frames] == [False, True, True, True, True]


def test_frames_that_find_no_buffer_are_lost_as_overrun_and_reception_goes_on():
    config = make_config(first_number=1, overrun_wait_s=0.02, window=2)
    kept, frames = [], []

    def keep(frame, slot):
        frames.append(frame)
        if slot is not None and len(kept) < 3:
            kept.append(slot)
        elif slot is not None:
            slot.release()

    ring = SlotRing(3, 1, keep)
    with Rig(config, ring) as rig:
        for number in range(1, 7):
            rig.send_frame(number)
        wait_for(lambda: len(frames) >= 6, "6 frames")
        assert [frame.overrun for frame in frames] == [False] * 3 + [True] * 3
        for slot in kept:
            slot.release()
        for number in range(7, 10):
            rig.send_frame(number)
        wait_for(lambda: len(frames) >= 9, "9 frames")
    assert [frame.overrun for frame in frames[6:]].count(False) >= 2  # one may have been open without a buffer
    assert rig.counts.overrun == sum(frame.overrun for frame in frames)
    assert all(frame.packets[0] == 128 for frame in frames)  # they came, but had no place
    assert len(ring.free) == 3


def test_a_leap_of_frame_numbers_is_reported_frame_by_frame():
    config = make_config(first_number=1, window=8)
    with Rig(config, frames=5001) as rig:
        rig.send_frame(1)
        rig.send_frame(5001)
        rig.finish()
    assert len(rig.frames) == 5001
    assert [frame.complete for frame, _ in rig.frames].count(True) == 2
    assert rig.frames[-1][0].number == 5001
    np.testing.assert_array_equal(rig.frames[-1][1], whole(config, 5001))
    assert rig.counts.lost == 4999
    rig.assert_balanced()


def test_pixels_for_tests_are_never_the_code_of_missing_ones():
    config = make_config()
    assert max(int(pixels_of(n, config.ports[0], n % 128).max()) for n in range(50)) < 0xFFFF


def test_an_incomplete_last_frame_is_given_up_after_the_time_out():
    config = make_config(first_number=1, timeout_s=0.1)
    with Rig(config, frames=1) as rig:
        rig.send_frame(1, without=[(0, 127)])
        began = time.monotonic()
        rig.finish()
    assert time.monotonic() - began < 2.0
    assert not rig.frames[0][0].complete
