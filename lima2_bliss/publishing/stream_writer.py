"""Writes points into existing blissdata streams: one Redis round trip for all streams of a batch.

An entry's id is ``<index of its first point>-1``, as blissdata's own writer has it, so Redis itself refuses a gap
backwards or a second writer. After a lost connection the streams' real lengths say what arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError  # type: ignore[attr-defined]
from redis.retry import Retry

from lima2_bliss.contract import AcquisitionError, ConnectionLostError, ProtocolError, StateError
from lima2_bliss.publishing.encoders import encoder_of
from lima2_bliss.publishing.job import StreamTarget

_SEAL_ID = 2**64 - 1


@dataclass(frozen=True)
class WriteResult:
    """What a write achieved; ``no_memory`` names the streams whose points Redis refused because it is full."""

    written: Mapping[str, int] = field(default_factory=dict)
    no_memory: frozenset[str] = frozenset()


def entry_end(entry: tuple[bytes, Mapping[bytes, bytes]]) -> tuple[int, bool]:
    """(stream length, sealed) that the last entry of a stream tells."""
    index = int(entry[0].split(b"-")[0])
    if index == _SEAL_ID:
        return int(entry[1][b"id"]), True
    return index + int(entry[1].get(b"len", b"1")), False


class StreamWriter:
    """The one writer of some streams. ``position[name]`` is the number of points each has."""

    def __init__(self, redis_url: str, targets: Iterable[StreamTarget], timeout_s: float = 5.0) -> None:
        self.url = redis_url
        self._keys = {target.definition.name: target.key for target in targets}
        self._encoders = {target.definition.name: encoder_of(target.definition) for target in targets}
        # no retries of redis-py's own: a batch sent twice would be refused; `resume` looks what arrived
        self._redis = redis.Redis.from_url(
            redis_url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self.position: dict[str, int] = dict.fromkeys(self._keys, 0)
        self.bytes_written = 0

    def close(self) -> None:
        """Release the connection."""
        self._redis.close()

    def lengths(self) -> dict[str, int]:
        """Points that each stream has in Redis; `StateError` when one is sealed."""
        with self._lost_is_ours(), self._redis.pipeline(transaction=False) as pipe:
            for key in self._keys.values():
                pipe.xrevrange(key, count=1)
            last = pipe.execute()
        lengths = {}
        for name, entries in zip(self._keys, last, strict=True):
            lengths[name], sealed = entry_end(entries[0]) if entries else (0, False)
            if sealed:
                raise StateError(
                    f"stream {name} is already sealed with {lengths[name]} points; the scan ended before its "
                    "publisher: call finish or abort of the publisher before the scan stops",
                    stream=name,
                )
        return lengths

    def attach(self) -> None:
        """Start behind what the streams have already (from earlier acquisitions of the scan)."""
        self.position = self.lengths()

    def resume(self, pending: Mapping[str, Any]) -> dict[str, Any]:
        """After a lost connection: what of ``pending`` still has to be written."""
        lengths = self.lengths()
        left = {}
        for name, values in pending.items():
            missing = self.position[name] + self._count(values) - lengths[name]
            if lengths[name] < self.position[name]:
                raise self._lost_data(name, lengths[name])
            if lengths[name] == self.position[name]:
                left[name] = values
            elif missing == 0:
                self.position[name] = lengths[name]
            else:
                raise self._other_writer(name, f"has {lengths[name]} points, expected {self.position[name]}")
        return left

    @staticmethod
    def _count(values: Any) -> int:
        return 1 if isinstance(values, Mapping) else len(values)

    def _lost_data(self, name: str, length: int) -> AcquisitionError:
        return AcquisitionError(
            f"Redis at {self.url} came back without its data: stream {name} has {length} points, "
            f"{self.position[name]} were written; start a new scan",
            stream=name,
        )

    def _other_writer(self, name: str, why: str) -> ProtocolError:
        return ProtocolError(f"stream {name} {why}: somebody else writes into it or it was sealed", stream=name)

    def write(self, batch: Mapping[str, Any]) -> WriteResult:
        """Append to each stream: an array of points, or a mapping for a JSON stream. `ConnectionLostError` if unsure.

        A stream is advanced when Redis confirmed it; after an error call `resume` with the same batch.
        """
        sent: list[tuple[str, int, int]] = []
        with self._lost_is_ours(), self._redis.pipeline(transaction=False) as pipe:
            for name, values in batch.items():
                encoded = self._encoders[name].encode(values)
                # a stream that has points must still exist: never start it anew in a Redis that lost its data
                existing = ("NOMKSTREAM",) if self.position[name] else ()
                entry = (f"{self.position[name]}-1", *_fields(encoded.payload, encoded.len))
                pipe.execute_command("XADD", self._keys[name], *existing, *entry)
                sent.append((name, encoded.len, len(encoded.payload)))
            answers = pipe.execute(raise_on_error=False)
        written, no_memory = {}, set()
        for (name, count, nbytes), answer in zip(sent, answers, strict=True):
            if isinstance(answer, OutOfMemoryError):
                no_memory.add(name)
            elif answer is None:
                raise self._lost_data(name, 0)
            elif isinstance(answer, Exception):
                raise self._other_writer(name, f"refused point {self.position[name]} ({answer})")
            else:
                self.position[name] += count
                self.bytes_written += nbytes
                written[name] = count
        return WriteResult(written, frozenset(no_memory))

    def memory_fill(self) -> float:
        """How full Redis is, 0 to 1; 0 when it has no limit."""
        with self._lost_is_ours():
            memory = self._redis.info("memory")
        limit = int(memory.get("maxmemory", 0))
        return int(memory["used_memory"]) / limit if limit else 0.0

    def _lost_is_ours(self) -> _LostConnection:
        return _LostConnection(self.url)


def _fields(payload: bytes, length: int) -> tuple[Any, ...]:
    return ("payload", payload, "len", length) if length > 1 else ("payload", payload)


class _LostConnection:
    """Turns redis' connection errors into `ConnectionLostError` that names the server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)):
            raise ConnectionLostError(f"Redis at {self._url} does not answer: {error}", url=self._url) from error
