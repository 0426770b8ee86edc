"""What a publisher is told to publish: receivers, streams with their Redis keys, limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lima2_bliss.contract import RoundRobin
from lima2_bliss.contract.parameters import Parameters
from lima2_bliss.contract.wire import MAX_ROWS, STREAM_DTYPES
from lima2_bliss.publishing.streams import StreamDefinition


class ReceiverAddress(Parameters):
    """A receiver: the name that errors show, and the address of its access server."""

    name: str = Field(min_length=1, max_length=256)
    endpoint: str = Field(pattern=r"^(tcp|ipc|inproc)://.+", max_length=512)


class StreamTarget(Parameters):
    """A stream and the Redis key under which BLISS created it."""

    definition: StreamDefinition
    key: str = Field(min_length=1, max_length=512)


class Budget(Parameters):
    """Redis memory that vectors and previews may take within ``window_s`` (Redis trims nothing younger than that).

    Previews are thinned to stay within theirs; vectors stop for the rest of the acquisition when theirs is spent, or
    when Redis is filled above ``redis_fill``. Scalars always go on.
    """

    vector_bytes: int = Field(256 << 20, ge=0)
    preview_bytes: int = Field(64 << 20, ge=0)
    window_s: float = Field(210.0, gt=0, description="blissdata's memory tracker: 180 s, looked at every 30 s")
    redis_fill: float = Field(0.85, gt=0, le=1)


class Limits(Parameters):
    """How long the publisher waits before it gives up, seconds."""

    connect_timeout_s: float = Field(3.0, gt=0, le=60, description="to reach a receiver at the beginning")
    reply_timeout_s: float = Field(5.0, gt=0, le=60, description="a receiver that is connected but does not answer")
    redis_timeout_s: float = Field(5.0, gt=0, le=60, description="Redis gone: tried again for this long")
    memory_timeout_s: float = Field(60.0, ge=0, le=600, description="Redis full: rows wait for this long after Finish")
    drain_timeout_s: float = Field(10.0, gt=0, le=600, description="after Finish: no further row for this long")


class PublishJob(Parameters):
    """Publish the results of acquisition ``uuid`` into existing streams.

    ``first_frame``: frames that the scan's earlier acquisitions gave (added to the image stream's indices).
    ``saved`` says what ``last_index_saved`` counts: complete files of a single receiver (``receiver_files``), or what
    `finish` is told once the master file is written (``master``).
    """

    uuid: str = Field(min_length=1, max_length=64)
    redis_url: str = Field(pattern=r"^(redis|rediss|unix)://.+", max_length=512)
    receivers: list[ReceiverAddress] = Field(min_length=1, max_length=256)
    block: int = Field(1, ge=1, le=1_000_000, description="dispatch block of the processed frames")
    nb_frames: int = Field(0, ge=0, description="processed frames expected; 0 endless")
    rows_per_frame: dict[str, int] = Field(max_length=64, description="rows per frame of each result stream to read")
    streams: list[StreamTarget] = Field(max_length=32_768)
    first_frame: int = Field(0, ge=0)
    preview_rate_hz: float = Field(2.0, gt=0, le=50)
    saved: Literal["none", "receiver_files", "master"] = "none"
    budget: Budget = Budget()
    limits: Limits = Limits()

    @field_validator("rows_per_frame")
    @classmethod
    def _some_rows(cls, rows: dict[str, int]) -> dict[str, int]:
        if not rows or any(not 1 <= count <= MAX_ROWS for count in rows.values()):
            raise ValueError(f"needs at least one result stream, each with 1 to {MAX_ROWS} rows per frame")
        if unknown := sorted(set(rows) - set(STREAM_DTYPES)):
            raise ValueError(f"unknown result streams {', '.join(unknown)}; known: {', '.join(STREAM_DTYPES)}")
        return rows

    @field_validator("streams")
    @classmethod
    def _streams_differ(cls, streams: list[StreamTarget]) -> list[StreamTarget]:
        if len({target.key for target in streams}) < len(streams):
            raise ValueError("two streams with one key")
        if len({target.definition.name for target in streams}) < len(streams):
            raise ValueError("two streams with one name")
        return streams

    @model_validator(mode="after")
    def _consistent(self) -> PublishJob:
        if self.saved == "receiver_files" and len(self.receivers) > 1:
            raise ValueError("saved = receiver_files is for one receiver; several need a master file")
        for target in self.of_kind("scalar", "vector"):
            definition = target.definition
            rows = self.rows_per_frame.get(definition.source, 0)
            if definition.row + (definition.shape[0] if definition.kind == "vector" else 1) > rows:
                raise ValueError(f"stream {definition.name} is beyond the {rows} rows of {definition.source!r}")
            if definition.column not in (STREAM_DTYPES[definition.source].names or ()):
                raise ValueError(f"stream {definition.name}: {definition.source!r} has no column {definition.column!r}")
        return self

    def dispatch(self) -> RoundRobin:
        """Which receiver has which processed frame."""
        return RoundRobin(len(self.receivers), self.block)

    def of_kind(self, *kinds: str) -> list[StreamTarget]:
        """The streams of these kinds."""
        return [target for target in self.streams if target.definition.kind in kinds]
