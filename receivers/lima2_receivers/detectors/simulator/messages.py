"""What the simulated detector's control tells its receivers: JSON messages over ZMQ PUSH -> PULL.

``train``  frames that are (going to be) exposed, and when. Trains come in order and without gaps.
``lease``  frames whose exposure is over by ``until_ns`` are certain: no stop will take them back. Receivers deliver
           only such frames, so that the cut of a stop, taken at the last lease given, is the same on all of them.
           Sent again and again, it also says that the control is alive.
``end``    frames from global index ``total`` on will not come.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lima2_receivers.detectors.link import LinkMessage, encode, make_decoder
from lima2_receivers.detectors.simulator.timing import ENDLESS, Train

__all__ = ["EndMessage", "LeaseMessage", "Message", "TrainMessage", "decode", "encode"]


class TrainMessage(LinkMessage):
    """Frames to come."""

    op: Literal["train"] = "train"
    train: Train


class LeaseMessage(LinkMessage):
    """How far in time exposures are certain."""

    op: Literal["lease"] = "lease"
    until_ns: int = Field(ge=0, le=1 << 62)


class EndMessage(LinkMessage):
    """The cut."""

    op: Literal["end"] = "end"
    total: int = Field(ge=0, le=ENDLESS)


Message = TrainMessage | LeaseMessage | EndMessage

#: The message in some bytes; `ProtocolError` or `ParameterError` when there is none.
decode = make_decoder(TrainMessage, LeaseMessage, EndMessage)
