"""Keeps a detector and the scan around it in step: whether it can be triggered, and when the scan may go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import gevent.event

from lima2_bliss.contract import StateError
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.scan_run import ScanRun


class ScanPace:
    """The iterations of a scan, seen from detector ``name``.

    An iteration is what the scan's first master makes of it: a point of a step scan, a line of a continuous one.
    """

    def __init__(self, name: str, request: ScanRequest) -> None:
        self._name = name
        self._request = request
        self._ids = None if request.wait_frame_ids is None else iter(request.wait_frame_ids)
        self._iteration = 0
        self._triggers = 0  # that the detector got
        self._repeats = 0  # that the scan has asked for, without the first
        self._awaited = -1
        self._idle = gevent.event.Event()
        self._idle.set()

    def iterations(self, leads: bool) -> Iterator[None]:
        """One item for each iteration; without end unless the detector ``leads`` the scan, as its first master."""
        for _ in self._own_iterations() if leads else itertools.count():
            self._iteration += 1
            if self._ids is not None:
                self._awaited = self._next_id()
            yield

    def _own_iterations(self) -> Iterable[int]:
        request = self._request
        if request.trigger == "software":
            return itertools.count() if request.endless else range(request.nb_images // request.images_per_trigger)
        return range(len(request.wait_frame_ids) if isinstance(request.wait_frame_ids, tuple) else 1)

    def _next_id(self) -> int:
        assert self._ids is not None
        for index in self._ids:
            return index
        raise StateError(
            f"{self._name}: the scan goes on to iteration {self._iteration}, but wait_frame_id has only"
            f" {self._iteration - 1} image indices; give one for each iteration"
        )

    @property
    def trigger_takes_all(self) -> bool:
        """The one trigger of internal trigger mode is over when all images are there."""
        return not self._request.endless and self._ids is None

    @contextmanager
    def triggered(self) -> Iterator[None]:
        """Within, the images of a trigger are taken."""
        self._triggers += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def check_trigger(self) -> None:
        """`StateError` when another trigger, after at least one, comes too early or makes no sense."""
        if self._request.trigger == "internal" and self._ids is None:
            raise StateError(
                f"{self._name} is triggered a second time, but with acq_trigger_mode 'internal' the first trigger"
                " starts all images of the scan; use 'software' with acq_frames_per_point images at each trigger,"
                " or let it run over several iterations with wait_frame_id"
            )
        self._repeats += 1
        begun = self._triggers >= self._repeats
        if self._request.trigger == "software" and not (begun and self._idle.is_set()):
            raise StateError(
                f"{self._name}: trigger {self._repeats + 1} comes before the images of trigger {self._repeats} are"
                " there; lower the speed of the scan, or the exposure"
            )

    def wait_ready(self, run: ScanRun) -> None:
        """Return when the scan may go on to its next iteration, as the request has it."""
        request = self._request
        if request.trigger == "software":
            self._idle.wait()
        if self._ids is not None:
            wanted = self._awaited + 1
            if request.trigger == "software" and wanted > self._triggers * request.images_per_trigger:
                raise StateError(
                    f"{self._name}: image {self._awaited} of wait_frame_id cannot come: after iteration"
                    f" {self._iteration} the scan has triggered {self._triggers * request.images_per_trigger} images"
                )
            run.wait_images(wanted, f"image {self._awaited} of wait_frame_id")
        elif request.wait_each_point:
            run.wait_images(self._iteration * request.images_per_trigger, f"point {self._iteration}")
