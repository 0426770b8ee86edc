"""What the control tells receivers, as bytes."""

import pytest

from lima2_bliss.contract import ParameterError, ProtocolError
from lima2_receivers.detectors.jungfrau.messages import BeginMessage, EndMessage, ExposedMessage, decode, encode


@pytest.mark.parametrize(
    "message",
    [
        BeginMessage(uuid="a", first_number=1006, total=10),
        BeginMessage(uuid="a", first_number=None),
        ExposedMessage(uuid="a", count=0),
        EndMessage(uuid="a", total=2**40),
    ],
)
def test_a_message_comes_back_as_it_was(message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"op": "train"}', b"[" * 4000, b"\xff", b" " * 5000])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ProtocolError):
        decode(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"op":"begin","uuid":"a","total":1}', "first_number"),
        (b'{"op":"begin","uuid":"a","first_number":-1}', "first_number"),
        (b'{"op":"exposed","uuid":"a","count":1e30}', "count"),
        (b'{"op":"end","uuid":"a","total":1,"more":2}', "more"),
        (b'{"op":"end","uuid":"' + b"a" * 65 + b'","total":1}', "uuid"),
    ],
)
def test_a_message_with_wrong_fields_is_refused(data, text):
    with pytest.raises(ParameterError, match=text):
        decode(data)
