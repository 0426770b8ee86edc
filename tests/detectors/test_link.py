"""The link from a detector's control to its receivers: messages by acquisition, also those that come early or late."""

import threading
import time
from typing import Literal

import pytest
import zmq

from lima2_bliss.contract import ParameterError, StateError
from lima2_receivers.detectors.link import LinkMessage, Listener, Transmitter, make_decoder


class Word(LinkMessage):
    op: Literal["word"] = "word"
    word: str


class Words:
    def __init__(self, uuid):
        self.uuid = uuid
        self.heard = []

    def apply(self, message):
        self.heard.append(message.word)


def wait_for(condition):
    deadline = time.monotonic() + 10
    never = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.001)


@pytest.fixture
def link():
    listener, transmitter = Listener("127.0.0.1", make_decoder(Word), Words), Transmitter()
    transmitter.connect([listener.endpoint])
    yield listener, transmitter
    transmitter.close()
    listener.close()
    listener.close()


def test_words_come_in_order_also_those_from_before_the_acquisition_was_prepared(link):
    listener, transmitter = link
    for word in ("early", "too"):
        transmitter.send(Word(uuid="a", word=word))
    record = listener.record("a")
    transmitter.send(Word(uuid="b", word="of another"))
    transmitter.send(Word(uuid="a", word="late"))
    wait_for(lambda: len(record.heard) == 3)
    assert record.heard == ["early", "too", "late"]
    assert listener.record("a") is record


def test_words_about_what_is_over_are_dropped_and_counted(link):
    listener, transmitter = link
    record = listener.record("a")
    listener.finish("a")
    transmitter.send(Word(uuid="a", word="late"))
    wait_for(lambda: listener.stale == 1)
    assert not record.heard
    with pytest.raises(StateError, match="over on this receiver"):
        listener.record("a")


def test_noise_is_counted_and_harms_nobody(link):
    listener, transmitter = link
    record = listener.record("a")
    with zmq.Context() as context, context.socket(zmq.PUSH) as stranger:
        stranger.connect(listener.endpoint)
        for noise in (b"", b"{}", b'{"op":"word","uuid":"a"}', b"\xff" * 100):
            stranger.send(noise)
        wait_for(lambda: listener.refused == 4)
    transmitter.send(Word(uuid="a", word="clear"))
    wait_for(lambda: record.heard == ["clear"])


def test_an_address_that_cannot_be_listened_on_is_named():
    with pytest.raises(ParameterError, match=r"bind_address '192\.0\.2\.1'"):
        Listener("192.0.2.1", make_decoder(Word), Words)
