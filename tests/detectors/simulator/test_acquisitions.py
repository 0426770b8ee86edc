"""Control and receivers together: triggers, order, stop, faults, lost control."""

import random
import threading
import time
import uuid

import h5py
import numpy as np
import pytest
import zmq

from lima2_bliss.contract import AcquisitionError, FrameFlags, ParameterError, RoundRobin, StateError
from lima2_receivers.detectors.rig import CollectingSink, DetectorRig
from lima2_receivers.detectors.simulator import (
    PLUGIN,
    SimulatorControl,
    SimulatorParameters,
    SimulatorSource,
    expected_frame,
    read_stamp,
)
from lima2_receivers.engine.plugin import ControlContext, ReceiverSetup, SourceContext


def parameters(det=None, **acq):
    acq = {"expo_time": 1000, **acq}
    return SimulatorParameters.model_validate({"acq": acq, "det": {"size": {"x": 32, "y": 16}, **(det or {})}})


def new_uuid():
    return str(uuid.uuid1())


@pytest.fixture(params=[1, 2, 3], ids=lambda n: f"{n} receivers")
def rig(request):
    with DetectorRig(PLUGIN, request.param) as made:
        yield made


@pytest.fixture
def pair():
    with DetectorRig(PLUGIN, 2) as made:
        yield made


def wait_exposed(rig, frames, timeout_s=5.0):
    """Wait until all of the first ``frames`` frames were delivered."""
    dispatch = RoundRobin(len(rig.sinks))
    for rank, sink in enumerate(rig.sinks):
        assert sink.wait(dispatch.count(rank, frames), timeout_s), f"receiver {rank}: {sink.indices}"


def eventually(predicate, timeout_s=5.0):
    """Wait until it is so."""
    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline_s, "it never became so"
        threading.Event().wait(0.005)


# --- content ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gauss", "diffraction"])
@pytest.mark.parametrize("stamped", [False, True])
def test_receivers_deliver_bit_by_bit_what_is_expected(pair, kind, stamped):
    given = parameters(
        {
            "generator": {"type": kind, "gauss": {"grow_factor": 0.3}, "nb_channels": 2},
            "stamp_frame_number": stamped,
            "nb_prefetch_frames": 5,
        },
        nb_frames=23,
    )
    pair.run(new_uuid(), given, block=3, look=lambda pixels, meta: pixels.copy())
    assert not pair.errors
    for sink in pair.sinks:
        assert len(sink.seen) > 9
        for meta, pixels in zip(sink.metas, sink.seen, strict=True):
            np.testing.assert_array_equal(pixels, expected_frame(given, meta.index))


# --- triggers -----------------------------------------------------------------------------------------------------


def test_each_software_trigger_gives_its_frames(rig):
    rig.prepare(new_uuid(), parameters(nb_frames=7, trigger_mode="software", nb_frames_per_trigger=2))
    rig.start()
    for frames in (2, 4, 6, 7):
        rig.control.trigger()
        wait_exposed(rig, frames)
        assert rig.control.nb_frames_acquired == frames
        assert rig.indices == list(range(frames))
    rig.join()
    assert rig.control.finished
    with pytest.raises(StateError, match="trigger"):
        rig.control.trigger()


def test_a_software_trigger_that_comes_too_early_is_refused(pair):
    pair.prepare(new_uuid(), parameters(nb_frames=2, trigger_mode="software", expo_time=150_000))
    pair.start()
    pair.control.trigger()
    with pytest.raises(StateError, match="before the frames of the last one are exposed"):
        pair.control.trigger()
    wait_exposed(pair, 1)
    pair.control.trigger()
    pair.join()
    assert pair.indices == [0, 1]


def test_a_software_trigger_can_follow_a_frame_at_once_despite_the_dead_time(pair):
    pair.prepare(new_uuid(), parameters(nb_frames=5, trigger_mode="software", latency_time=20_000))
    before_ns = time.time_ns()
    pair.start()
    for frames in range(1, 6):
        pair.control.trigger()
        wait_exposed(pair, frames)
    pair.join()
    for sink in pair.sinks:
        for meta in sink.metas:
            assert meta.timestamp_ns >= before_ns + meta.index * 21_000_000 + 1_000_000


