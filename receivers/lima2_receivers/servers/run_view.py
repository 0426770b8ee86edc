"""One acquisition on one receiver as LImA2 clients look at it: counters, newest frames, encoded frames, popped rows."""

from __future__ import annotations

import threading

import numpy as np

from lima2_bliss.contract import NoLongerAvailableError, NotAvailableError, SparseFrame, SparseInfo
from lima2_bliss.contract.encoding import encode_frame, encode_sparse_frame
from lima2_bliss.contract.wire import MAX_REPLY_BYTES, PipelineStatus
from lima2_receivers.engine.pipeline_run import INPUT, OUTPUT, PipelineRun
from lima2_receivers.engine.plugin import RAW_FRAME

Encoded = tuple[str, bytes]


class ResultCursor:
    """Where the ``pop`` commands of a processing device are in its results log: each row is given once."""

    def __init__(self, run: PipelineRun, max_bytes: int = MAX_REPLY_BYTES) -> None:
        self._run = run
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._positions: dict[str, int] = {}

    def pop(self, stream: str, dtype: np.dtype) -> np.ndarray:
        """The rows since the last call, whole frames up to ``max_bytes``; none for a stream that there is not.

        Rows that the log has dropped raise `NoLongerAvailableError` once; the next call goes on behind them.
        """
        log = self._run.log
        if stream not in log.streams:
            return np.empty(0, dtype)
        per_frame = log.streams[stream].rows_per_frame or 1
        limit = max(self._max_bytes // (dtype.itemsize * per_frame), 1) * per_frame
        with self._lock:
            position = self._positions.get(stream, 0)
            end = min(log.length(stream), position + limit)
            parts = []
            try:
                while position < end:
                    rows = log.read(stream, position, end - position)
                    parts.append(rows)
                    position += len(rows)
            except NoLongerAvailableError:
                self._positions[stream] = log.first(stream)
                raise
            self._positions[stream] = position
        return np.concatenate(parts) if parts else np.empty(0, dtype)


def counters(status: PipelineStatus) -> dict[str, int]:
    """Counts of this receiver that every pipeline has; lost frames count as holes."""
    counts = status.counts
    arrived = counts.received + counts.lost
    return {
        "nb_frames_source": arrived,
        "nb_frames_input": arrived,
        "nb_frames_processed": counts.processed + counts.invalid,
        "nb_frames_saved": counts.saved,
        "nb_frames_lost": counts.lost,
        "nb_frames_invalid": counts.invalid,
        "nb_frames_overrun": counts.overrun,
        "nb_frames_vetoed": counts.vetoed,
        **({"nb_frames_saved_raw": status.sources[RAW_FRAME].saved} if RAW_FRAME in status.sources else {}),
    }


def input_source(run: PipelineRun) -> str:
    """The frame source with what came from the detector: that of the raw frames where those are no images yet."""
    return RAW_FRAME if RAW_FRAME in run.stores else INPUT


def newest_indices(run: PipelineRun) -> dict[str, int]:
    """Global index of the newest frame of each source that every pipeline has, -1 when there is none."""
    newest = {source: store.last_index for source, store in run.stores.items()}
    came = newest.get(input_source(run), -1)
    return {
        "source_idx": came,
        "input_idx": came,
        "processed_idx": newest.get(OUTPUT, -1),
    }


def encoded_frame(run: PipelineRun, source: str, index: int) -> Encoded:
    """Frame ``index`` (-1: the newest) of a source, dense or sparse, as a DevEncoded value."""
    require_source(run, source)
    info = run.graph.outputs[source].info
    with run.stores[source].lease(index) as (content, meta):
        if isinstance(content, SparseFrame):
            assert isinstance(info, SparseInfo)
            return encode_sparse_frame(content, info.shape, meta.index)
        return encode_frame(content, meta.index)


def encoded_as_of(run: PipelineRun, source: str, index: int) -> Encoded:
    """The newest image of an accumulating source that has no frame after ``index`` in it (-1: the newest of all).

    Such a source gives an image every so many frames; the index that is encoded is that of the last frame in it.
    """
    require_source(run, source)
    if index < 0:
        return encoded_frame(run, source, index)
    kept = run.stores[source].indices()
    before = [each for each in kept if each <= index]
    if not before:
        there = ", ".join(map(str, kept)) or "none"
        raise NotAvailableError(f"no {source} up to frame {index} is kept; those that are end with frame {there}")
    return encoded_frame(run, source, before[-1])


def require_source(run: PipelineRun, source: str) -> None:
    """`NotAvailableError` for a source that the pipeline does not keep."""
    if source not in run.stores:
        raise NotAvailableError(f"the pipeline keeps no {source}; it keeps {', '.join(run.stores)}")
