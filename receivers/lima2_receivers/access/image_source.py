"""Images of the whole detector, whichever receiver has them: from memory, else from files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zmq

from lima2_bliss.contract import (
    ConnectionLostError,
    DeviceTimeoutError,
    FrameInfo,
    Lima2Error,
    NotAvailableError,
    NotYetAvailableError,
)
from lima2_bliss.contract.access import AttachJob
from lima2_bliss.contract.wire import PipelineStatus
from lima2_receivers.access.reader import ReceiverReader
from lima2_receivers.access.saved_frames import read_saved_frame

logger = logging.getLogger(__name__)

NEWEST = -1


@dataclass(frozen=True)
class Image:
    """Frame ``index`` of an acquisition as one 2D image: several channels stand one below the other."""

    index: int
    pixels: np.ndarray


def stacked(pixels: np.ndarray) -> np.ndarray:
    """(channels, height, width) as (channels * height, width), without a copy."""
    return pixels.reshape(-1, pixels.shape[-1])


class ReceiverReaders:
    """Connections to receivers, kept from one acquisition to the next."""

    def __init__(self, *, timeout_s: float = 3.0, connect_s: float = 1.0) -> None:
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._context = zmq.Context()
        self._readers: dict[str, ReceiverReader] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to(self, endpoints: Sequence[str]) -> list[ReceiverReader]:
        """Readers at these addresses; those at other addresses are closed."""
        with self._lock:
            for endpoint in self._readers.keys() - set(endpoints):
                self._readers.pop(endpoint).close()
            for endpoint in endpoints:
                if endpoint not in self._readers:
                    self._readers[endpoint] = ReceiverReader(
                        endpoint, timeout_s=self._timeout_s, connect_s=self._connect_s, context=self._context
                    )
            return [self._readers[endpoint] for endpoint in endpoints]

    def close(self) -> None:
        """Disconnect; harmless twice."""
        self.to([])
        self._context.term()


class ImageSource:
    """Reads the images of the acquisition that ``job`` names. Threads may share it; the last image is kept for all.

    A receiver that did not answer is left out of the search for the newest image for ``retry_s``.
    """

    def __init__(self, job: AttachJob, readers: ReceiverReaders, *, retry_s: float = 5.0) -> None:
        self.job = job
        self._retry_s = retry_s
        self._dispatch = job.dispatch()
        self._readers = readers.to(job.endpoints)
        self._retry_at: dict[int, float] = {}
        self._info: FrameInfo | None = None
        self._last: Image | None = None

    def info(self) -> FrameInfo:
        """Shape and type of the frames, as the first receiver that answers says."""
        if self._info is None:
            status, _ = self._statuses()[0]
            self._info = FrameInfo.from_json(self._told(status))
        return self._info

    def _told(self, status: PipelineStatus) -> dict[str, Any]:
        if self.job.source in status.sources:
            return status.sources[self.job.source].frame_info
        return status.input_frame_info if self.job.source == "input_frame" else status.frame_info

    def last_index(self) -> int:
        """Index of the newest frame over all receivers that can be reached, -1 when there is none yet."""
        return self._newest()[0]

    def read(self, index: int) -> Image:
        """Image ``index``, -1 is the newest.

        Raises `NotYetAvailableError`, `NoLongerAvailableError` (it is in no file either), `NotAvailableError`, or
        `ConnectionLostError` naming the receiver.
        """
        if index == NEWEST:
            newest, receiver = self._newest()
            if newest < 0:
                raise NotYetAvailableError(
                    f"image is not available yet: acquisition {self.job.uuid} has no processed frame so far"
                )
            return self._kept(newest) or self._keep(self._fetch(receiver, NEWEST))
        if index < 0 or (self.job.nb_frames and index >= self.job.nb_frames):
            last = self.job.nb_frames - 1 if self.job.nb_frames else "..."
            raise NotAvailableError(f"frame {index} does not exist: frames count from 0 to {last}; -1 is the newest")
        return self._kept(index) or self._keep(self._from_memory_or_file(index))

    def _newest(self) -> tuple[int, int]:
        """(newest index, receiver that has it)."""
        return max((self._newest_of(status), receiver) for status, receiver in self._statuses())

    def _newest_of(self, status: PipelineStatus) -> int:
        source = status.sources.get(self.job.source)
        return status.last_index if source is None else source.last_index

    def _statuses(self) -> list[tuple[PipelineStatus, int]]:
        """(status, receiver) of all receivers; those that do not answer are left out if another one does."""
        found: list[tuple[PipelineStatus, int]] = []
        lost: list[Lima2Error] = []
        now = time.monotonic()
        due = [receiver for receiver in range(len(self._readers)) if self._retry_at.get(receiver, 0) <= now]
        for receiver in due or [0]:
            try:
                found.append((self._readers[receiver].status(self.job.uuid), receiver))
                self._retry_at.pop(receiver, None)
            except (ConnectionLostError, DeviceTimeoutError) as error:
                lost.append(error)
                if receiver not in self._retry_at:
                    logger.warning("images go on without a receiver: %s", error)
                self._retry_at[receiver] = time.monotonic() + self._retry_s
        if not found:
            raise lost[0]
        return found

    def _from_memory_or_file(self, index: int) -> Image:
        receiver, _ = self._dispatch.locate(index)
        try:
            return self._fetch(receiver, index)
        except NotYetAvailableError:
            raise NotYetAvailableError(f"frame {index} is not available yet") from None
        except (NotAvailableError, ConnectionLostError, DeviceTimeoutError) as error:
            if self.job.saving is None or not self.job.saving.enabled:
                raise
            return self._from_file(index, error)

    def _from_file(self, index: int, cause: Lima2Error) -> Image:
        assert self.job.saving is not None
        try:
            return Image(index, stacked(read_saved_frame(self.job.saving, self._dispatch, index)))
        except NotAvailableError as error:
            raise type(cause)(f"{cause}; {error}") from None

    def _fetch(self, receiver: int, index: int) -> Image:
        frame = self._readers[receiver].frame(self.job.uuid, index, self.job.source)
        return Image(frame.meta.index, stacked(frame.pixels))

    def _kept(self, index: int) -> Image | None:
        last = self._last
        return last if last is not None and last.index == index else None

    def _keep(self, image: Image) -> Image:
        self._last = image
        return image
