"""The control's messages: sorting, limits, and receivers that do not listen."""

import socket

import pytest
import zmq

from lima2_bliss.contract import AcquisitionError, ParameterError, ProtocolError
from lima2_receivers.detectors.link import Transmitter
from lima2_receivers.detectors.simulator import SimulatorParameters
from lima2_receivers.detectors.simulator.generators import describe
from lima2_receivers.detectors.simulator.messages import EndMessage, LeaseMessage, TrainMessage, decode, encode
from lima2_receivers.detectors.simulator.prefetch import Prefetch
from lima2_receivers.detectors.simulator.schedule import Schedule
from lima2_receivers.detectors.simulator.timing import Train

TRAIN = Train(first=0, count=4, start_ns=0, exposure_ns=10, frame_period_ns=10, per_trigger=4)


@pytest.mark.parametrize(
    "message",
    [
        TrainMessage(uuid="a", train=TRAIN),
        LeaseMessage(uuid="a", until_ns=2**61),
        EndMessage(uuid="a", total=0),
    ],
)
def test_a_message_comes_back_as_it_was(message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"op": ["train"]}', b"\xff\xfe", b" " * 5000])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ProtocolError):
        decode(data)


@pytest.mark.parametrize("data", [b'{"op":"end","uuid":"a"}', b'{"op":"end","uuid":"a","total":-1}'])
def test_a_message_with_wrong_fields_is_refused(data):
    with pytest.raises(ParameterError, match="total"):
        decode(data)


def test_a_receiver_that_takes_nothing_is_named_and_the_others_are_served():
    with zmq.Context() as context, context.socket(zmq.PULL) as listening, socket.socket() as nobody:
        port = listening.bind_to_random_port("tcp://127.0.0.1")
        nobody.bind(("127.0.0.1", 0))  # holds the port, and does not listen
        silent = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        transmitter = Transmitter(linger_ms=0, max_waiting=20)
        try:
            transmitter.connect([f"tcp://127.0.0.1:{port}", silent])
            for total in range(20):
                transmitter.send(EndMessage(uuid="a", total=total))
            for total in range(20):
                assert listening.poll(2000)
                assert decode(listening.recv()) == EndMessage(uuid="a", total=total)
            with pytest.raises(AcquisitionError, match=r"^receiver 1 .* does not take"):
                transmitter.send(EndMessage(uuid="a", total=20))
            assert listening.poll(2000)
        finally:
            transmitter.close()


def test_an_address_that_is_none_is_named():
    transmitter = Transmitter()
    try:
        with pytest.raises(ParameterError, match="nonsense"):
            transmitter.connect(["nonsense"])
    finally:
        transmitter.close()


def test_frames_beyond_the_lease_wait_and_the_cut_sets_them_free_or_ends_them():
    schedule = Schedule("a")
    schedule.apply(TrainMessage(uuid="a", train=TRAIN))
    schedule.apply(LeaseMessage(uuid="a", until_ns=20))
    assert schedule.wait_exposed(1, 1)
    with pytest.raises(AcquisitionError, match="silent"):
        schedule.wait_exposed(2, 0.05)
    schedule.apply(EndMessage(uuid="a", total=3))
    assert schedule.wait_exposed(2, 0.05)
    assert not schedule.wait_exposed(3, 0.05)


def test_a_frame_that_cannot_be_computed_is_reported_to_who_waits(tmp_path):

    parameters = SimulatorParameters.model_validate({"det": {"size": {"x": 8, "y": 8}}})
    content = describe(parameters)
    parameters.det.generator.type = "file"  # which was never there
    parameters.det.generator.file.path = str(tmp_path / "gone.h5")
    prefetch = Prefetch(parameters, content, [0, 1])
    with pytest.raises(ParameterError, match="gone"):
        prefetch.wait_ahead(2, 1.0, 5.0)
    with pytest.raises(AcquisitionError, match="cannot be computed"):
        prefetch.frame(0, 5.0, lambda: False)
    assert not prefetch.serves(content, [0])
