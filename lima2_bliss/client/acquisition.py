"""One acquisition over all receivers: start, follow, stop, close, and read what it gave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lima2_bliss.client.devices import Devices
from lima2_bliss.client.errors_by_device import failures, one_error, raise_failures
from lima2_bliss.client.masters import MasterWriter
from lima2_bliss.client.pace import Pace
from lima2_bliss.client.reading import Reading
from lima2_bliss.client.receiver_link import ask_all, read_status
from lima2_bliss.client.sources import FRAME, INPUT_FRAME, accumulation_depth, counted_source
from lima2_bliss.client.status import AcquisitionStatus, ReceiverStatus, gather
from lima2_bliss.client.tango_link import on_each
from lima2_bliss.client.watch import Patience, Watch, nothing_yet
from lima2_bliss.contract import (
    AcquisitionError,
    ConnectionLostError,
    DeviceTimeoutError,
    FrameInfo,
    Lima2Error,
    ParameterError,
    RoundRobin,
)
from lima2_bliss.contract.wire import StatusRequest

logger = logging.getLogger(__name__)

Until = str | Callable[[AcquisitionStatus], bool]


class Acquisition:
    """A prepared, running or past acquisition, known by its ``uuid``. As a context manager it is closed at the end.

    ``topology`` is the dispatch of the processed frames, ``input_topology`` of the raw ones. ``recovered`` are
    sentences that say what was put right before it could be prepared.
    """

    def __init__(
        self,
        uuid: str,
        devices: Devices,
        acquisition: dict[str, Any],
        processing: dict[str, Any],
        *,
        recovered: Sequence[str] = (),
        patience: Patience = Patience(),
    ) -> None:
        self.uuid = uuid
        self.acquisition_parameters = acquisition
        self.processing_parameters = processing
        self.recovered = list(recovered)
        self._devices = devices
        self._patience = patience
        self.depth = accumulation_depth(processing)
        nb_receivers = len(devices.receivers)
        self.topology = RoundRobin(nb_receivers)
        self.input_topology = RoundRobin(nb_receivers, self.depth)
        self._known: list[ReceiverStatus] = [
            nothing_yet(device.name, rank, uuid) for rank, device in enumerate(devices.receivers)
        ]
        self._released = False
        self._masters = MasterWriter(uuid, devices, acquisition, processing)
        self._saved_source = counted_source(self._masters.paths)
        self._reading = Reading(uuid, devices.links, processing, self.topology, self.input_topology, self.status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stop()
        self.close()

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def nb_input_frames(self) -> int:
        """Raw frames asked for, over all receivers; 0 is endless."""
        return int(self.acquisition_parameters.get("acq", {}).get("nb_frames", 1))

    @property
    def nb_frames(self) -> int:
        """Processed frames that will come, over all receivers; 0 is endless."""
        return self.nb_input_frames // self.depth

    @property
    def frame_info(self) -> FrameInfo:
        """Shape and type of the processed frames."""
        return self._reading.info(FRAME)

    @property
    def input_frame_info(self) -> FrameInfo:
        """Shape and type of the raw frames."""
        return self._reading.info(INPUT_FRAME)

    def endpoints(self) -> list[str]:
        """Addresses of the receivers' access servers, in rank order."""
        return [link.endpoint for link in self._devices.links]

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start: receivers first, so that nothing that the detector sends can be missed."""
        outcomes = on_each(self._devices.receivers, lambda device: device.call_here("Start"))
        try:
            raise_failures(outcomes, "start")
            self._devices.control.call("Start")
        except Lima2Error:
            self.stop()
            raise

    def trigger(self) -> None:
        """Software trigger."""
        self._devices.control.call("Trigger")

    def stop(self) -> list[str]:
        """End exposing: control first (it sets the cut), then the receivers; what is there is processed and saved.

        Never raises for a device that is gone; returns one sentence for each device that did not stop.
        """
        outcome = on_each([self._devices.control], lambda device: device.call_here("Stop"))
        outcome |= on_each(self._devices.receivers, lambda device: device.call_here("Stop"))
        faults = []
        for name, error in failures(outcome).items():
            faults.append(f"{name} was not stopped: {error}")
            # a device that is gone is told by `wait`; one that is there and does not stop needs the user
            level = logging.DEBUG if isinstance(error, ConnectionLostError) else logging.WARNING
            logger.log(level, "acquisition %s: %s", self.uuid, faults[-1])
        return faults

    def close(self, timeout_s: float = 30.0) -> dict[str, Path]:
        """Wait until all is processed and saved, end the acquisition on control, write the master files.

        Returns the master file of each saved frame source. An acquisition that failed, or whose receiver was lost, is
        closed just the same, with the frames that are in files. `DeviceTimeoutError` when it does not end in time.
        """
        self._settle(timeout_s)
        self.release()
        return self._masters.write(self._known, timeout_s)

    def release(self) -> None:
        """End the acquisition on control, once: another one can be prepared while this one is still processed."""
        if self._released:
            return
        self._released = True
        try:
            self._devices.control.call("Close")
        except ConnectionLostError as error:
            logger.warning("acquisition %s could not be closed on control: %s", self.uuid, error)

    def _settle(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._watch() as watch:
            while True:
                self._known = watch.receivers
                busy = [each.name for each in self._known if not each.ended and each.name not in watch.lost]
                if not busy:
                    return
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeviceTimeoutError(
                        f"acquisition {self.uuid} is not finished after {timeout_s:g} s on {', '.join(busy)}; "
                        "stop() it, or wait longer"
                    )
                try:
                    watch.next(left)
                except (AcquisitionError, ConnectionLostError) as error:
                    logger.warning("acquisition %s: %s", self.uuid, error)

    # --- following it -------------------------------------------------------------------------------------------------

    def status(self) -> AcquisitionStatus:
        """Counts of all receivers now. A receiver that does not answer keeps the last that was heard of it."""
        known = []
        asked = ask_all(self._devices.links, StatusRequest(uuid=self.uuid))
        for rank, (link, outcome) in enumerate(zip(self._devices.links, asked, strict=True)):
            if isinstance(outcome.error, ConnectionLostError):
                known.append(ReceiverStatus(link.receiver, rank, self._known[rank].pipeline, reached=False))
            else:
                known.append(ReceiverStatus(link.receiver, rank, read_status(outcome.get()[0], link.receiver)))
        self._known = known
        return self._gathered()

    @property
    def known(self) -> AcquisitionStatus:
        """Counts of all receivers as they were last heard; nobody is asked, so nobody who is gone is waited for."""
        return self._gathered()

    def wait(
        self,
        until: Until = "finished",
        n: int = 0,
        timeout_s: float | None = None,
        on_progress: Callable[[AcquisitionStatus], None] | None = None,
    ) -> AcquisitionStatus:
        """Wait until all is ``finished``, or ``n`` frames are ``received``, ``processed`` or ``saved``, or a predicate
        on the status holds. ``on_progress`` is called with every new status.

        Raises `AcquisitionError` or `ConnectionLostError` naming the receiver within a second of its failure or death,
        `DeviceTimeoutError` after ``timeout_s``.
        """
        reached = self._predicate(until, n)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pace = Pace(n if isinstance(until, str) and until != "finished" else self.nb_frames)
        with self._watch() as watch:
            while True:
                self._known = watch.receivers
                status = self._gathered()
                pace.note(status.processed)
                if on_progress is not None:
                    on_progress(status)
                if reached(status):
                    return status
                self._raise_faults(status, watch)
                if status.finished and all(receiver.reached for receiver in status.receivers):
                    raise AcquisitionError(
                        f"acquisition {self.uuid} ended before {until!s} {n}: {status.received} frames received, "
                        f"{status.processed} processed, {status.saved} saved"
                    )
                left = 3600.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise DeviceTimeoutError(
                        f"acquisition {self.uuid}: {until!s} {n or ''} not reached within {timeout_s:g} s "
                        f"({status.received} frames received, {status.processed} processed, {status.saved} saved)"
                    )
                watch.next(min(left, 1.0), pace.hold_s)

    def _raise_faults(self, status: AcquisitionStatus, watch: Watch) -> None:
        if watch.lost:
            raise one_error(list(watch.lost.values()))
        if status.failed:
            raise AcquisitionError("\n".join(status.errors), uuid=self.uuid)

    def _predicate(self, until: Until, n: int) -> Callable[[AcquisitionStatus], bool]:
        if callable(until):
            return until
        if until == "finished":
            return lambda status: status.finished and not status.failed
        if until in ("received", "processed", "saved"):
            return lambda status: int(getattr(status, until)) >= n
        raise ParameterError(
            f"cannot wait for {until!r}; give 'finished', 'received', 'processed', 'saved' or a function"
        )

    def _watch(self) -> Watch:
        d = self._devices
        # once released, control belongs to the next acquisition
        control = None if self._released else d.control
        return Watch(self.uuid, d.links, d.receivers, d.pids, control, self._known, self._patience)

    def _gathered(self) -> AcquisitionStatus:
        return gather(self.uuid, self._known, self.input_topology, self.topology, self._saved_source)

    # --- what it gave -------------------------------------------------------------------------------------------------

    def frame(self, index: int = -1, source: str = FRAME) -> np.ndarray:
        """Pixels (channels, height, width) of the frame with this global index; -1 is the newest of all receivers."""
        return self._reading.one(index, source)

    def newest(self, source: str = FRAME) -> tuple[int, np.ndarray]:
        """(global index, pixels) of the newest frame of all receivers."""
        return self._reading.newest(source)

    def frames(
        self, indices: slice | Iterable[int] = slice(None), source: str = FRAME, *, skip_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(global index, pixels) one after another in the order asked, read in bulk from all receivers at once.

        A slice counts over the frames that are there now. ``skip_missing`` leaves out frames that are not (any more).
        Accumulated images (`acc_corrected`, `acc_peaks`) are of one receiver each, named by their last frame's index.
        Frames of `input_frame` and `raw_frame` are counted before any accumulation, up to `nb_input_frames`.
        """
        return self._reading.many(indices, source, skip_missing)

    def results(self, stream: str, position: int = 0) -> np.ndarray:
        """Result rows in global frame order, from row ``position`` on, of all frames that are there without a gap."""
        return self._reading.results(stream, position)

    def files(self) -> list[Path]:
        """Receiver files that are complete, source after source in rank order."""
        return self._masters.receiver_files(self.status().receivers)

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Further NXdetector fields of the master files: a plain tree as `lima2_bliss.client.nxdetector` has it."""
        self._masters.describe(fields)

    @property
    def master_files(self) -> dict[str, Path]:
        """Where the master file of each saved frame source is, or will be after `close`."""
        return self._masters.paths
