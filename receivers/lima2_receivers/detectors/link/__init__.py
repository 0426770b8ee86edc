"""How a detector's control talks to its receivers: small JSON messages over ZMQ PUSH -> PULL, by acquisition."""

from lima2_receivers.detectors.link.coding import MAX_MESSAGE_BYTES, LinkMessage, encode, make_decoder
from lima2_receivers.detectors.link.listener import Listener, Record
from lima2_receivers.detectors.link.transmitter import Transmitter

__all__ = [
    # what is said
    "MAX_MESSAGE_BYTES",
    "LinkMessage",
    "encode",
    "make_decoder",
    # who says it, who hears it
    "Listener",
    "Record",
    "Transmitter",
]
