"""The simulator in the real engines: a control and two receivers, no pipeline nodes."""

import json
import time
import uuid

import numpy as np
import pytest

from lima2_bliss.contract import AcqState, ImageTransform
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_receivers.detectors.simulator import PLUGIN, SimulatorParameters, expected_frame
from lima2_receivers.engine.control import ControlEngine
from lima2_receivers.engine.plugin import ControlContext, FrameOutput, PipelineClass, PipelineGraph, SourceContext
from lima2_receivers.engine.receiver import ReceiverEngine


def build(setup):
    shape = (setup.input.height, setup.input.width)
    outputs = {"frame": FrameOutput(setup.input, setup.processing.buffers.nb_frames_buffer)}
    return PipelineGraph([], [], [], outputs, ImageTransform(shape))


PIPELINE = PipelineClass("plain", "LimaProcessingLegacy", "core-1.2.0", LegacyParameters, lambda setup: None, build)


def no_writer(*_):
    raise AssertionError("nothing is saved here")


@pytest.fixture
def engines():
    receivers = [
        ReceiverEngine(f"r{rank}", PLUGIN, {"LimaProcessingLegacy": PIPELINE}, no_writer, rank, 2, context)
        for rank, context in enumerate([SourceContext("r0", {}), SourceContext("r1", {})])
    ]
    context = ControlContext("c", {}, lambda: [receiver.source_endpoints() for receiver in receivers])
    control = ControlEngine("c", PLUGIN, context)
    yield control, receivers
    control.shutdown()
    for receiver in receivers:
        receiver.close()


def prepare(engines, parameters):
    control, receivers = engines
    name = str(uuid.uuid1())
    for engine in (control, *receivers):
        engine.check_acquisition(parameters.model_dump_json())
    for receiver in receivers:
        receiver.check_processing(json.dumps({"buffers": {"nb_frames_buffer": 50}}))
    for engine in (*receivers, control):
        engine.prepare(name)
    return name


def wait(predicate, timeout_s=5.0):
    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_two_receivers_hold_what_the_simulator_made_acquisition_after_acquisition(engines):
    control, receivers = engines
    parameters = SimulatorParameters.model_validate(
        {
            "acq": {"nb_frames": 20, "expo_time": 1000},
            "det": {"size": {"x": 32, "y": 16}, "generator": {"type": "diffraction"}, "stamp_frame_number": True},
        }
    )
    for _ in range(3):
        name = prepare(engines, parameters)
        control.start()
        for receiver in receivers:
            receiver.start()
        for rank, receiver in enumerate(receivers):
            run = receiver.pipeline(name)
            assert run.finished.wait(5)
            assert run.error is None
            for index in range(rank, 20, 2):
                with run.stores["frame"].lease(index) as (pixels, meta):
                    np.testing.assert_array_equal(pixels, expected_frame(parameters, index))
                    assert meta.index == index
        assert control.nb_frames_acquired == 20
        control.close()
        wait(lambda: all(receiver.state == AcqState.IDLE for receiver in receivers))


def test_a_stop_leaves_both_receivers_at_the_same_cut(engines):
    control, receivers = engines
    parameters = SimulatorParameters.model_validate(
        {"acq": {"nb_frames": 0, "expo_time": 1000}, "det": {"size": {"x": 32, "y": 16}}}
    )
    name = prepare(engines, parameters)
    control.start()
    for receiver in receivers:
        receiver.start()
    wait(lambda: receivers[1].nb_frames_xferred > 10)
    for engine in (receivers[1], control, receivers[0]):
        engine.stop()
    counts = []
    for receiver in receivers:
        assert receiver.pipeline(name).finished.wait(2)
        counts.append(receiver.nb_frames_xferred)
    assert sum(counts) == control.nb_frames_acquired
    assert counts[0] - counts[1] in (0, 1)
