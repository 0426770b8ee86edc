"""Turns merged rows into points of all streams and writes them: keeps the memory budget, outlives a short Redis gap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lima2_bliss.contract import ConnectionLostError
from lima2_bliss.publishing.budget import ByteBudget
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.merger import MergedRows
from lima2_bliss.publishing.stream_writer import StreamWriter

#: Bytes of points in one Redis round trip.
MAX_BATCH_BYTES = 4 << 20
#: Redis' own cost of an entry beside its payload.
ENTRY_BYTES = 64
_RETRY_S = 0.2
_MEMORY_RETRY_S = 1.0
_MEMORY_PERIOD_S = 1.0
_FILL_HYSTERESIS = 0.1


class RowWriter:
    """Used from one thread. ``pause(seconds)`` waits and raises when the publication was aborted meanwhile;
    ``give_up_memory()`` says whether rows that a full Redis refuses shall be given up now."""

    def __init__(
        self,
        job: PublishJob,
        warn: Callable[[str], None],
        pause: Callable[[float], None],
        give_up_memory: Callable[[], bool],
    ) -> None:
        self._job = job
        self._warn = warn
        self._pause = pause
        self._give_up_memory = give_up_memory
        self._scalars = [target.definition for target in job.of_kind("scalar")]
        self._vectors = [target.definition for target in job.of_kind("vector")]
        self._vector_names = {definition.name for definition in self._vectors}
        self._image = next((target.definition.name for target in job.of_kind("image")), "")
        self._stream = StreamWriter(job.redis_url, job.of_kind("scalar", "vector", "image"), job.limits.redis_timeout_s)
        self._budget = ByteBudget(job.budget.vector_bytes, job.budget.window_s)
        self._memory_due = 0.0
        self._watch_memory = bool(self._vectors or job.of_kind("preview"))
        per_frame = sum(definition.nbytes for definition in (*self._scalars, *self._vectors))
        self.max_frames = max(MAX_BATCH_BYTES // max(per_frame, 1), 1)
        self.memory_tight = False
        #: Points were given up: nothing may follow in these streams, or rows would no longer be frames.
        self.truncated = False

    @property
    def positions(self) -> dict[str, int]:
        """Points of each stream."""
        return dict(self._stream.position)

    def close(self) -> None:
        self._stream.close()

    def attach(self) -> None:
        """Start behind what the streams have."""
        self._persist(self._stream.attach)

    def write_rows(self, merged: MergedRows, image: dict[str, int] | None) -> None:
        """Write the rows of some frames, and a status of the image stream with them. See `truncated` afterwards."""
        batch: dict[str, Any] = {
            definition.name: definition.values(merged.rows[definition.source]) for definition in self._scalars
        }
        if self._vectors and self._vectors_affordable(merged.count):
            for definition in self._vectors:
                batch[definition.name] = definition.values(merged.rows[definition.source])
        if image is not None:
            batch[self._image] = image
        self._write(batch)

    def write_image(self, image: dict[str, int]) -> None:
        """Write a status of the image stream."""
        self._write({self._image: image})

    def check_memory(self) -> None:
        """Once a second: when Redis gets full, stop vectors for good and say that it is tight."""
        now = time.monotonic()
        if not self._watch_memory or now < self._memory_due:
            return
        self._memory_due = now + _MEMORY_PERIOD_S
        try:
            fill = self._stream.memory_fill()
        except ConnectionLostError:
            return  # the next write says so, and retries
        limit = self._job.budget.redis_fill
        if fill > limit:
            self._memory_is_tight(f"Redis is {fill:.0%} full (limit {limit:.0%})")
        elif fill < limit - _FILL_HYSTERESIS:
            self.memory_tight = False

    def _vectors_affordable(self, frames: int) -> bool:
        cost = frames * sum(definition.nbytes for definition in self._vectors) + ENTRY_BYTES * len(self._vectors)
        if self._budget.spend(cost):
            return True
        self._stop_vectors(f"they have used their {self._job.budget.vector_bytes / 2**20:g} MiB of Redis memory")
        return False

    def _stop_vectors(self, why: str) -> None:
        if self._vectors:
            names = ", ".join(definition.name for definition in self._vectors[:5])
            first = self._stream.position[self._vectors[0].name]
            self._warn(f"vectors ({names}) stopped after {first} frames: {why}; scalars go on")
        self._vectors = []

    def _memory_is_tight(self, why: str) -> None:
        self._stop_vectors(why)
        if not self.memory_tight:
            self._warn(f"previews pause: {why}")
        self.memory_tight = True

    def _write(self, batch: dict[str, Any]) -> None:
        pending = batch
        lost = False

        def attempt() -> None:
            nonlocal pending, lost
            if lost:
                pending = self._stream.resume(pending)
            lost = True
            if pending:
                result = self._stream.write(pending)
                pending = {name: pending[name] for name in pending if name in result.no_memory}
            lost = False

        self._persist(attempt)
        while pending:
            # Redis refuses all writes that need memory; its tracker frees some every 30 s
            self._memory_is_tight("Redis has no memory left")
            pending = {name: values for name, values in pending.items() if name not in self._vector_names}
            if self._give_up_memory():
                self._warn("Redis has no memory left: the last rows were given up, see the points published per stream")
                self.truncated = True
                return
            self._pause(_MEMORY_RETRY_S)
            self._persist(attempt)

    def _persist(self, action: Callable[[], None]) -> None:
        """Do it again while Redis is away, up to the limit."""
        until = 0.0
        while True:
            try:
                return action()
            except ConnectionLostError as error:
                now = time.monotonic()
                until = until or now + self._job.limits.redis_timeout_s
                if now >= until:
                    raise ConnectionLostError(
                        f"publishing ended: {error}; tried for {self._job.limits.redis_timeout_s:g} s", **error.errinfo
                    ) from error
                self._pause(_RETRY_S)
