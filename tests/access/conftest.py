"""A receiver for the access server: the engine's real frame store and results log, filled by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lima2_bliss.contract import (
    FRAME_EVENT,
    ROI_STATISTICS,
    FrameFlags,
    FrameInfo,
    FrameMeta,
    NotAvailableError,
    ResultStream,
    RoundRobin,
)
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, ROI_STATISTICS_STREAM
from lima2_bliss.contract.wire import Counts, PipelineStatus
from lima2_receivers.access import AccessServer
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.results_log import ResultsLog

NB_ROIS = 2


def pixels_of(index: int, info: FrameInfo) -> np.ndarray:
    """Pixels that tell their frame index and place."""
    ramp = np.arange(info.nb_channels * info.height * info.width).reshape(info.shape)
    return ((ramp * 7 + index * 131) % 60000).astype(info.dtype)


class HandFedPipeline:
    """A pipeline whose frames come from the test."""

    def __init__(self, uuid: str, info: FrameInfo, depth: int, dispatch: RoundRobin, rank: int, places: int) -> None:
        self.uuid = uuid
        self.info = info
        self.rank = rank
        self.dispatch = dispatch
        self.pool = BufferPool(info, places)
        self.log = ResultsLog(
            [
                ResultStream(ROI_STATISTICS_STREAM, ROI_STATISTICS, NB_ROIS),
                ResultStream(FRAME_EVENT_STREAM, FRAME_EVENT, 1),
            ]
        )
        self.store = FrameStore(depth, "frame", dispatch, rank)
        self.stores = {"frame": self.store}
        self.revision = 0
        self.saved_contiguous = 0
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def pixels_of(self, index: int) -> np.ndarray:
        """Pixels that a frame of that index has."""
        return pixels_of(index, self.info)

    def feed(self, count: int = 1) -> None:
        """The next ``count`` frames of this receiver arrive."""
        for _ in range(count):
            local = self.log.frames
            index = self.dispatch.global_index(self.rank, local)
            buffer = self.pool.acquire(1.0)
            assert buffer is not None, "the ring is full: somebody holds its buffers"
            buffer.data[...] = pixels_of(index, self.info)
            self.store.put(buffer, FrameMeta(index, local, 1_000_000 + index))
            buffer.release()
            self._log(index, FrameFlags.GOOD)

    def lose(self) -> None:
        """The next frame is lost."""
        local = self.log.frames
        index = self.dispatch.global_index(self.rank, local)
        self.store.put(None, FrameMeta(index, local, 0, FrameFlags.LOST))
        self._log(index, FrameFlags.LOST)

    def _log(self, index: int, flags: FrameFlags) -> None:
        statistics = np.zeros(NB_ROIS, ROI_STATISTICS)
        statistics["frame_idx"] = index
        statistics["sum"] = [index, 2 * index]
        events = np.zeros(1, FRAME_EVENT)
        events["frame_idx"] = index
        events["flags"] = flags
        self.log.append({ROI_STATISTICS_STREAM: statistics, FRAME_EVENT_STREAM: events})
        self.changed()

    def changed(self) -> None:
        with self._lock:
            self.revision += 1
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    def status(self) -> PipelineStatus:
        return PipelineStatus(
            uuid=self.uuid,
            revision=self.revision,
            counts=Counts(received=self.log.frames, processed=self.log.frames),
            last_index=self.store.last_index,
            frame_info=self.info.to_json(),
            saved_contiguous=self.saved_contiguous,
        )

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        key = id(callback)
        self._callbacks[key] = callback
        return lambda: self._callbacks.pop(key, None) and None

    @property
    def nb_subscribers(self) -> int:
        return len(self._callbacks)


class HandFedReceiver:
    """A receiver with pipelines that the test feeds."""

    def __init__(self) -> None:
        self.pipelines: dict[str, HandFedPipeline] = {}
        self.ends: dict[str, PipelineStatus] = {}

    def add(
        self,
        uuid: str = "run-1",
        *,
        height: int = 64,
        width: int = 48,
        channels: int = 1,
        dtype: str = "<u2",
        depth: int = 16,
        dispatch: RoundRobin = RoundRobin(),
        rank: int = 0,
        places: int = 0,
    ) -> HandFedPipeline:
        info = FrameInfo(channels, height, width, np.dtype(dtype))
        self.pipelines[uuid] = HandFedPipeline(uuid, info, depth, dispatch, rank, places or depth + 9)
        return self.pipelines[uuid]

    def end_of(self, uuid: str) -> PipelineStatus | None:
        return self.ends.get(uuid)

    def pipeline(self, uuid: str) -> HandFedPipeline:
        if not self.pipelines or (uuid and uuid not in self.pipelines):
            raise NotAvailableError(f"pipeline {uuid!r} is unknown")
        return self.pipelines[uuid or list(self.pipelines)[-1]]


@pytest.fixture
def receiver() -> HandFedReceiver:
    return HandFedReceiver()


@pytest.fixture
def server(receiver: HandFedReceiver) -> Iterator[AccessServer]:
    with AccessServer(receiver, device="id00/limareceiver/test1") as running:
        yield running
