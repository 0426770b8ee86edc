"""The access protocol of a receiver: requests and replies of its ZMQ server (ROUTER; one JSON part, then raw parts).

A client sends ``[request]`` from a DEALER or REQ socket and gets ``[reply, part, part, ...]``. Requests and replies are
JSON objects; ``id`` of the request comes back in the reply. Pixels and rows are raw little-endian parts, so nothing is
ever unpickled. Every list, wait and reply is bounded by the limits below.

Operations:

``hello``    -> ``{"device", "rank", "receivers", "pid", "pipelines": [uuid, ...], "protocol"}``
``status``   ``{"uuid"}`` -> ``{"status": {...}}``, a `PipelineStatus` as a dict
``results``  ``{"uuid", "positions": {stream: row}, "wait_ms"}`` -> status at once when there is any new row, or when
             the status differs from ``seen`` (the ``revision`` that the client has), else after ``wait_ms``.
             Reply ``{"status": {...}, "streams": [{"name", "position", "rows"}]}`` and one part of rows per stream.
             A stream whose rows from ``position`` on are not kept any more has ``"gone": first row kept`` and no rows.
``frames``   ``{"uuid", "source", "indices": [global, ...] | [-1]}`` -> ``{"frames": [{"index", "flags",
             "timestamp_ns"} | {"index", "error", "kind"}], "dtype", "shape"}`` and one part of pixels per good frame.
             A reply ends early (shorter list than asked) when `MAX_REPLY_BYTES` is reached; ask again for the rest.
An error is ``{"error": {"what", "errinfo"}}`` as in `lima2_bliss.contract.errors`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
from pydantic import Field

from lima2_bliss.contract.errors import Lima2Error, NoLongerAvailableError, ProtocolError, error_from_json
from lima2_bliss.contract.parameters.strict import Parameters, parse
from lima2_bliss.contract.records import (
    BACKGROUND_BIN,
    FRAME_EVENT,
    FRAME_IDX,
    ROI_STATISTICS,
    SMX_FRAME,
    SPARSE_PIXEL,
    SPOT,
)

PROTOCOL = 1
MAX_REQUEST_BYTES = 1 << 20
MAX_REPLY_BYTES = 64 << 20
MAX_INDICES = 4096
MAX_WAIT_MS = 2000
#: Rows of one stream in one reply.
MAX_ROWS = 1 << 18
CURRENT = ""  # uuid that means the newest pipeline

#: dtype of the rows of each stream by name; a client that meets another name ignores it.
STREAM_DTYPES: dict[str, np.dtype] = {
    "roi_statistics": ROI_STATISTICS,
    "roi_profiles": ROI_STATISTICS,
    "frame_idx": FRAME_IDX,
    "frame_event": FRAME_EVENT,
    "smx_frame": SMX_FRAME,
    "background": BACKGROUND_BIN,
    "spots": SPOT,
    "sparse": SPARSE_PIXEL,
}


class HelloRequest(Parameters):
    """Who are you."""

    op: str = "hello"
    id: int = 0


class StatusRequest(Parameters):
    """State and counts of a pipeline."""

    op: str = "status"
    id: int = 0
    uuid: str = Field(CURRENT, max_length=64)


class ResultsRequest(Parameters):
    """Rows from given positions on, waiting for new ones."""

    op: str = "results"
    id: int = 0
    uuid: str = Field(CURRENT, max_length=64)
    positions: dict[str, int] = Field(default_factory=dict, max_length=64)
    seen: int = Field(-1, description="revision of the last status seen; -1: none")
    wait_ms: int = Field(0, ge=0, le=MAX_WAIT_MS)


class FramesRequest(Parameters):
    """Frames by global index; [-1] is the newest."""

    op: str = "frames"
    id: int = 0
    uuid: str = Field(CURRENT, max_length=64)
    source: str = Field("frame", max_length=64)
    indices: list[int] = Field(min_length=1, max_length=MAX_INDICES)


Request = HelloRequest | StatusRequest | ResultsRequest | FramesRequest
_REQUESTS: dict[str, type[Parameters]] = {
    "hello": HelloRequest,
    "status": StatusRequest,
    "results": ResultsRequest,
    "frames": FramesRequest,
}


class Counts(Parameters):
    """Exact counts of one receiver and acquisition; ``expected`` is -1 when endless.

    Once all is done: received + lost == expected (or the cut of a stop); processed + invalid == received +
    lost (divided by the accumulation depth); saved == processed + invalid if saving
    (an invalid frame is a marked hole); ``vetoed`` of the saved ones are holes because they were not to be saved.
    ``hits`` of the processed ones are hits, where the pipeline finds any.
    """

    expected: int = -1
    received: int = 0
    lost: int = 0
    overrun: int = 0
    invalid: int = 0
    processed: int = 0
    saved: int = 0
    vetoed: int = 0
    stored: int = 0
    waiting: int = 0
    hits: int = 0


class SourceStatus(Parameters):
    """What a receiver says of one frame source. ``saved`` counts places in files, vetoed ones included."""

    frame_info: dict[str, Any] = Field(default_factory=dict)
    last_index: int = -1  # global index of the newest frame kept
    saved: int = 0
    vetoed: int = 0
    files: int = 0  # complete files
    saved_contiguous: int = 0  # local frames in complete files


class PipelineStatus(Parameters):
    """What a receiver says of one of its pipelines. ``revision`` grows with every change.

    ``frame_info``, ``files``, ``saved_contiguous`` and the counts are those of source ``frame`` (if it is not saved,
    the last two of one that is); ``sources`` has them all. ``intake``: what the source counted beside frames, by name
    (packets, ...); ``warnings``: what users should know of it.
    """

    uuid: str
    pipeline: str = ""
    revision: int = 0
    state: str = "running"  # prepared, running, finished, failed
    source_done: bool = False
    processing_done: bool = False  # every frame has gone through the pipeline; files may still be written
    error: str = ""  # JSON of a Lima2Error, empty if none
    counts: Counts = Counts()
    last_index: int = -1  # global index of the newest processed frame
    frame_info: dict[str, Any] = Field(default_factory=dict)  # of source "frame"
    input_frame_info: dict[str, Any] = Field(default_factory=dict)
    files: int = 0  # complete files
    saved_contiguous: int = 0  # local frames in complete files
    sources: dict[str, SourceStatus] = Field(default_factory=dict)
    intake: dict[str, int] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


def encode_request(request: Request) -> bytes:
    """Request as the bytes to send."""
    return request.model_dump_json().encode()


def decode_request(data: bytes) -> Request:
    """The request a peer sent; `ProtocolError` or `ParameterError` when it is not one."""
    if len(data) > MAX_REQUEST_BYTES:
        raise ProtocolError(f"request of {len(data)} bytes; at most {MAX_REQUEST_BYTES}")
    try:
        content = json.loads(data)
        model = _REQUESTS[content["op"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ProtocolError(f"not a request; known operations: {', '.join(_REQUESTS)}") from None
    return parse(model, content, "request")  # type: ignore[return-value]


def encode_reply(content: dict[str, Any]) -> bytes:
    """JSON part of a reply."""
    return json.dumps(content).encode()


def encode_error(error: Lima2Error, request_id: int = 0) -> bytes:
    """JSON part of a reply that is an error."""
    return encode_reply({"id": request_id, "error": json.loads(error.to_json())})


def decode_reply(data: bytes | memoryview) -> dict[str, Any]:
    """The JSON part of a reply; raises the error that it carries."""
    try:
        content = json.loads(bytes(data))
    except ValueError:
        raise ProtocolError("reply is not JSON") from None
    if not isinstance(content, dict):
        raise ProtocolError("reply is not an object")
    if "error" in content:
        raise error_from_json(json.dumps(content["error"]))
    return content


def gone_streams(reply: dict[str, Any]) -> dict[str, int]:
    """Streams of a ``results`` reply whose rows at the asked position are not kept any more: first row that is kept."""
    return {stream["name"]: int(stream["gone"]) for stream in reply.get("streams", ()) if "gone" in stream}


def decode_rows(reply: dict[str, Any], parts: list[Any], without: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Rows by stream name of a ``results`` reply; `NoLongerAvailableError` when some are not kept any more.

    Streams ``without`` which the caller can do may be gone.
    """
    for name, first in gone_streams(reply).items():
        if name not in without:
            raise NoLongerAvailableError(
                f"rows of stream {name} were dropped before they were read; the oldest kept is {first}", stream=name
            )
    rows: dict[str, np.ndarray] = {}
    for stream, part in zip(reply.get("streams", ()), parts, strict=True):
        dtype = STREAM_DTYPES.get(stream["name"])
        if dtype is not None:
            rows[stream["name"]] = np.frombuffer(part, dtype)
    return rows
