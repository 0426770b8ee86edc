"""What the control of a Jungfrau tells its receivers: JSON messages over ZMQ PUSH -> PULL.

``begin``    the acquisition is prepared: the number that its first frame has in the packets' headers.
``exposed``  how many frames of it, of the whole system, have been exposed; sent again and again while it runs (see
             `EXPOSED_PERIOD_S`), it also says that the control is alive.
``end``      frames from global index ``total`` on will not come: the cut of a stop, or all were exposed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lima2_receivers.detectors.link import LinkMessage, encode, make_decoder

__all__ = [
    # what is said
    "BeginMessage",
    "EndMessage",
    "ExposedMessage",
    "Message",
    "decode",
    "encode",
    # names and times
    "ENDPOINT",
    "EXPOSED_PERIOD_S",
    "UDP_ENDPOINT",
]

#: Names of a source's addresses in `Source.endpoints`: where messages go, and the first UDP port.
ENDPOINT, UDP_ENDPOINT = "link", "udp"

#: How often the control says `ExposedMessage` from `begin` to `end` [s].
EXPOSED_PERIOD_S = 0.2

#: More frames than any acquisition has.
ENDLESS = 1 << 62


class BeginMessage(LinkMessage):
    """``first_number``: None when it is not known and has to be learned. ``total``: frames of all, 0: no end."""

    op: Literal["begin"] = "begin"
    first_number: int | None = Field(ge=0, lt=ENDLESS)
    total: int = Field(0, ge=0, le=ENDLESS)


class ExposedMessage(LinkMessage):
    """How many frames have been exposed so far."""

    op: Literal["exposed"] = "exposed"
    count: int = Field(ge=0, le=ENDLESS)


class EndMessage(LinkMessage):
    """The cut: how many frames the acquisition has."""

    op: Literal["end"] = "end"
    total: int = Field(ge=0, le=ENDLESS)


Message = BeginMessage | ExposedMessage | EndMessage

#: The message in some bytes; `ProtocolError` or `ParameterError` when there is none.
decode = make_decoder(BeginMessage, ExposedMessage, EndMessage)
