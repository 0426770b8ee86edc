"""Messages as bytes: one JSON object each, small, known by its ``op``, of the acquisition ``uuid``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import Field

from lima2_bliss.contract import ProtocolError
from lima2_bliss.contract.parameters import Parameters, parse

MAX_MESSAGE_BYTES = 4096


class LinkMessage(Parameters):
    """A message about one acquisition; each kind of message gives ``op`` another constant value."""

    op: str
    uuid: str = Field(max_length=64)


def encode(message: LinkMessage) -> bytes:
    """Message as the bytes to send."""
    return message.model_dump_json().encode()


def make_decoder(*models: type[LinkMessage]) -> Callable[[bytes], Any]:
    """A function that gives the message in some bytes; `ProtocolError` or `ParameterError` when there is none."""
    known = {model.model_fields["op"].default: model for model in models}

    def decode(data: bytes) -> LinkMessage:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES}")
        try:
            content = json.loads(data)
            model = known[content["op"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ProtocolError(f"not a message; known: {', '.join(known)}") from None
        return parse(model, content, "message")

    return decode
