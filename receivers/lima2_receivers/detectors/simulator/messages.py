"""What the simulated detector's control tells its receivers: JSON messages over ZMQ PUSH -> PULL.

``train``  frames that are (going to be) exposed, and when. Trains come in order and without gaps.
``lease``  frames whose exposure is over by ``until_ns`` are certain: no stop will take them back. Receivers deliver
           only such frames, so that the cut of a stop, taken at the last lease given, is the same on all of them.
           Sent again and again, it also says that the control is alive.
``end``    frames from global index ``total`` on will not come.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from lima2_bliss.contract import ProtocolError
from lima2_bliss.contract.parameters import Parameters, parse
from lima2_receivers.detectors.simulator.timing import ENDLESS, Train

MAX_MESSAGE_BYTES = 4096


class TrainMessage(Parameters):
    """Frames to come."""

    op: Literal["train"] = "train"
    uuid: str = Field(max_length=64)
    train: Train


class LeaseMessage(Parameters):
    """How far in time exposures are certain."""

    op: Literal["lease"] = "lease"
    uuid: str = Field(max_length=64)
    until_ns: int = Field(ge=0, le=1 << 62)


class EndMessage(Parameters):
    """The cut."""

    op: Literal["end"] = "end"
    uuid: str = Field(max_length=64)
    total: int = Field(ge=0, le=ENDLESS)


Message = TrainMessage | LeaseMessage | EndMessage
_MESSAGES: dict[str, type[Parameters]] = {"train": TrainMessage, "lease": LeaseMessage, "end": EndMessage}


def encode(message: Message) -> bytes:
    """Message as the bytes to send."""
    return message.model_dump_json().encode()


def decode(data: bytes) -> Message:
    """The message in some bytes; `ProtocolError` or `ParameterError` when there is none."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES}")
    try:
        content = json.loads(data)
        model = _MESSAGES[content["op"]]
    except (ValueError, TypeError, KeyError):
        raise ProtocolError(f"not a message; known: {', '.join(_MESSAGES)}") from None
    return parse(model, content, "message")  # type: ignore[return-value]
