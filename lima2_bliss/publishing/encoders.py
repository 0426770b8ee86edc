"""blissdata's own stream encoders, wherever the installed version keeps them (1.1.4 and 2.x)."""

from __future__ import annotations

import importlib
from typing import Any

from lima2_bliss.publishing.stream_definition import StreamDefinition


def _encoding_module(name: str) -> Any:
    try:
        return importlib.import_module(f"blissdata.redis_engine.encoding.{name}")
    except ModuleNotFoundError:
        return importlib.import_module(f"blissdata.streams.encoding.{name}")


def encoder_of(definition: StreamDefinition) -> Any:
    """The encoder with which BLISS created the stream of this definition."""
    if definition.kind == "image":
        return _encoding_module("json").JsonStreamEncoder()
    return _encoding_module("numeric").NumericStreamEncoder(definition.dtype, definition.shape)
