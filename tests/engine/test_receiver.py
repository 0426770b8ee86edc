"""A receiver's life: prepare, start, stop, errors, several acquisitions, memory."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from lima2_bliss.contract import (
    AcqState,
    AcquisitionError,
    DeviceTimeoutError,
    NotAvailableError,
    ParameterError,
    SavingError,
    StateError,
)
from lima2_receivers.engine.plugin import FrameOutput

IDLE, PREPARED, RUNNING, FAULT = AcqState.IDLE, AcqState.PREPARED, AcqState.RUNNING, AcqState.FAULT


def wait_until_stopped(sink, source):
    assert source.stopped.wait(10)


def test_an_acquisition_runs_from_prepare_to_idle_and_finished(make_receiver):
    receiver = make_receiver()
    run = receiver.acquire(50)
    receiver.wait_state(IDLE)
    assert receiver.states == [PREPARED, RUNNING, IDLE]
    assert receiver.engine.state_revision == 3
    assert receiver.engine.nb_frames_xferred == 50
    assert run.status().counts.processed == 50
    assert receiver.engine.pipeline() is run
    assert list(receiver.engine.pipelines) == [run.uuid]


@pytest.mark.parametrize("depth", [1, 4])
def test_each_receiver_takes_its_share_in_blocks_of_the_accumulation(make_receiver, depth):
    shares = []
    for rank in range(2):
        receiver = make_receiver(rank=rank, nb_receivers=2)
        run = receiver.acquire(30, accumulation={"enabled": True, "nb_frames": depth})
        shares.append(run.log.read("frame_event", 0)["frame_idx"].tolist())
    assert sorted(shares[0] + shares[1]) == list(range(30))
    assert all(index // depth % 2 == rank for rank in range(2) for index in shares[rank])


def test_stop_in_the_middle_leaves_an_exact_finished_acquisition(make_receiver):
    receiver = make_receiver()
    run = receiver.prepare(0)
    receiver.engine.start()
    run.wait(lambda status: status.counts.processed > 20, 10)
    receiver.engine.stop()
    receiver.wait_state(IDLE)
    assert run.finished.wait(10)
    counts = run.status().counts
    assert counts.expected == -1
    assert counts.received + counts.lost == counts.processed + counts.invalid
    assert run.status().state == "finished"
    receiver.engine.stop()  # too late is harmless
    assert receiver.engine.state is IDLE


def test_commands_are_refused_in_the_wrong_state(make_receiver):
    receiver = make_receiver()
    with pytest.raises(StateError, match="receiver fake_1 is IDLE: Start is not allowed"):
        receiver.engine.start()
    with pytest.raises(ParameterError, match="acq_params and proc_params before Prepare"):
        receiver.engine.prepare("u")
    receiver.source.script = wait_until_stopped
    run = receiver.prepare()
    receiver.engine.start()
    with pytest.raises(StateError, match=r"RUNNING: Prepare is not allowed.*allowed now: Stop, Reset"):
        receiver.engine.prepare("v")
    with pytest.raises(StateError, match="is not finished"):
        receiver.engine.erase(run.uuid)
    receiver.engine.reset()
    assert receiver.engine.state is IDLE


def test_parameters_are_refused_before_anything_starts(make_receiver):
    engine = make_receiver().engine
    with pytest.raises(ParameterError, match=r"acq.expo: unknown"):
        engine.check_acquisition('{"acq": {"expo": 1}}')
    with pytest.raises(ParameterError, match="'Nope' is not a pipeline; allowed: LimaProcessingLegacy"):
        engine.check_processing('{"class_name": "Nope"}')
    with pytest.raises(ParameterError, match="not valid JSON"):
        engine.check_processing("{")
    with pytest.raises(ParameterError, match="processing parameters"):
        engine.check_processing("[1]")
    with pytest.raises(ParameterError, match="nb_fifo_frames = 1"):
        engine.check_processing('{"fifo": {"nb_fifo_frames": 1}}')
    assert engine.state is IDLE


def test_an_exception_of_the_source_is_a_fault_that_names_the_receiver(make_receiver):
    receiver = make_receiver()

    def break_down(sink, source):
        for local in range(5):
            source.give(sink, local)
        raise OSError("link down")

    receiver.source.script = break_down
    run = receiver.prepare(10, saving={"enabled": True})
    receiver.engine.start()
    receiver.wait_state(FAULT)
    assert "fake_1: OSError: link down" in str(receiver.engine.last_error)
    assert run.finished.wait(10)
    assert run.status().state == "failed"
    assert receiver.writers[0].closed == 1
    with pytest.raises(StateError, match="FAULT: Prepare is not allowed"):
        receiver.engine.prepare("next")
    receiver.engine.stop()
    assert receiver.engine.state is FAULT
    receiver.engine.reset()
    assert receiver.engine.last_error is None
    receiver.source.script = type(receiver.source)().script
    assert receiver.acquire(10).status().counts.processed == 10
    assert receiver.states[:3] == [PREPARED, RUNNING, FAULT]


def test_a_saving_error_ends_the_source_too(make_receiver):
    receiver = make_receiver()
    receiver.writer_settings = {"fail_at": 10}
    run = receiver.prepare(0, saving={"enabled": True})
    receiver.engine.start()
    receiver.wait_state(FAULT)
    assert isinstance(receiver.engine.last_error, SavingError)
    assert "fake_1" in str(receiver.engine.last_error)
    assert run.finished.wait(10)
    assert receiver.writers[0].closed == 1
    receiver.engine.reset()


def test_the_next_acquisition_runs_while_the_first_still_processes(make_receiver, doubles):
    gate = threading.Event()
    slow = []

    def make_graph(setup):
        slow.append(setup.uuid)
        first = len(slow) == 1

        def step(item):
            if first:
                assert gate.wait(doubles.WAIT_S)
            return doubles.statistics(item)

        return doubles.graph(setup, ordered=(doubles.Step(step),))

    receiver = make_receiver(make_graph=make_graph)
    first = receiver.prepare(20)
    receiver.engine.start()
    receiver.wait_state(IDLE)
    assert not first.finished.is_set()
    second = receiver.acquire(30)
    assert second.status().counts.processed == 30
    assert not first.finished.is_set()
    gate.set()
    assert first.finished.wait(10)
    assert first.status().counts.processed == 20
    assert list(receiver.engine.pipelines) == [first.uuid, second.uuid]


def test_an_old_acquisition_that_fails_does_not_disturb_the_running_one(make_receiver):
    receiver = make_receiver()
    gate = threading.Event()
    receiver.writer_settings = {"fail_at": 2, "gate": gate}
    first = receiver.prepare(10, saving={"enabled": True})
    receiver.engine.start()
    receiver.wait_state(IDLE)
    receiver.writer_settings = {}
    receiver.source.script = wait_until_stopped
    receiver.prepare(10)
    receiver.engine.start()
    gate.set()
    assert first.finished.wait(10)
    assert first.status().state == "failed"
    assert receiver.engine.state is RUNNING
    assert receiver.engine.last_error is None
    receiver.engine.stop()


def test_preparing_again_drops_the_one_that_never_started(make_receiver):
    receiver = make_receiver()
    erased = []
    receiver.engine.on_erased(erased.append)
    first = receiver.prepare(10, saving={"enabled": True})
    second = receiver.prepare(10)
    assert erased == [first.uuid]
    assert list(receiver.engine.pipelines) == [second.uuid]
    assert receiver.writers[0].closed == 1
    receiver.engine.stop()
    assert receiver.engine.state is IDLE
    assert erased == [first.uuid, second.uuid]
    assert receiver.engine.memory.used_bytes == 0


@pytest.mark.parametrize("failing", ["source", "writer", "memory", "graph"])
def test_a_prepare_that_fails_leaves_nothing_behind(make_receiver, doubles, failing):
    def make_graph(setup):
        setup.allocate(setup.input, 3)
        if failing == "graph":
            raise KeyError("mask")
        return doubles.graph(setup)

    receiver = make_receiver(make_graph=make_graph, memory_budget_bytes=100_000)
    processing = {"saving": {"enabled": True}, "buffers": {"nb_frames_buffer": 10, "nb_input_frames_buffer": 10}}
    expected = AcquisitionError
    if failing == "source":
        receiver.source.prepare_error = OSError("address in use")
    elif failing == "writer":
        expected = SavingError

        def refuse(saving, info, rank, metadata):
            raise SavingError("directory /nowhere does not exist")

        receiver.engine._make_writer = refuse
    elif failing == "memory":
        expected = ParameterError
        processing["buffers"] = {"nb_frames_buffer": 100_000}
    with pytest.raises(expected, match="receiver fake_1"):
        receiver.prepare(10, **processing)
    assert receiver.engine.state is IDLE
    assert receiver.engine.memory.used_bytes == 0
    assert not receiver.engine.pipelines
    assert all(writer.closed for writer in receiver.writers)
    receiver.source.prepare_error = None


def test_finished_acquisitions_are_erased_when_memory_is_needed(make_receiver, doubles):
    receiver = make_receiver(memory_budget_bytes=doubles.INFO.nbytes * 300)  # each takes fifo 100 + 20 + spare
    small = {"buffers": {"nb_frames_buffer": 20, "nb_input_frames_buffer": 20}}
    first = receiver.acquire(10, **small)
    second = receiver.acquire(10, **small)
    assert list(receiver.engine.pipelines) == [first.uuid, second.uuid]
    third = receiver.acquire(10, **small)
    assert list(receiver.engine.pipelines) == [second.uuid, third.uuid]
    with pytest.raises(NotAvailableError, match=f"no acquisition {first.uuid}; it has: {second.uuid}"):
        receiver.engine.pipeline(first.uuid)


def test_a_prepare_beyond_the_budget_erases_nothing_and_says_what_it_needs(make_receiver, doubles):
    gate = threading.Event()
    made = []

    def make_graph(setup):
        made.append(setup.uuid)
        waits = len(made) == 2

        def step(item):
            assert not waits or gate.wait(doubles.WAIT_S)
            return doubles.statistics(item)

        return doubles.graph(setup, ordered=(doubles.Step(step),))

    receiver = make_receiver(make_graph=make_graph, memory_budget_bytes=doubles.INFO.nbytes * 300)
    small = {"buffers": {"nb_frames_buffer": 20, "nb_input_frames_buffer": 20}}
    ended = receiver.acquire(10, **small)
    busy = receiver.prepare(10, **small)
    receiver.engine.start()
    receiver.wait_state(IDLE)
    with pytest.raises(ParameterError, match=f"receiver fake_1.*need.*memory budget of.*{busy.uuid}.*fewer buffers"):
        receiver.prepare(10, buffers={"nb_frames_buffer": 400})
    assert list(receiver.engine.pipelines) == [ended.uuid, busy.uuid]
    receiver.prepare(10, **small)
    assert ended.uuid not in receiver.engine.pipelines
    assert busy.uuid in receiver.engine.pipelines
    assert receiver.engine.end_of(ended.uuid).counts.processed == 10
    assert receiver.engine.memory.used_bytes == sum(run.memory_bytes for run in receiver.engine.pipelines.values())
    assert 0 <= busy.age_s <= ended.age_s < 60
    gate.set()


def test_no_more_than_so_many_acquisitions_are_kept(make_receiver):
    receiver = make_receiver(max_pipelines=3)
    for _ in range(6):
        receiver.acquire(3)
    assert len(receiver.engine.pipelines) == 3


def test_erase_frees_the_memory(make_receiver):
    receiver = make_receiver()
    run = receiver.acquire(10)
    receiver.engine.erase(run.uuid)
    assert receiver.engine.memory.used_bytes == 0
    assert not receiver.engine.pipelines
    with pytest.raises(NotAvailableError, match="no acquisition at all yet"):
        receiver.engine.pipeline()


def test_reset_from_running_aborts_and_keeps_what_there_is(make_receiver):
    receiver = make_receiver()
    run = receiver.prepare(0, saving={"enabled": True})
    receiver.engine.start()
    run.wait(lambda status: status.counts.processed > 5, 10)
    receiver.engine.reset()
    assert receiver.engine.state is IDLE
    assert receiver.engine.last_error is None
    assert run.finished.wait(10)
    assert "reset" in str(run.error)
    assert receiver.writers[0].closed == 1
    assert receiver.acquire(5).status().counts.processed == 5


def test_a_reset_takes_nothing_from_an_acquisition_that_has_all_its_frames(make_receiver, doubles):
    def all_and_linger(sink, source):
        assert all(source.give(sink, local) for local in range(10))
        assert source.stopped.wait(doubles.WAIT_S)

    receiver = make_receiver()
    receiver.source.script = all_and_linger
    run = receiver.prepare(10, saving={"enabled": True})
    receiver.engine.start()
    run.wait(lambda status: status.counts.received == 10, 10)
    receiver.engine.reset()
    assert receiver.engine.state is IDLE
    assert run.finished.wait(10)
    assert run.error is None
    assert run.status().counts.saved == 10


def test_a_source_that_does_not_stop_is_a_fault_with_what_to_do(make_receiver):
    receiver = make_receiver(stop_timeout_s=0.05, command_timeout_s=0.2)
    release = threading.Event()
    receiver.source.script = lambda sink, source: release.wait(10)
    receiver.prepare()
    receiver.engine.start()
    receiver.engine.stop()
    receiver.wait_state(FAULT)
    assert "did not end within 0.05 s after Stop" in str(receiver.engine.last_error)
    with pytest.raises(DeviceTimeoutError, match="restart the receiver process"):
        receiver.engine.reset()
    assert receiver.engine.state is FAULT
    release.set()
    receiver.engine._runner._thread.join(5)
    receiver.engine.reset()
    assert receiver.engine.state is IDLE


def test_no_command_waits_for_the_pipeline(make_receiver, doubles):
    gate = threading.Event()

    def hold(item):
        assert gate.wait(doubles.WAIT_S)
        return item

    receiver = make_receiver(
        make_graph=lambda setup: doubles.graph(setup, parallel=(doubles.Step(hold),)),
    )
    began = time.monotonic()
    first = receiver.prepare(5)
    receiver.engine.start()
    receiver.wait_state(IDLE)
    second = receiver.prepare(0)
    receiver.engine.start()
    receiver.engine.stop()
    receiver.wait_state(IDLE)
    receiver.engine.reset()
    assert time.monotonic() - began < 2
    gate.set()
    assert first.finished.wait(10)
    assert second.finished.wait(10)


def test_an_ending_process_closes_files_and_source(make_receiver):
    receiver = make_receiver()
    run = receiver.prepare(0, saving={"enabled": True})
    receiver.engine.start()
    run.wait(lambda status: status.counts.processed > 5, 10)
    receiver.engine.close()
    assert receiver.engine.state is AcqState.TERMINATE
    assert receiver.source.closed
    assert receiver.writers[0].closed == 1
    with pytest.raises(StateError, match="the process ends"):
        receiver.engine.prepare("x")


def test_acquisitions_one_after_the_other_use_the_same_memory(make_receiver):
    receiver = make_receiver(max_pipelines=2)
    held = []
    for _ in range(8):
        receiver.acquire(3)
        held.append(receiver.engine.memory.used_bytes + receiver.engine.memory.idle_bytes)
    assert held[2:] == held[1:2] * 6  # not one byte more from the second on


def test_parameters_are_checked_together_even_when_the_acquisition_is_given_last(make_receiver):
    receiver = make_receiver()
    checked = []

    def check(setup):
        checked.append(setup.acquisition.acq.nb_frames)
        if setup.acquisition.acq.nb_frames == 7:
            raise ParameterError("not with seven frames")

    offered = receiver.engine.pipeline_classes
    offered["LimaProcessingLegacy"] = replace(offered["LimaProcessingLegacy"], check=check)
    receiver.prepare(5)
    assert checked == [5]  # once, although there were two occasions
    receiver.engine.check_acquisition('{"acq": {"nb_frames": 7}}')
    with pytest.raises(ParameterError, match="receiver fake_1: not with seven frames"):
        receiver.engine.prepare("next")
    assert receiver.engine.state is IDLE


def test_raw_frames_can_be_saved_too(make_receiver, doubles):
    def make_graph(setup):
        outputs = {"input_frame": FrameOutput(setup.input, 5, setup.processing.saving)}
        return doubles.graph(setup, outputs=outputs)

    receiver = make_receiver(make_graph=make_graph)
    run = receiver.acquire(12, saving={"enabled": True})
    assert [entry[:2] for entry in receiver.writers[0].written] == [(index, index) for index in range(12)]
    assert run.status().counts.saved == 12
