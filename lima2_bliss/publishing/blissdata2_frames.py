"""Many frames of a scan at once: from the receivers' memory while they are there, else from the receivers' files.

Knows nothing of blissdata: `FramePlaces` says all that is needed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the compressions
import numpy as np

from lima2_bliss.client import ReceiverLink, read_frames, read_status
from lima2_bliss.client.receiver_link import ask_all
from lima2_bliss.contract import ConnectionLostError, FrameInfo, Lima2Error
from lima2_bliss.contract.wire import PipelineStatus, StatusRequest
from lima2_bliss.publishing.frame_places import FramePlaces, SavedFrames

logger = logging.getLogger(__name__)

#: How long a receiver may be silent before its frames are looked for in files.
SILENT_S = 1.0
#: A receiver that was silent is left alone for so long.
RETRY_S = 5.0
#: Frames of a file read in one go [bytes].
CHUNK_BYTES = 8 << 20


class BulkFrames:
    """The frames that ``places`` tells of, as images of ``shape`` (height, width) and ``dtype``.

    A receiver that no longer knows the acquisition is not asked again, one that is silent not for `RETRY_S`.
    """

    def __init__(self, places: FramePlaces, shape: Sequence[int], dtype: np.dtype, silent_s: float = SILENT_S) -> None:
        self.places = places
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._silent_s = silent_s
        self._dispatch = places.dispatch()
        self._links = [
            ReceiverLink(name, endpoint, silent_s)
            for name, endpoint in zip(places.receivers, places.endpoints, strict=True)
        ]
        self._ask_again: dict[int, float] = {}

    def close(self) -> None:
        """Disconnect; harmless twice. The next read connects again."""
        for link in self._links:
            link.close()

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """(images (n, height, width), places in ``indices`` of those that were found nowhere).

        Images that were not found are zeros, as are those without pixels (lost, or not to be saved) in files.
        """
        images = np.zeros((len(indices), *self.shape), self.dtype)
        wanted: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            wanted.setdefault(index, []).append(place)
        for read in (self._from_memory, self._from_files):
            for index, pixels in read(sorted(wanted)):
                for place in wanted.pop(index):
                    images[place] = pixels
            if not wanted:
                break
        return images, sorted(place for places in wanted.values() for place in places)

    def count(self) -> int:
        """Frames from 0 on without a gap, in files or (if none are) in memory: for when nothing else tells."""
        counts = [sum(self._lengths(receiver)) for receiver in range(len(self._links))]
        return self._dispatch.contiguous(counts) or self._processed()

    # --- memory -------------------------------------------------------------------------------------------------------

    def _from_memory(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        known = self._statuses() if indices else {}
        there = [index for index in indices if self._dispatch.locate(index)[0] in known]
        if not there:
            return
        places = self.places
        height, width = self.shape
        info = FrameInfo(1, height, width, self.dtype)
        try:
            for index, pixels in read_frames(
                self._links, places.uuid, places.source, there, self._dispatch, info, skip_missing=True,
                timeout_s=self._silent_s,
            ):  # fmt: skip
                yield index, pixels.reshape(self.shape)
        except Lima2Error as error:
            logger.info("frames of %s are looked for in files: %s", places.uuid, error)

    def _statuses(self) -> dict[int, PipelineStatus]:
        """What the receivers that still know the acquisition say of it, by rank."""
        now = time.monotonic()
        ranks = [rank for rank in range(len(self._links)) if self._ask_again.get(rank, now) <= now]
        links = [self._links[rank] for rank in ranks]
        known = {}
        for rank, link, outcome in zip(ranks, links, ask_all(links, StatusRequest(uuid=self.places.uuid)), strict=True):
            if outcome.error is None:
                known[rank] = read_status(outcome.get()[0], link.receiver)
            elif isinstance(outcome.error, ConnectionLostError):
                logger.warning("frames of %s are looked for in files: %s", self.places.uuid, outcome.error)
                self._ask_again[rank] = time.monotonic() + RETRY_S
            elif isinstance(outcome.error, Lima2Error):
                logger.debug("frames of %s are looked for in files: %s", self.places.uuid, outcome.error)
                self._ask_again[rank] = math.inf
            else:
                raise outcome.error
        return known

    def _processed(self) -> int:
        known = self._statuses()
        counts = [known[rank].counts if rank in known else None for rank in range(len(self._links))]
        return self._dispatch.contiguous([0 if each is None else each.processed + each.invalid for each in counts])

    # --- files --------------------------------------------------------------------------------------------------------

    def _from_files(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        saved = self.places.saved
        if saved is None:
            return
        found = [(*self._place(index, saved), index) for index in indices]
        for (receiver, number), group in groupby(sorted(found), key=lambda each: each[:2]):
            path = saved.layout().receiver_file(receiver, number)
            try:
                yield from self._from_file(path, [(place, index) for _, _, place, index in group])
            except (OSError, KeyError) as error:  # a file has its final name only when it is complete
                logger.debug("%s is not there: %s", path, error)

    def _from_file(self, path: Path, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, np.ndarray]]:
        assert self.places.saved is not None
        with h5py.File(path, "r") as file:
            data = file[self.places.saved.data_path]
            there = [each for each in wanted if each[0] < len(data)]
            most = max(1, CHUNK_BYTES // max(int(np.prod(self.shape)) * self.dtype.itemsize, 1))
            for run in runs(there, most):
                first, last = run[0][0], run[-1][0]
                for (_, index), pixels in zip(run, data[first : last + 1], strict=True):
                    yield index, pixels.reshape(self.shape)

    def file_of(self, index: int) -> tuple[Path, int] | None:
        """(receiver file, place in it) of frame ``index``, None when frames are in no files."""
        saved = self.places.saved
        if saved is None:
            return None
        receiver, number, place = self._place(index, saved)
        return saved.layout().receiver_file(receiver, number), place

    def _place(self, index: int, saved: SavedFrames) -> tuple[int, int, int]:
        """(receiver, number of its file, place in that)."""
        receiver, local = self._dispatch.locate(index)
        return (receiver, *divmod(local, saved.nb_frames_per_file))

    def _lengths(self, receiver: int) -> Iterator[int]:
        """Frames in the files of a receiver, one after another."""
        saved, number = self.places.saved, 0
        while saved is not None:
            try:
                with h5py.File(saved.layout().receiver_file(receiver, number), "r") as file:
                    yield len(file[saved.data_path])
            except (OSError, KeyError):
                return
            number += 1


def runs(wanted: Iterable[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """(place, index) pairs in ascending order, cut where places do not follow each other or after ``most``."""
    run: list[tuple[int, int]] = []
    for each in wanted:
        if run and (each[0] != run[-1][0] + 1 or len(run) == most):
            yield run
            run = []
        run.append(each)
    if run:
        yield run