def test_pulses_are_external_triggers(rig):
    rig.prepare(new_uuid(), parameters(nb_frames=9, trigger_mode="external", nb_frames_per_trigger=3))
    rig.start()
    assert rig.control.commands()["pulse"]({"n": 2, "period_s": 0.01}) == {"frames": 6, "ignored": 0}
    wait_exposed(rig, 6)
    rig.control.commands()["set_input"]({"level": 1})
    rig.control.commands()["set_input"]({"level": 1})  # no edge
    rig.join()
    assert rig.indices == list(range(9))


def test_a_gate_gives_a_frame_when_it_falls(rig):
    rig.prepare(new_uuid(), parameters(nb_frames=4, trigger_mode="gate", latency_time=0))
    rig.start()
    set_input = rig.control.commands()["set_input"]
    set_input({"level": 1})
    assert not rig.sinks[0].wait(1, 0.05)
    set_input({"level": 0})
    wait_exposed(rig, 1)
    rig.control.commands()["pulse"]({"n": 3, "period_s": 0.004, "width_s": 0.002})
    rig.join()
    assert rig.indices == list(range(4))


def test_commands_say_what_is_wrong_with_their_argument(pair):
    commands = pair.control.commands()
    for name, argument, text in (
        ("pulse", {"n": 0}, "n = 0"),
        ("pulse", {"number": 2}, "number: unknown parameter"),
        ("set_input", {"level": 2}, "level = 2"),
        ("set_input", None, "level"),
    ):
        with pytest.raises(ParameterError, match=text):
            commands[name](argument)
    with pytest.raises(StateError, match="no acquisition runs"):
        commands["pulse"](None)


# --- time ---------------------------------------------------------------------------------------------------------


def test_frames_come_when_their_exposure_is_over_and_not_before(pair):
    pair.prepare(new_uuid(), parameters(nb_frames=20, expo_time=9_000, latency_time=1_000))
    before_ns = time.time_ns()
    pair.start()
    after_ns = time.time_ns()
    pair.join()
    for sink in pair.sinks:
        for meta in sink.metas:
            over_ns = 10_000_000 * meta.index + 9_000_000
            assert before_ns + over_ns <= meta.timestamp_ns < after_ns + over_ns + 500_000_000


def test_waiting_takes_no_processor_time(pair):
    pair.prepare(new_uuid(), parameters(nb_frames=1, expo_time=500_000))
    before_s = time.process_time()
    pair.start()
    pair.join()
    assert time.process_time() - before_s < 0.1


# --- stop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_stop_at_any_time_is_balanced(seed):
    rng = random.Random(seed)
    with DetectorRig(PLUGIN, rng.choice([2, 3, 5])) as rig:
        mode = rng.choice(["internal", "software", "external"])
        given = parameters(
            nb_frames=rng.choice([0, 500]),
            trigger_mode=mode,
            nb_frames_per_trigger=50,
            expo_time=rng.choice([200, 3000]),
        )
        rig.prepare(new_uuid(), given, block=rng.choice([1, 4]))
        stopped = threading.Event()
        rig.start(control_first=rng.random() < 0.5)
        if mode == "software":
            rig.control.trigger()
        if mode == "external":
            rig.control.commands()["pulse"]({"n": 10, "period_s": 0.06})
        stopped.wait(rng.random() * 0.2)
        calls = [source.stop for source in rig.sources] + [rig.control.stop]
        rng.shuffle(calls)
        for call in calls:
            call()
            stopped.wait(rng.choice([0, 0, 0.05]))
        rig.join(2)
        assert rig.indices == list(range(len(rig.indices)))
        assert rig.control.cut is None or rig.control.cut == len(rig.indices)
        assert rig.control.nb_frames_acquired == len(rig.indices)
        assert not rig.errors


def test_a_stop_in_a_long_exposure_leaves_that_frame_out(rig):
    rig.prepare(new_uuid(), parameters(nb_frames=10, expo_time=60_000_000))
    rig.start()
    started_s = time.monotonic()
    rig.stop()
    rig.join(1)
    assert time.monotonic() - started_s < 0.3
    assert rig.indices == []
    assert rig.control.finished


def test_a_source_that_only_it_is_stopped_ends_within_a_second(pair):
    pair.prepare(new_uuid(), parameters(nb_frames=0, trigger_mode="software"))
    pair.start()
    for source in pair.sources:
        source.stop()
    pair.join(1)


