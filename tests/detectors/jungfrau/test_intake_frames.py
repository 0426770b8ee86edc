"""Packets of any order, on any number of ports, become frames with every pixel in its place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_rig import Rig, datagram, make_config, whole

from lima2_bliss.contract import FrameInfo
from lima2_receivers.detectors.jungfrau import packets as p
from lima2_receivers.detectors.jungfrau.intake import ListenerSettings
from lima2_receivers.engine.buffers import BufferPool

ORDERS = {
    "ascending": np.arange,
    "descending": lambda count: np.arange(count)[::-1],
    "centre out": p.centre_out,
    "any": np.random.default_rng(4).permutation,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("modules", "interfaces"), [(1, 1), (1, 2), (2, 2)])
def test_every_order_gives_every_pixel_and_is_learned_from_the_first_frame(order, modules, interfaces):
    config = make_config(modules, interfaces, first_number=1)
    sequence = ORDERS[order](config.packets)
    with Rig(config, frames=4) as rig:
        rig.send_frame(1, order=sequence)
        rig.given(1)
        misplaced = rig.counts.packets.misplaced
        for number in (2, 3, 4):
            rig.send_frame(number, order=sequence)
        rig.finish()
    assert all(frame.complete for frame, _ in rig.frames)
    for number, (frame, pixels) in enumerate(rig.frames, 1):
        assert frame.number == number
        np.testing.assert_array_equal(pixels, whole(config, number))
    assert rig.counts.complete == 4
    assert rig.counts.packets.misplaced == misplaced  # none after the first frame
    rig.assert_balanced()


def test_a_4M_frame_is_made_of_16_ports():
    config = make_config(8, 2, first_number=1)
    with Rig(config, frames=2) as rig:
        rig.send_frame(1)
        rig.send_frame(2)
        rig.finish()
    np.testing.assert_array_equal(rig.frames[1][1], whole(config, 2))
    assert rig.counts.complete == 2


def test_a_frame_carries_its_headers_counts_and_time():
    config = make_config(1, 2, first_number=7)
    with Rig(config, frames=1) as rig:
        rig.send_frame(7)
        rig.finish()
    frame = rig.frames[0][0]
    assert frame.headers["timestamp"].tolist() == [7000, 7000]
    assert frame.headers["row"].tolist() == [0, 1]
    assert frame.packets.tolist() == [64, 64]
    assert (frame.mask == 0xFF).all()
    assert frame.timestamp_ns > 1.7e18
    assert not frame.overrun


def test_a_new_order_is_taken_over_when_two_frames_have_it():
    config = make_config(first_number=1)
    with Rig(config, frames=6) as rig:
        rig.send_frame(1)
        for number in range(2, 4):
            rig.send_frame(number, order=p.centre_out(128))
        rig.given(3)
        misplaced = rig.counts.packets.misplaced
        for number in range(4, 7):
            rig.send_frame(number, order=p.centre_out(128))
        rig.finish()
    assert rig.counts.packets.misplaced == misplaced > 0
    np.testing.assert_array_equal(rig.frames[2][1], whole(config, 3))


class _EngineTarget:
    """Frames in the ring buffers of the engine."""

    def __init__(self, config, buffers):
        self.pool = BufferPool(FrameInfo(1, config.modules * p.MODULE_ROWS, p.MODULE_COLUMNS, np.dtype("u2")), buffers)
        self.pixels = []

    def reserve(self):
        return self.pool.acquire()

    def deliver(self, buffer, frame):
        self.pixels.append(buffer.data.copy())
        buffer.release()

    def lost(self, frame):
        raise AssertionError("no frame is lost here")


def test_frames_lie_in_the_buffers_of_the_engine_and_all_are_given_back():
    config = make_config(2, 1, first_number=1)
    target = _EngineTarget(config, 3)
    with Rig(config, target, frames=6) as rig:
        for number in range(1, 7):
            rig.send_frame(number)
        rig.finish()
    assert target.pool.free == 3
    for number, pixels in enumerate(target.pixels, 1):
        np.testing.assert_array_equal(pixels.reshape(2, 512, 1024), whole(config, number))


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_shuffled_duplicated_and_lost_packets_are_placed_and_counted_exactly(data):
    frames, batch = 5, data.draw(st.sampled_from([1, 7, 64]))
    config = make_config(
        1, 2, first_number=1, incomplete="pass", window=8, reorder_frames=4, listeners=ListenerSettings(batch=batch)
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    mess, loss, twice = data.draw(st.sampled_from([0, 3, 40, 150])), data.draw(st.sampled_from([0, 0.02, 0.3])), 0.02
    sent = []
    for number in range(1, frames + 1):
        sent += [(number, port, packet) for packet in range(64) for port in range(2) if rng.random() >= loss]
    sent += [each for each in sent if rng.random() < twice]
    sent.sort(key=lambda each: each[0] * 128 + each[2] * 2 + rng.uniform(0, mess))
    with Rig(config) as rig:
        for number, port, packet in sent:
            rig.send(datagram(number, config.ports[port], packet), port)
        rig.received()
        rig.intake.stop(frames)
        rig.finish()
    rig.assert_balanced()
    counts, distinct = rig.counts, set(sent)
    assert counts.packets.placed == len(distinct)
    # late: the double came when the frame was complete and given out
    assert counts.packets.duplicate + counts.packets.late == len(sent) - len(distinct)
    assert counts.missing == frames * 128 - len(distinct)
    for number, (frame, pixels) in enumerate(rig.frames, 1):
        mask = np.unpackbits(frame.mask, axis=-1, bitorder="little").astype(bool)
        assert {(number, port, packet) for port, packet in np.argwhere(mask).tolist()} == {
            each for each in distinct if each[0] == number
        }
        if pixels is None:  # nothing of it was sent
            assert frame.empty
            continue
        expected = whole(config, number).reshape(2, 64, -1)
        np.testing.assert_array_equal(pixels.reshape(2, 64, -1), np.where(mask[..., None], expected, 0xFFFF))
