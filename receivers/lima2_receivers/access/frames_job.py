"""A frames request on its way: frame after frame is leased until the reply is complete."""

from __future__ import annotations

from typing import Any

import numpy as np
import zmq

from lima2_bliss.contract import FrameMeta, Lima2Error, NotAvailableError, ParameterError, SparseFrame
from lima2_bliss.contract.wire import MAX_REPLY_BYTES, FramesRequest
from lima2_receivers.access.in_flight import Client, InFlight
from lima2_receivers.access.receiver import SharedPipeline

#: A step takes frames until it has this much of them: the store may have to copy them, about 0.5 ms.
STEP_BYTES = 4 << 20
STEP_FRAMES = 32


class FramesJob:
    """One frames request of ``client``. `step` takes a few frames, so that other clients are served in between."""

    def __init__(self, client: Client, request: FramesRequest, pipeline: SharedPipeline, deadline: float) -> None:
        self._sources = tuple(pipeline.stores)
        try:
            self._store = pipeline.stores[request.source]
        except KeyError:
            known = ", ".join(self._sources)
            raise NotAvailableError(
                f"frame source {request.source!r} is unknown in pipeline {pipeline.uuid}; it has: {known}"
            ) from None
        self.client = client
        self.request = request
        self.deadline = deadline
        self.parts: list[zmq.Frame] = []
        #: Bytes that the next frame needs when the last step found no room; 0 when it can go on.
        self.needs = 0
        self._wanted = len(request.indices)
        self._uuid = pipeline.uuid
        self._frames: list[dict[str, Any]] = []
        self._nbytes = 0
        self._like: tuple[np.dtype, tuple[int, ...]] | None = None

    @property
    def complete(self) -> bool:
        return len(self._frames) >= self._wanted

    def step(self, in_flight: InFlight) -> None:
        """Add the next few frames, as far as there is room for them."""
        stop_at = self._nbytes + STEP_BYTES
        for _ in range(STEP_FRAMES):
            self.needs = 0
            self._next_frame(in_flight)
            if self.complete or self.needs or self._nbytes >= stop_at:
                return

    def _next_frame(self, in_flight: InFlight) -> None:
        index = self.request.indices[len(self._frames)]
        lease = self._store.lease(index)
        try:
            pixels, meta = lease.__enter__()
        except Lima2Error as error:
            self._frames.append({"index": index, "error": error.what, "kind": type(error).__name__})
            return
        handed_over = False
        try:
            if isinstance(pixels, SparseFrame):
                raise ParameterError(self._why_not_sparse())
            if not in_flight.room(self.client, pixels.nbytes) or not self._fits(pixels):
                if self._frames:
                    self._wanted = len(self._frames)  # the reply ends here; the client asks again for the rest
                else:
                    self.needs = pixels.nbytes
                return
            handed_over = True
            self.parts.append(in_flight.part(self.client, pixels, lambda: _end(lease)))
        finally:
            if not handed_over:
                _end(lease)
        self._add(pixels, meta)

    def _why_not_sparse(self) -> str:
        dense = [source for source in self._sources if source != self.request.source]
        return (
            f"frame source {self.request.source!r} has sparse frames, not pixels; read the result streams sparse, "
            f"background and spots, or one frame by getSparseFrame of the processing device; sources with pixels: "
            f"{', '.join(dense) or 'none'}"
        )

    def _fits(self, pixels: np.ndarray) -> bool:
        if not self.parts:
            return True
        return self._like == (pixels.dtype, pixels.shape) and self._nbytes + pixels.nbytes <= MAX_REPLY_BYTES

    def _add(self, pixels: np.ndarray, meta: FrameMeta) -> None:
        self._like = (pixels.dtype, pixels.shape)
        self._nbytes += pixels.nbytes
        self._frames.append({"index": meta.index, "flags": int(meta.flags), "timestamp_ns": meta.timestamp_ns})

    def reply(self) -> dict[str, Any]:
        """JSON part of the reply."""
        dtype, shape = self._like if self._like is not None else (np.dtype("u1"), (0, 0, 0))
        frames = {"frames": self._frames, "dtype": dtype.str, "shape": shape}
        return {"id": self.request.id, "uuid": self._uuid, **frames}


def _end(lease: Any) -> None:
    lease.__exit__(None, None, None)
