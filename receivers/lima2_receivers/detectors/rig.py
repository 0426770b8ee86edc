"""A detector without an engine: its control and its sources in one process, for tests and benchmarks of plugins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin
from lima2_bliss.contract.parameters import AcquisitionParameters
from lima2_receivers.engine.buffers import BufferPool, FrameBuffer
from lima2_receivers.engine.plugin import (
    ControlContext,
    DetectorControl,
    DetectorPlugin,
    ReceiverSetup,
    Source,
    SourceContext,
)


@dataclass
class CollectingSink:
    """Takes every frame and gives its buffer back at once. ``look`` sees the pixels before; its answers are kept."""

    info: FrameInfo
    nb_buffers: int = 8
    look: Callable[[np.ndarray, FrameMeta], Any] | None = None
    metas: list[FrameMeta] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = BufferPool(self.info, self.nb_buffers)
        self.changed = threading.Condition()
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []

    def reserve(self, timeout_s: float = 0.0) -> FrameBuffer | None:
        """A free buffer."""
        return self.pool.acquire(timeout_s)

    def deliver(self, buffer: FrameBuffer, meta: FrameMeta) -> None:
        """Keep the meta data, give the buffer back."""
        answer = self.look(buffer.data, meta) if self.look else None
        buffer.release()
        with self.changed:
            self.metas.append(meta)
            self.seen.append(answer)
            self.changed.notify_all()

    def lost(self, meta: FrameMeta) -> None:
        """Keep the meta data."""
        with self.changed:
            self.metas.append(meta)
            self.changed.notify_all()

    def note(self, counts: Mapping[str, int], warnings: Sequence[str]) -> None:
        """Keep what the source counted."""
        with self.changed:
            self.counts, self.warnings = dict(counts), list(warnings)

    def wait(self, count: int, timeout_s: float = 10.0) -> bool:
        """Wait for ``count`` frames, lost ones included."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.metas) >= count, timeout_s)

    @property
    def indices(self) -> list[int]:
        """Global indices in the order of arrival."""
        return [meta.index for meta in self.metas]

    @property
    def lost_indices(self) -> list[int]:
        """Global indices of the frames without pixels."""
        return [meta.index for meta in self.metas if meta.flags & FrameFlags.LOST]


class DetectorRig:
    """A control and ``receivers`` sources of a plugin; sources run in threads, ``errors`` keeps theirs by rank."""

    def __init__(
        self,
        plugin: DetectorPlugin,
        receivers: int = 1,
        properties: Mapping[str, str] | None = None,
        make_source: Callable[[SourceContext], Source] | None = None,
        make_control: Callable[[ControlContext], DetectorControl] | None = None,
    ) -> None:
        properties = properties or {}
        self.sources: list[Source] = [
            (make_source or plugin.make_source)(SourceContext(f"receiver{rank}", properties))
            for rank in range(receivers)
        ]
        context = ControlContext("rig", properties, lambda: [source.endpoints() for source in self.sources])
        self.control: DetectorControl = (make_control or plugin.make_control)(context)
        self.sinks: list[CollectingSink] = []
        self.errors: dict[int, Exception] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(
        self,
        uuid: str,
        parameters: AcquisitionParameters,
        block: int = 1,
        nb_buffers: int = 8,
        look: Callable[[np.ndarray, FrameMeta], Any] | None = None,
    ) -> None:
        """Prepare sources and control, as a client does for engines."""
        self.join()
        dispatch = RoundRobin(len(self.sources), block)
        parameters = parameters.model_copy(update={"xfer": parameters.xfer.model_copy(update={"block": block})})
        self.sinks, self.errors = [], {}
        for rank, source in enumerate(self.sources):
            info = source.prepare(ReceiverSetup(uuid, parameters, rank, dispatch))
            self.sinks.append(CollectingSink(info, nb_buffers, look))
        self.control.prepare(uuid, parameters)

    def start(self, control_first: bool = False) -> None:
        """Start control and sources, in either order."""
        if control_first:
            self.control.start()
        self.start_sources()
        if not control_first:
            self.control.start()

    def start_sources(self) -> None:
        """Run every source in a thread of its own."""
        self._threads = [
            threading.Thread(target=self._run, args=(rank,), name=f"source{rank}", daemon=True)
            for rank in range(len(self.sources))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, rank: int) -> None:
        try:
            self.sources[rank].run(self.sinks[rank])
        except Exception as error:  # noqa: BLE001 - kept for the one who asks
            self.errors[rank] = error

    def stop(self) -> None:
        """Stop sources and control, as a client does."""
        for source in self.sources:
            source.stop()
        self.control.stop()

    def join(self, timeout_s: float = 30.0) -> None:
        """Wait until all sources are done; `TimeoutError` when they are not in time."""
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline_s - time.monotonic(), 0.0))
        running = [thread.name for thread in self._threads if thread.is_alive()]
        if running:
            raise TimeoutError(f"{', '.join(running)} still run after {timeout_s:g} s")
        self._threads = []

    def run(self, uuid: str, parameters: AcquisitionParameters, **how: Any) -> None:
        """A whole acquisition."""
        self.prepare(uuid, parameters, **how)
        self.start()
        self.join()

    @property
    def indices(self) -> list[int]:
        """Global indices of all frames of all sources, sorted."""
        return sorted(index for sink in self.sinks for index in sink.indices)

    def close(self) -> None:
        """End everything."""
        for source in self.sources:
            source.stop()
        self.control.close()
        self.join()
        for source in self.sources:
            source.close()
