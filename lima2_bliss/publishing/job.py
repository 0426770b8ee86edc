"""What a publisher is told to publish: receivers, streams with their Redis keys, limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator, model_validator

from lima2_bliss.contract import RoundRobin
from lima2_bliss.contract.parameters import Parameters
from lima2_bliss.contract.records import FRAME_EVENT_STREAM
from lima2_bliss.contract.wire import MAX_ROWS, STREAM_DTYPES
from lima2_bliss.publishing.stream_definition import StreamDefinition


class ReceiverAddress(Parameters):
    """A receiver: the name that errors show, and the address of its access server."""

    name: str = Field(min_length=1, max_length=256)
    endpoint: str = Field(pattern=r"^(tcp|ipc|inproc)://.+", max_length=512)


class StreamTarget(Parameters):
    """A stream and the Redis key under which BLISS created it."""

    definition: StreamDefinition
    key: str = Field(min_length=1, max_length=512)


class Budget(Parameters):
    """Redis memory that streams may take within ``window_s`` (Redis trims nothing younger than that).

    Previews and accumulated images are thinned to stay within theirs. Sparse frames, vectors and spots each stop for
    the rest of the scan when theirs is spent, or when Redis gets full: previews pause and sparse frames stop above
    ``redis_fill``, the others in that order on the way from there to 1. Scalars always go on.
    """

    vector_bytes: int = Field(256 << 20, ge=0)
    sparse_bytes: int = Field(128 << 20, ge=0)
    spots_bytes: int = Field(512 << 20, ge=0)
    preview_bytes: int = Field(64 << 20, ge=0)
    accumulated_bytes: int = Field(32 << 20, ge=0)
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

    ``rows_per_frame`` and ``row_counts`` describe the receivers' result streams: those with the same number of rows in
    every frame, and those of which an integer column of another stream, (stream, column), counts the rows.
    ``first_frame``: frames that the scan's earlier acquisitions gave (added to the indices of image and spots).
    ``saved`` says what ``last_index_saved`` counts: complete files of a single receiver (``receiver_files``), or what
    `finish` is told once the master file is written (``master``).
    """

    uuid: str = Field(min_length=1, max_length=64)
    redis_url: str = Field(pattern=r"^(redis|rediss|unix)://.+", max_length=512)
    receivers: list[ReceiverAddress] = Field(min_length=1, max_length=256)
    block: int = Field(1, ge=1, le=1_000_000, description="dispatch block of the processed frames")
    nb_frames: int = Field(0, ge=0, description="processed frames expected; 0 endless")
    rows_per_frame: dict[str, int] = Field(max_length=64, description="rows per frame of each result stream")
    row_counts: dict[str, tuple[str, str]] = Field(
        default_factory=dict, max_length=64, description="result streams whose rows are counted: (stream, column)"
    )
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
        _check_known(rows)
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
        self._check_counts()
        for target in self.streams:
            if target.definition.kind in ("scalar", "vector", "hit_rate", "flat", "flat_frame"):
                self._check_source(target.definition)
        return self

    def _check_counts(self) -> None:
        _check_known(self.row_counts)
        for name, (counting, column) in self.row_counts.items():
            if name in self.rows_per_frame:
                raise ValueError(f"result stream {name!r} is in rows_per_frame and in row_counts; it can be in one")
            if self.rows_per_frame.get(counting) != 1:
                raise ValueError(
                    f"row_counts of {name!r}: {counting!r} must be in rows_per_frame with one row per frame"
                )
            dtype = STREAM_DTYPES[counting]
            if column not in (dtype.names or ()) or dtype[column].kind not in "iu":
                raise ValueError(f"row_counts of {name!r}: {counting!r} has no integer column {column!r}")

    def _check_source(self, definition: StreamDefinition) -> None:
        name, source = definition.name, definition.source
        if definition.kind in ("flat", "flat_frame"):
            if source not in self.row_counts:
                raise ValueError(f"stream {name}: row_counts does not say how many rows of {source!r} a frame has")
        else:
            rows = self.rows_per_frame.get(source, 0)
            if definition.row + (definition.shape[0] if definition.kind == "vector" else 1) > rows:
                raise ValueError(f"stream {name} is beyond the {rows} rows of {source!r}")
        if definition.kind == "hit_rate" and self.rows_per_frame.get(FRAME_EVENT_STREAM) != 1:
            raise ValueError(f"stream {name} needs {FRAME_EVENT_STREAM!r} in rows_per_frame: only good frames count")
        if definition.kind != "flat_frame" and definition.column not in (STREAM_DTYPES[source].names or ()):
            raise ValueError(f"stream {name}: {source!r} has no column {definition.column!r}")

    def dispatch(self) -> RoundRobin:
        """Which receiver has which processed frame."""
        return RoundRobin(len(self.receivers), self.block)

    def of_kind(self, *kinds: str) -> list[StreamTarget]:
        """The streams of these kinds."""
        return [target for target in self.streams if target.definition.kind in kinds]

    def optional_rows(self) -> set[str]:
        """Result streams that publishing can do without when their rows come no more: of vectors and flat streams."""
        needed = {target.definition.source for target in self.of_kind("scalar", "hit_rate")} | {FRAME_EVENT_STREAM}
        optional = {target.definition.source for target in self.of_kind("vector", "flat", "flat_frame")} - needed
        return optional if set(self.rows_to_read()[0]) - optional else set()

    def rows_to_read(self) -> tuple[dict[str, int], dict[str, tuple[str, str]]]:
        """``rows_per_frame`` and ``row_counts`` of the result streams that the streams need, directly or to count."""
        sources = {target.definition.source for target in self.streams} | {FRAME_EVENT_STREAM}
        counted = {name: by for name, by in self.row_counts.items() if name in sources}
        sources |= {counting for counting, _column in counted.values()}
        fixed = {name: rows for name, rows in self.rows_per_frame.items() if name in sources}
        return fixed or dict(self.rows_per_frame), counted


def _check_known(names: Iterable[str]) -> None:
    if unknown := sorted(set(names) - set(STREAM_DTYPES)):
        raise ValueError(f"unknown result streams {', '.join(unknown)}; known: {', '.join(STREAM_DTYPES)}")