def test_what_a_slow_receiver_still_owes_at_a_stop_is_marked_lost():
    slow = {"faults": {"slow_receiver": {"rank": 1, "delay_ms": 20}}}
    with DetectorRig(PLUGIN, 2) as rig:
        rig.prepare(new_uuid(), parameters(slow, nb_frames=0))
        rig.start()
        assert rig.sinks[0].wait(200)
        started_s = time.monotonic()
        rig.stop()
        rig.join(1.5)
        assert time.monotonic() - started_s < 1.2
        assert rig.indices == list(range(len(rig.indices)))
        assert not rig.sinks[0].lost_indices
        assert rig.sinks[1].lost_indices
        assert rig.sinks[1].indices[-1] in rig.sinks[1].lost_indices


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_control_ahead_of_its_receivers_loses_nothing():
    source = SimulatorSource(SourceContext("receiver", {}))
    control = SimulatorControl(ControlContext("control", {}, lambda: [source.endpoints()]))
    try:
        given, name = parameters(nb_frames=5), new_uuid()
        control.prepare(name, given)
        control.start()
        eventually(lambda: control.finished)
        source.prepare(ReceiverSetup(name, given, 0, RoundRobin()))
        sink = CollectingSink(source.frame_info(given))
        source.run(sink)
        assert sink.indices == list(range(5))
    finally:
        control.close()
        source.close()


def test_messages_of_an_acquisition_that_is_over_are_dropped(pair):
    first = new_uuid()
    pair.prepare(first, parameters(nb_frames=0))
    pair.start()
    pair.sinks[0].wait(3)
    for source in pair.sources:
        source.stop()
    pair.join()  # the control goes on: its messages are stale now
    eventually(lambda: all(source._listener.stale > 0 for source in pair.sources))
    pair.run(new_uuid(), parameters(nb_frames=6))
    assert pair.indices == list(range(6))
    with pytest.raises(StateError, match="is over"):
        pair.prepare(first, parameters(nb_frames=1))


def test_garbage_on_the_wire_changes_nothing(pair):
    with zmq.Context() as context, context.socket(zmq.PUSH) as enemy:
        enemy.connect(pair.sources[0].endpoints()["head"])
        for data in (b"", b"no json", b"[]", b"null", b'{"op": "lease"}', b'{"op": "none", "uuid": "x"}'):
            enemy.send(data)
        for number in range(50):
            enemy.send_json({"op": "lease", "uuid": f"unknown {number}", "until_ns": 1})
        pair.run(new_uuid(), parameters(nb_frames=6))
        assert pair.indices == list(range(6))
        assert not pair.errors


def test_a_control_that_dies_is_an_error_and_no_hang():
    def impatient(context):
        return SimulatorSource(context, control_timeout_s=0.4)

    with DetectorRig(PLUGIN, 2, make_source=impatient) as rig:
        rig.prepare(new_uuid(), parameters(nb_frames=0, trigger_mode="software"))
        rig.start()
        assert not rig.sinks[0].wait(1, 0.8)  # an idle control is no dead control
        assert not rig.errors
        rig.control._transmitter.close()  # what a kill -9 looks like from here
        rig.control._transmitter.send = lambda message: None
        rig.join(3)
        for rank in (0, 1):
            assert isinstance(rig.errors[rank], AcquisitionError)
            assert "control has been silent" in str(rig.errors[rank])


def test_a_restarted_receiver_is_found_at_the_next_prepare(pair):
    pair.run(new_uuid(), parameters(nb_frames=4))
    pair.sources[1].close()
    pair.sources[1] = SimulatorSource(SourceContext("receiver1", {}))
    pair.run(new_uuid(), parameters(nb_frames=4))
    assert pair.indices == list(range(4))


def test_an_address_that_cannot_be_listened_on_is_named():
    with pytest.raises(ParameterError, match=r"192\.0\.2\.1"):
        SimulatorSource(SourceContext("receiver", {}, "192.0.2.1"))


def test_a_detector_without_receivers_is_refused():
    control = SimulatorControl(ControlContext("control", {}, list))
    try:
        with pytest.raises(ParameterError, match="no receivers"):
            control.prepare(new_uuid(), parameters())
    finally:
        control.close()


# --- faults -------------------------------------------------------------------------------------------------------


