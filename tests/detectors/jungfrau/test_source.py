"""Sources take the frames of a simulated wire in: numbers, order, cuts, holes, counts, and what is left behind."""

import time

import numpy as np
import pytest
from source_rig import SourceRig, make_parameters

from lima2_bliss.contract import FrameFlags, ParameterError
from lima2_receivers.detectors.jungfrau.raw_frames import PACKET_HEADERS, PACKET_MASK, PACKETS, RAW_EXTRAS
from lima2_receivers.detectors.jungfrau.wire import Faults
from lima2_receivers.detectors.rig import CollectingSink


@pytest.mark.parametrize(
    ("receivers", "block", "interfaces", "frames"), [(1, 1, 1, 10), (1, 4, 2, 6), (2, 1, 2, 11), (2, 4, 1, 22)]
)
def test_every_receiver_gets_its_frames_with_the_pixels_of_their_numbers(receivers, block, interfaces, frames):
    parameters = make_parameters(1, frames, interfaces=interfaces)
    with SourceRig(receivers, block) as rig:
        rig.acquire(parameters, frames, number=1006)
        assert not rig.errors
        for rank, sink in enumerate(rig.sinks):
            count = rig.dispatch.count(rank, frames)
            assert sink.indices == [rig.dispatch.global_index(rank, local) for local in range(count)]
            assert [meta.local for meta in sink.metas] == list(range(count))
            assert all(meta.flags.valid for meta in sink.metas)
            assert sink.seen == [{1006 + index} for index in sink.indices]
            assert sink.counts["packets_placed"] == sink.counts["packets_received"] == count * 128
            assert sink.counts["frames_complete"] == count
            assert sink.pool.free == 40


def test_frames_carry_what_their_packets_said():
    parameters = make_parameters(2, 2, interfaces=2)
    with SourceRig() as rig:
        rig.acquire(parameters, 2, number=5)
        meta = rig.sinks[0].metas[1]
        info = rig.sources[0].frame_info(parameters)
    assert tuple(meta.extras) == RAW_EXTRAS == tuple(name for name, _, _ in info.extras)
    for name, dtype, shape in info.extras:
        assert (meta.extras[name].dtype, meta.extras[name].shape) == (dtype, shape)
    assert meta.extras[PACKETS].tolist() == [64] * 4
    assert (meta.extras[PACKET_MASK] == 0xFF).all()
    assert meta.extras[PACKET_HEADERS]["frame_number"].tolist() == [6] * 4
    assert meta.extras[PACKET_HEADERS]["row"].tolist() == [0, 1, 2, 3]
    assert info.shape == (1, 1024, 1024)


def test_numbers_go_on_from_one_acquisition_to_the_next():
    parameters = make_parameters(1, 4)
    with SourceRig() as rig:
        rig.acquire(parameters, 4, number=1)
        rig.acquire(parameters, 4, number=5)
        assert not rig.errors
        assert rig.sinks[0].indices == [0, 1, 2, 3]
        assert rig.sinks[0].seen == [{5}, {6}, {7}, {8}]


@pytest.mark.parametrize(("receivers", "block"), [(1, 1), (2, 4)])
def test_a_stop_ends_all_receivers_at_the_cut(receivers, block):
    parameters = make_parameters(1)
    with SourceRig(receivers, block) as rig:
        rig.prepare(parameters)
        wire = rig.make_wire(parameters, number=3)
        rig.begin(3)
        rig.start()
        wire.start(0, 300.0)
        for sink in rig.sinks:
            assert sink.wait(6)
        began = time.monotonic()
        for source in rig.sources:
            source.stop()
        assert time.monotonic() - began < 0.1
        cut = wire.stop().frames
        rig.end(cut)
        rig.join(1.5)
        assert not rig.errors
        assert sorted(index for sink in rig.sinks for index in sink.indices) == list(range(cut))
        assert all(meta.flags.valid for sink in rig.sinks for meta in sink.metas)


def test_the_end_that_the_control_says_is_the_end():
    parameters = make_parameters(1, 1000)
    with SourceRig() as rig:
        rig.acquire(parameters, 5)  # the control says 5 at the end
        assert not rig.errors
        assert rig.sinks[0].indices == list(range(5))


def test_a_stop_without_a_cut_ends_in_time_with_what_came():
    parameters = make_parameters(1)
    with SourceRig(stop_grace_s=0.2) as rig:
        rig.prepare(parameters)
        wire = rig.make_wire(parameters)
        rig.begin(1)
        rig.start()
        wire.start(4, 300.0)
        assert rig.sinks[0].wait(4)
        rig.sources[0].stop()
        began = time.monotonic()
        rig.join()
        assert time.monotonic() - began < 0.8
        assert rig.sinks[0].indices == [0, 1, 2, 3]


