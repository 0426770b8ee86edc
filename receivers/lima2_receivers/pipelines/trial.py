"""Runs frames through a pipeline's nodes one by one, without threads, sources and files: for tests and for tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin
from lima2_bliss.contract.parameters import AcquisitionParameters, parse
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.node_steps import run_nodes
from lima2_receivers.engine.plugin import FrameItem, PipelineClass, PipelineSetup

RING_BUFFERS = 4


def trial_setup(
    pipeline: PipelineClass,
    info: FrameInfo,
    processing: Mapping[str, Any] | None = None,
    acquisition: Mapping[str, Any] | None = None,
    rank: int = 0,
    dispatch: RoundRobin = RoundRobin(),
    allocate: Callable[[FrameInfo, int], BufferPool] = BufferPool,
    masked: np.ndarray | None = None,
    dummy: float | None = None,
) -> PipelineSetup:
    """The setup that the engine would make from these parameters (plain dicts, defaults for what is not given)."""
    return PipelineSetup(
        uuid="trial",
        acquisition=parse(AcquisitionParameters, dict(acquisition or {}), "acquisition parameters"),
        processing=parse(pipeline.parameters, dict(processing or {}), "processing parameters"),
        input=info,
        rank=rank,
        dispatch=dispatch,
        allocate=allocate,
        masked=masked,
        dummy=dummy,
    )


class Trial:
    """One pipeline, ready for frames. The caller releases the buffers of the items that come out."""

    def __init__(self, pipeline: PipelineClass, info: FrameInfo, **setup: Any) -> None:
        self.pools: list[BufferPool] = []
        self._made_of = pipeline, info, setup
        self.setup = trial_setup(pipeline, info, allocate=self._allocate, **setup)
        pipeline.check(self.setup)
        self.graph = pipeline.build(self.setup)
        self.ring = BufferPool(info, RING_BUFFERS)
        self._local = 0

    def again(self, **changes: Any) -> Trial:
        """Another trial of the same, but for ``changes`` of the setup."""
        pipeline, info, setup = self._made_of
        return Trial(pipeline, info, **{**setup, **changes})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.graph.close()
        for pool in (*self.pools, self.ring):
            pool.interrupt()

    def _allocate(self, info: FrameInfo, nb_buffers: int) -> BufferPool:
        self.pools.append(BufferPool(info, nb_buffers))
        return self.pools[-1]

    def item(self, pixels: np.ndarray | None, flags: FrameFlags = FrameFlags.GOOD) -> FrameItem:
        """The next frame of this receiver, in a buffer of the ring; None is a lost frame."""
        local, self._local = self._local, self._local + 1
        index = self.setup.dispatch.global_index(self.setup.rank, local)
        if pixels is None:
            return FrameItem(FrameMeta(index, local, flags=flags or FrameFlags.LOST), None)
        buffer = self.ring.take()
        buffer.data[...] = pixels
        return FrameItem(FrameMeta(index, local, flags=flags), buffer)

    def process(self, pixels: np.ndarray | None, flags: FrameFlags = FrameFlags.GOOD) -> FrameItem | None:
        """The processed frame, or None while an accumulation goes on."""
        following = run_nodes(self.graph.parallel, self.item(pixels, flags))
        assert following is not None, "a parallel node took up a frame"
        return run_nodes(self.graph.ordered, following)

    @property
    def busy(self) -> int:
        """Buffers that somebody holds."""
        return sum(pool.total - pool.free for pool in (*self.pools, self.ring))
