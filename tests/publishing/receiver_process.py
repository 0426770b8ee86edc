"""A receiver filled by hand: the engine's real results log and frame store behind the real access server.

Imported by the tests' fixtures; run as a program it is a receiver process that feeds itself at a given rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from smx_rows import SmxRows

from lima2_bliss.contract import (
    FRAME_EVENT,
    ROI_PROFILE,
    ROI_STATISTICS,
    FrameFlags,
    FrameInfo,
    FrameMeta,
    NotAvailableError,
    ResultStream,
    RoundRobin,
)
from lima2_bliss.contract.records import FRAME_EVENT_STREAM, ROI_PROFILES_STREAM, ROI_STATISTICS_STREAM
from lima2_bliss.contract.wire import Counts, PipelineStatus, SourceStatus
from lima2_receivers.access import AccessServer
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.frame_store import FrameStore
from lima2_receivers.engine.results_log import ResultsLog

NB_ROIS = 2
PROFILE = 6
INFO = FrameInfo(1, 24, 40, np.dtype("<u2"))


def pixels_of(index: int, info: FrameInfo = INFO) -> np.ndarray:
    """Pixels that tell their frame index and place."""
    ramp = np.arange(info.nb_channels * info.height * info.width).reshape(info.shape)
    return ((ramp * 7 + index * 131) % 60000).astype(info.dtype)


def rows_of(index: int, rank: int, flags: FrameFlags = FrameFlags.GOOD) -> dict[str, np.ndarray]:
    """Result rows that tell their frame index; NaN for a hole."""
    now = time.time_ns()
    statistics = np.zeros(NB_ROIS, ROI_STATISTICS)
    statistics["frame_idx"], statistics["recv_idx"] = index, rank
    for offset, name in enumerate(("sum", "avg", "std", "min", "max")):
        statistics[name] = np.nan if flags else index * 10 + offset + np.arange(NB_ROIS) * 1000
    profile = np.zeros(PROFILE, ROI_PROFILE)
    profile["sum"] = index + np.arange(PROFILE) / 10
    return {
        ROI_STATISTICS_STREAM: statistics,
        ROI_PROFILES_STREAM: profile,
        FRAME_EVENT_STREAM: np.array([(index, rank, int(flags), now, now)], FRAME_EVENT),
    }


class LegacyRows:
    """What the legacy pipeline gives per frame."""

    streams = (
        ResultStream(ROI_STATISTICS_STREAM, ROI_STATISTICS, NB_ROIS),
        ResultStream(ROI_PROFILES_STREAM, ROI_PROFILE, PROFILE),
        ResultStream(FRAME_EVENT_STREAM, FRAME_EVENT, 1),
    )
    rows_of = staticmethod(rows_of)


class HandFedPipeline:
    """A pipeline whose frames come from the test; ``rows`` says what its result rows are."""

    def __init__(
        self,
        uuid: str,
        rank: int,
        dispatch: RoundRobin,
        info: FrameInfo = INFO,
        depth: int = 8,
        rows: LegacyRows | SmxRows | None = None,
    ) -> None:
        self.uuid = uuid
        self.rank = rank
        self.dispatch = dispatch
        self.info = info
        self.pool = BufferPool(info, depth + 4)
        self.rows = rows or LegacyRows()
        self.log = ResultsLog(self.rows.streams)
        self.store = FrameStore(depth, "frame", dispatch, rank)
        self.stores = {"frame": self.store}
        self.revision = 0
        self.state = "running"
        self.error = ""
        self.saved_contiguous = 0
        self._callbacks: dict[int, Callable[[], None]] = {}

    def feed(self, count: int = 1, flags: FrameFlags = FrameFlags.GOOD) -> None:
        """The next ``count`` frames of this receiver are processed."""
        for _ in range(count):
            local = self.log.frames
            index = self.dispatch.global_index(self.rank, local)
            buffer = None
            if not flags:
                buffer = self.pool.acquire(1.0)
                assert buffer is not None
                buffer.data[...] = pixels_of(index, self.info)
            self.store.put(buffer, FrameMeta(index, local, time.time_ns(), flags))
            if buffer is not None:
                buffer.release()
            self.log.append(self.rows.rows_of(index, self.rank, flags))
            self.changed()

    def hand_out(self, source: str, image: np.ndarray) -> None:
        """The next image (height, width) of a further frame source, which ends with the newest frame."""
        info = FrameInfo(1, *image.shape, image.dtype)
        if source not in self.stores:
            self.stores[source] = FrameStore(2, source, self.dispatch, self.rank)
        buffer = BufferPool(info, 1).acquire(1.0)
        assert buffer is not None
        buffer.data[0] = image
        local = self.log.frames - 1
        self.stores[source].put(buffer, FrameMeta(self.dispatch.global_index(self.rank, local), local))
        buffer.release()
        self.changed()

    def end(self, state: str = "finished", error: str = "") -> None:
        """No more frames come."""
        self.state, self.error = state, error
        self.changed()

    def changed(self) -> None:
        self.revision += 1
        for callback in list(self._callbacks.values()):
            callback()

    def status(self) -> PipelineStatus:
        frames = self.log.frames
        return PipelineStatus(
            uuid=self.uuid,
            revision=self.revision,
            state=self.state,
            error=self.error,
            counts=Counts(received=frames, processed=frames),
            saved_contiguous=self.saved_contiguous,
            sources={
                name: SourceStatus(last_index=store.last_index)
                for name, store in self.stores.items()
                if name != "frame"
            },
        )

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        key = id(callback)
        self._callbacks[key] = callback
        return lambda: self._callbacks.pop(key, None) and None


class HandFedReceiver:
    """One receiver with one pipeline and a real access server."""

    def __init__(
        self,
        uuid: str,
        rank: int = 0,
        nb_receivers: int = 1,
        info: FrameInfo = INFO,
        rows: LegacyRows | SmxRows | None = None,
    ) -> None:
        self.name = f"test/receiver/{rank + 1}"
        self.feeder = HandFedPipeline(uuid, rank, RoundRobin(nb_receivers), info, rows=rows)
        self.pipelines = {uuid: self.feeder}
        self.end_of = lambda uuid: None
        self.server = AccessServer(self, device=self.name, rank=rank, nb_receivers=nb_receivers)

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    def pipeline(self, uuid: str) -> HandFedPipeline:
        try:
            return self.pipelines[uuid or next(reversed(self.pipelines))]
        except KeyError:
            raise NotAvailableError(f"pipeline {uuid} is unknown") from None

    def close(self) -> None:
        self.server.close()


def main() -> None:
    """Print the endpoint, wait for a line, feed ``--frames`` at ``--rate`` per second, wait for the end of stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("uuid")
    parser.add_argument("rank", type=int)
    parser.add_argument("receivers", type=int)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--keep-running", action="store_true", help="do not finish after the last frame")
    parser.add_argument("--smx", type=int, nargs=3, metavar=("BINS", "SPOTS", "PIXELS"), help="rows of that many")
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)
    rows = SmxRows(*options.smx) if options.smx else None
    receiver = HandFedReceiver(options.uuid, options.rank, options.receivers, rows=rows)
    print(json.dumps({"endpoint": receiver.endpoint}), flush=True)
    start = float(sys.stdin.readline())
    tick = threading.Event()
    for local in range(options.frames):
        if options.rate:
            at = start + receiver.feeder.dispatch.global_index(options.rank, local) / options.rate
            tick.wait(max(at - time.time(), 0.0))
        receiver.feeder.feed()
    if not options.keep_running:
        receiver.feeder.end()
    sys.stdin.read()
    receiver.close()


if __name__ == "__main__":
    main()