@pytest.mark.parametrize("heard", [False, True])
def test_a_source_that_is_stopped_before_it_runs_ends_at_once(heard):
    with SourceRig(stop_grace_s=0.1) as rig:
        rig.prepare(make_parameters(1))
        if heard:
            rig.begin(1)
            rig.end(0)
        rig.sources[0].stop()
        rig.start()
        rig.join(2)
        assert not rig.errors
        assert not rig.sinks[0].metas


def test_an_acquisition_that_the_control_gives_up_before_it_began_is_empty():
    with SourceRig() as rig:
        rig.prepare(make_parameters(1, 10))
        rig.start()
        rig.end(0)
        rig.join(2)
        assert not rig.errors
        assert not rig.sinks[0].metas


@pytest.mark.parametrize(
    ("policy", "lost", "flags"),
    [
        ("drop", True, FrameFlags.LOST | FrameFlags.INCOMPLETE),
        ("skip", False, FrameFlags.INCOMPLETE),
        ("pass", False, FrameFlags.INCOMPLETE),
    ],
)
def test_incomplete_frames_are_what_the_policy_says(policy, lost, flags):
    parameters = make_parameters(1, 5, receiving={"incomplete": policy, "timeout_s": 0.1})
    faults = Faults(lost_packets=[{"frame": 1, "packet": 3}, {"frame": 4, "packet": 127}], lost_frames=[2])
    pixels = {}

    def look(data, meta):
        pixels[meta.index] = data.copy()

    with SourceRig() as rig:
        rig.acquire(parameters, 5, faults, look=look)
        assert not rig.errors
        sink = rig.sinks[0]
        good = FrameFlags.GOOD
        assert [meta.flags for meta in sink.metas] == [good, flags, FrameFlags.LOST, good, flags]
        assert (1 not in pixels) == lost
        assert sink.metas[2].extras is None
        assert sink.metas[1].extras[PACKETS].tolist() == [127]
        assert np.unpackbits(sink.metas[1].extras[PACKET_MASK], bitorder="little").argmin() == 3
        if not lost:
            assert (pixels[1][0, 12:16] == 0xFFFF).all()
            assert (pixels[1][0, 16:] != 0xFFFF).all()
        counts = sink.counts
        assert (counts["frames_complete"], counts["frames_incomplete"], counts["frames_lost"]) == (2, 2, 1)
        assert counts["packets_missing"] == 1 + 128 + 1


class KeepingSink(CollectingSink):
    """Gives no buffer back before the end."""

    kept: list

    def deliver(self, buffer, meta):
        buffer.retain()
        self.__dict__.setdefault("kept", []).append(buffer)
        super().deliver(buffer, meta)


def test_frames_for_which_there_is_no_buffer_are_lost_as_overrun():
    parameters = make_parameters(1, 6)
    with SourceRig() as rig:
        rig.acquire(parameters, 6, sink=lambda info, buffers, look: KeepingSink(info, 4, look))
        assert not rig.errors
        sink = rig.sinks[0]
        assert sink.indices == list(range(6))
        assert sink.lost_indices == [4, 5]
        assert all(meta.flags == FrameFlags.LOST | FrameFlags.OVERRUN for meta in sink.metas[4:])
        assert sink.counts["frames_overrun"] == 2
        for buffer in sink.kept:
            buffer.release()
        assert sink.pool.free == 4


@pytest.mark.parametrize("receivers", [1, 2])
def test_frame_numbers_of_an_external_wire_are_learned(receivers):
    parameters = make_parameters(1, 8, wire="external")
    with SourceRig(receivers) as rig:
        rig.prepare(parameters)
        wire = rig.make_wire(parameters, number=777)
        rig.exposed = 0  # it does not know
        rig.begin(None, 8)
        rig.start()
        wire.start(8, 200.0)
        rig.join()
        assert not rig.errors
        for rank, sink in enumerate(rig.sinks):
            assert sink.seen == [{777 + index} for index in sink.indices]
            assert sink.indices == list(range(rank, 8, receivers))


def test_a_stop_of_an_external_wire_keeps_what_came():
    parameters = make_parameters(1, wire="external")
    with SourceRig() as rig:
        rig.prepare(parameters)
        wire = rig.make_wire(parameters, number=777)
        rig.exposed = 0
        rig.begin(None)
        rig.start()
        wire.start(5, 200.0)
        wire.wait(15)
        rig.end(0)  # the control has not seen how many there were
        rig.join()
        assert not rig.errors
        assert rig.sinks[0].seen == [{777 + index} for index in range(5)]


def test_blocks_of_an_external_wire_are_refused_for_several_receivers():
    with SourceRig(2, 4) as rig, pytest.raises(ParameterError, match="cannot be learned"):
        rig.prepare(make_parameters(1, 8, wire="external"))
