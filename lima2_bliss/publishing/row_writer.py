"""Turns merged rows into points of all streams and writes them: keeps the memory budget, outlives a short Redis gap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lima2_bliss.contract import ConnectionLostError, FrameFlags
from lima2_bliss.contract.records import FRAME_EVENT_STREAM
from lima2_bliss.publishing.families import Family, families_of, names_of
from lima2_bliss.publishing.hit_rate import HitRate
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.merger import MergedRows
from lima2_bliss.publishing.stream_writer import StreamWriter

#: Bytes of points with a fixed number per frame in one Redis round trip.
MAX_BATCH_BYTES = 4 << 20
_RETRY_S = 0.2
_MEMORY_RETRY_S = 1.0
_MEMORY_PERIOD_S = 1.0
_FILL_HYSTERESIS = 0.1


class RowWriter:
    """Used from one thread. ``pause(seconds)`` waits and raises when the publication was aborted meanwhile;
    ``give_up_memory()`` says whether rows that a full Redis refuses shall be given up now. ``given_up`` are keys of
    streams that earlier acquisitions of the scan gave up; those of this one are added."""

    def __init__(
        self,
        job: PublishJob,
        warn: Callable[[str], None],
        pause: Callable[[float], None],
        give_up_memory: Callable[[], bool],
        given_up: set[str],
    ) -> None:
        self._job = job
        self._warn = warn
        self._pause = pause
        self._give_up_memory = give_up_memory
        self._given_up = given_up
        self._scalars = [target.definition for target in job.of_kind("scalar")]
        self._rates = [(target.definition, HitRate()) for target in job.of_kind("hit_rate")]
        self._image = next((target.definition.name for target in job.of_kind("image")), "")
        written = ("scalar", "hit_rate", "vector", "flat", "flat_frame", "image")
        self._stream = StreamWriter(job.redis_url, job.of_kind(*written), job.limits.redis_timeout_s)
        #: Streams that may be given up, those first that give way first.
        self.families = families_of(job)
        self._memory_due = 0.0
        self._watch_memory = bool(self.families or job.of_kind("preview", "accumulated"))
        per_frame = sum(target.definition.nbytes for target in job.streams if target.definition.per_frame)
        self.max_frames = max(MAX_BATCH_BYTES // max(per_frame, 1), 1)
        self._frames = 0
        self.memory_tight = False
        #: Frames of the scan of which the streams of a family that was given up have points, by its result stream.
        self.stopped: dict[str, int] = {}
        #: Points were given up: nothing may follow in these streams, or rows would no longer be frames.
        self.truncated = False

    @property
    def positions(self) -> dict[str, int]:
        """Points of each stream."""
        return dict(self._stream.position)

    def close(self) -> None:
        self._stream.close()

    def attach(self) -> None:
        """Start behind what the streams have; what an earlier acquisition of the scan gave up stays given up."""
        self._persist(self._stream.attach)
        for family in [family for family in self.families if family.keys & self._given_up]:
            self.give_up(family, "they were given up earlier in this scan")

    def write_rows(self, merged: MergedRows, image: dict[str, int] | None) -> None:
        """Write the rows of some frames, and a status of the image stream with them. See `truncated` afterwards."""
        batch: dict[str, Any] = {}
        # before the scalars, so that who reads a count finds its rows; the last to give way spends first
        for family in reversed(self.families.copy()):
            if not family.here(merged):
                self.give_up(family, "a receiver had dropped their rows before they could be read")
            elif not family.affordable(merged):
                used = f"{family.budget.capacity_bytes / 2**20:g} MiB"
                self.give_up(family, f"they have used their {used} of Redis memory")
            else:
                batch |= family.points(merged)
        for definition in self._scalars:
            batch[definition.name] = definition.values(merged.rows[definition.source])
        for definition, rate in self._rates:
            is_hit = merged.rows[definition.source][definition.column][:, definition.row]
            good = (merged.rows[FRAME_EVENT_STREAM]["flags"][:, 0] & ~np.uint32(FrameFlags.VETOED)) == 0
            batch[definition.name] = rate.of(is_hit, good)
        if image is not None:
            batch[self._image] = image
        self._write(batch)
        self._frames += merged.count

    def write_image(self, image: dict[str, int]) -> None:
        """Write a status of the image stream."""
        self._write({self._image: image})

    def check_memory(self) -> None:
        """Once a second: when Redis gets full, give up what gives way first, and say that it is tight."""
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
            for family in [family for family in self.families if fill > family.fill_limit]:
                self.give_up(family, f"Redis is {fill:.0%} full (limit {family.fill_limit:.0%})")
            self._memory_is_tight(f"Redis is {fill:.0%} full (limit {limit:.0%})")
        elif fill < limit - _FILL_HYSTERESIS:
            self.memory_tight = False

    def give_up(self, family: Family, why: str) -> None:
        """Write nothing more into the streams of this family, in this scan."""
        if family not in self.families:
            return
        self.families.remove(family)
        self._given_up |= family.keys
        frames = self._job.first_frame + self._frames
        self.stopped[family.source] = frames
        self._warn(f"{family.title} ({family.names}) stopped after {frames} frames: {why}; scalars go on")

    def _memory_is_tight(self, why: str) -> None:
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
            pending = self._without_families(pending, batch)
            self._memory_is_tight("Redis has no memory left")
            if self._give_up_memory():
                self._warn("Redis has no memory left: the last rows were given up, see the points published per stream")
                self.truncated = True
                return
            self._pause(_MEMORY_RETRY_S)
            self._persist(attempt)

    def _without_families(self, pending: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Give all families up; what is left to write: also the rest of one of which some streams were written."""
        left = dict(pending)
        for family in self.families.copy():
            names = names_of([family])
            if names & batch.keys() <= left.keys():
                left = {name: values for name, values in left.items() if name not in names}
            self.give_up(family, "Redis has no memory left")
        return left

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