def test_dropped_frames_are_holes_in_their_places(pair):
    given = parameters({"dropped_frame_idx": 3, "faults": {"dropped_indices": [5, 8]}}, nb_frames=10)
    pair.run(new_uuid(), given)
    assert pair.indices == list(range(10))
    assert sorted(index for sink in pair.sinks for index in sink.lost_indices) == [2, 5, 8]
    assert all(meta.flags in (FrameFlags.GOOD, FrameFlags.LOST) for sink in pair.sinks for meta in sink.metas)


def test_a_failed_frame_fails_its_receiver_and_the_other_goes_on(pair):
    pair.run(new_uuid(), parameters({"failed_frame_idx": 4}, nb_frames=10))
    assert list(pair.errors) == [1]
    assert "simulated failure at frame number 4" in str(pair.errors[1])
    assert pair.sinks[1].indices == [1]
    assert pair.sinks[0].indices == [0, 2, 4, 6, 8]
    pair.control.reset()
    pair.run(new_uuid(), parameters(nb_frames=4))
    assert pair.indices == list(range(4))


def test_a_slow_receiver_is_late_and_complete(pair):
    given = parameters({"faults": {"slow_receiver": {"rank": 1, "delay_ms": 10}}}, nb_frames=10, latency_time=0)
    pair.run(new_uuid(), given)
    assert pair.indices == list(range(10))
    took_ns = [sink.metas[-1].timestamp_ns - sink.metas[0].timestamp_ns for sink in pair.sinks]
    assert took_ns[1] > max(39_000_000, took_ns[0])


def test_with_wait_a_full_ring_holds_the_detector_back_and_nothing_is_lost(pair):
    given = parameters({"on_overrun": "wait", "stamp_frame_number": True}, nb_frames=40, expo_time=1, latency_time=0)
    pair.prepare(new_uuid(), given, nb_buffers=1, look=lambda pixels, meta: read_stamp(pixels))
    held = [sink.reserve() for sink in pair.sinks]
    pair.start()
    assert not pair.sinks[0].wait(1, 0.15)
    for buffer in held:
        buffer.release()
    pair.join()
    assert [seen for sink in pair.sinks for seen in sink.seen] == [*range(0, 40, 2), *range(1, 40, 2)]


def test_with_wait_a_stop_is_not_held_back(pair):
    given = parameters({"on_overrun": "wait"}, nb_frames=10, expo_time=1)
    pair.prepare(new_uuid(), given, nb_buffers=1)
    held = [sink.reserve() for sink in pair.sinks]
    pair.start()
    assert not pair.sinks[0].wait(1, 0.05)
    pair.stop()
    pair.join(1.5)
    assert pair.indices == list(range(10))
    assert all(meta.flags & FrameFlags.LOST for sink in pair.sinks for meta in sink.metas)
    for buffer in held:
        buffer.release()


# --- prepare ------------------------------------------------------------------------------------------------------


def test_frames_are_computed_once_for_the_same_parameters(pair):
    given = parameters({"generator": {"type": "diffraction"}}, nb_frames=2)
    pair.run(new_uuid(), given)
    made = [source._prefetch for source in pair.sources]
    given.acq.expo_time = 2000
    pair.run(new_uuid(), given)
    assert [source._prefetch for source in pair.sources] == made
    given.det.generator.seed = 5
    pair.run(new_uuid(), given)
    assert pair.sources[0]._prefetch is not made[0]


def test_a_prepared_source_does_not_see_later_changes_of_its_parameters(pair):
    given = parameters(nb_frames=3)
    pair.prepare(new_uuid(), given)
    given.acq.nb_frames = 30
    given.det.failed_frame_idx = 1
    pair.start()
    pair.join()
    assert pair.indices == [0, 1, 2]


def test_a_file_is_replayed_and_one_that_cannot_be_is_refused_at_prepare(tmp_path):
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((40, 8, 8), "u1")
    given = parameters({"generator": {"type": "file", "file": {"path": str(path), "dataset": "/nothing"}}}, nb_frames=3)
    with DetectorRig(PLUGIN, 1) as rig:
        with pytest.raises(ParameterError, match="/nothing"):
            rig.prepare(new_uuid(), given)
        given.det.generator.file.dataset = "/data"
        rig.run(new_uuid(), given)
        assert rig.indices == [0, 1, 2]
