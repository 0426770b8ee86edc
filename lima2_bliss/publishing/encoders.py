"""The encoder of a stream, as blissdata has it."""

from __future__ import annotations

from typing import Any

from lima2_bliss.publishing.blissdata_access import json_encoder, numeric_encoder
from lima2_bliss.publishing.stream_definition import StreamDefinition


def encoder_of(definition: StreamDefinition) -> Any:
    """The encoder with which BLISS created the stream of this definition."""
    if definition.kind == "image":
        return json_encoder()
    return numeric_encoder(definition.dtype, definition.shape)
