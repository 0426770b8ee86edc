"""How a detector takes part in a BLISS scan."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from bliss.common.alias import CounterAlias
from bliss.common.data_store import get_default_data_store
from bliss.scanning.chain import AcquisitionMaster
from blissdata.lima.client import prepare_next_lima_acquisition

from lima2_bliss.client import Acquisition
from lima2_bliss.contract import Lima2Error, ParameterError
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.controller.channels import (
    Channel,
    PublishedChannel,
    PublishedImageChannel,
    make_channel,
    preview_index_channel,
)
from lima2_bliss.controller.compatibility import append_to_stream, scan_greenlet, scan_of_apply_parameters
from lima2_bliss.controller.echo import Echo
from lima2_bliss.controller.hits import hit_summary
from lima2_bliss.controller.image_files import check_scan_saving, image_saving
from lima2_bliss.controller.metadata import outcome_metadata
from lima2_bliss.controller.outcome import file_lines
from lima2_bliss.controller.parameters import acquisition_parameters, pipeline_parameters, processing_parameters
from lima2_bliss.controller.scan_publication import (
    ScanPublication,
    frames_kept,
    image_description,
    more_info,
    stream_definitions,
)
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.scan_run import ScanRun
from lima2_bliss.publishing.streams import PREVIEW, PREVIEW_INDEX

_log = logging.getLogger(__name__)


class Lima2AcquisitionMaster(AcquisitionMaster):
    """One lima2 acquisition for a whole scan: prepared and started once, triggered at each point if need be.

    The receivers' results go to the scan's streams by the publisher process; nothing passes through this one.
    """

    def __init__(self, device: Any, request: ScanRequest, ctrl_params: Any = None) -> None:
        by_hardware = request.trigger in ("external", "gate")
        super().__init__(
            device,
            name=device.name,
            npoints=request.nb_images,
            trigger_type=AcquisitionMaster.HARDWARE if by_hardware else AcquisitionMaster.SOFTWARE,
            prepare_once=True,
            start_once=by_hardware,
            ctrl_params=ctrl_params,
        )
        self.request = request
        self._state = device.settings_now()
        self._saving: Saving | None = None
        self._acquisition: Acquisition | None = None
        self._run: ScanRun | None = None
        self._echo: Echo | None = None
        self._scan_greenlet: gevent.Greenlet | None = None
        self._told = False
        self._points = 0
        self._scan_words = ""

    # --- before the scan ------------------------------------------------------------------------------------------

    def add_counter(self, counter: Any) -> None:
        """Make the channel of a counter; its stream is filled by the publisher."""
        if counter in self._counters:
            return
        if counter._counter_controller is not self.device:
            raise ParameterError(f"counter {counter.fullname} does not belong to {self.device.name}")
        # the stream of an alias has the alias's name
        original = counter.object_ref if isinstance(counter, CounterAlias) else counter
        channel = make_channel(f"{self.device.name}:{counter.name}", original)
        several = self.request.images_per_trigger > 1 and self.request.trigger != "internal"
        if several and type(channel) is PublishedChannel:
            channel.group = self.device.name
        self.channels.append(channel)
        self._counters[counter].append(channel)
        if original.name == PREVIEW:
            self.channels.append(preview_index_channel(f"{self.device.name}:{PREVIEW_INDEX}"))

    def __iter__(self) -> Iterator[Lima2AcquisitionMaster]:
        while True:
            self._points += 1
            yield self
            if self.parent is None:
                return

    def apply_parameters(self) -> None:
        """First step of a scan: refuse two objects on the same devices, and files that cannot be written."""
        scan = scan_of_apply_parameters()
        if scan is not None:
            check_scan_saving(scan, self.name, self._saves_images)
            self._scan_words = f"{int(scan.scan_number)}: {scan.scan_info.get('title', '')}"
        top: Any = self
        while top.parent is not None:
            top = top.parent
        for other in _masters_below(top):
            if other is not self and other.device.control_name == self.device.control_name:
                raise ParameterError(
                    f"{self.device.name} and {other.device.name} use the same detector"
                    f" ({self.device.control_name}); take only one of them into a scan"
                )

    @property
    def _saves_images(self) -> bool:
        """Images are written if the scan is saved."""
        return self._state.saving.enabled and any(isinstance(each, PublishedImageChannel) for each in self.channels)

    def set_device_saving(self, directory: str | None, prefix: str | None, force_no_saving: bool = False) -> None:
        """Where images go, from SCAN_SAVING; nothing is written without the `image` counter."""
        self._saving = None
        if self._saves_images and not force_no_saving and directory is not None:
            self._saving = image_saving(self._state.saving, self.device.name, directory, prefix or "")

    def prepare(self) -> None:
        """Prepare detector and receivers, once per scan."""
        if self._acquisition is not None:
            return
        acquisition = self.device.prepare_acquisition(
            acquisition_parameters(self._state, self.request),
            processing_parameters(self._state, self._saving).model_dump(mode="json"),
            self.request,
        )
        self._acquisition = acquisition
        self._define_channels(acquisition)
        self._run = ScanRun(acquisition, self.request, self._on_failure, self._finish_up)
        self.device.remember(self._run.outcome)
        self.device.name_acquisition(acquisition.uuid, self._scan_words)

    def _define_channels(self, acquisition: Acquisition) -> None:
        processing = pipeline_parameters(acquisition.processing_parameters)
        definitions = stream_definitions(self._state, processing, acquisition)
        for channel in self.channels:
            definition = definitions[channel.counter_name]
            if isinstance(channel, PublishedImageChannel):
                offset = prepare_next_lima_acquisition(get_default_data_store(), self.device.access_name)
                kept = frames_kept(processing, acquisition)
                channel.define(definition, image_description(acquisition, self.device.access_name, offset, kept))
            else:
                channel.define(definition)
            channel.more_info = more_info(channel.counter_name, acquisition)

    @property
    def images_processed(self) -> int:
        """Images of this scan that are processed by now."""
        status = None if self._run is None else self._run.outcome.status
        return 0 if status is None else status.processed

    def end_lines(self) -> Sequence[str]:
        """What the user is told at the end of a scan: hits, and where the images are."""
        outcome = None if self._run is None else self._run.outcome
        if outcome is None:
            return []
        return [*([] if outcome.hits is None else outcome.hits.lines()), *file_lines(outcome)]

    # --- while the scan runs --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, at the scan's first point; below another master only the trigger starts frames."""
        self._scan_greenlet = scan_greenlet() or self._scan_greenlet
        if self._run is not None and not self._run.started and (self.request.trigger != "internal" or not self.parent):
            self._begin()

    def _begin(self) -> None:
        assert self._run is not None
        channels: Sequence[Channel] = list(self.channels)
        self._run.start(lambda: self._begin_publishing(channels))
        self._echo = Echo([channel for channel in channels if channel.echoed])

    def _begin_publishing(self, channels: Sequence[Channel]) -> ScanPublication:
        assert self._acquisition is not None
        publication = ScanPublication(self.device.publisher, self._acquisition, channels)
        publication.begin()
        return publication

    def trigger(self) -> None:
        """Take the images of a point; returns when the receivers have them."""
        self.trigger_slaves()
        assert self._run is not None
        try:
            if self.request.trigger == "software":
                self._run.trigger_and_wait()
            elif not self._run.started:
                self._begin()
                if self.parent is not None and not self.request.endless:
                    self._run.wait()
        except Lima2Error:
            self._told = True
            raise

    def wait_ready(self) -> None:
        """Ready for the next point: with an external signal when the images of this one are there.

        `trigger` has waited for those of software triggers.
        """
        if self.request.wait_each_point and self.parent is not None and self._run is not None and self._run.started:
            self._run.wait_point(self._points)

    def wait_reading(self) -> None:
        """Wait until everything is received, saved and published; raises what went wrong, once."""
        if self._run is None or self._told:
            return
        try:
            self._run.wait()
        except Exception:
            self._told = True
            raise

    def stop(self) -> None:
        """End the acquisition; after Ctrl-C or a failure what is there is still saved, within a limited time."""
        if self._run is None or self._acquisition is None:
            return
        if not self._run.started:
            self.device.abandon(self._acquisition)
            return
        self._run.stop()

    def _on_failure(self, error: Exception) -> bool:
        """End the scan at once, wherever it is (in a long count, in a movement)."""
        self.device.note_failure(error)
        if self._scan_greenlet is None or self._scan_greenlet.ready():
            return False
        self._told = True
        self._scan_greenlet.kill(error, block=False)
        return True

    def _finish_up(self, saved: int | None) -> None:
        self._sum_up()
        echo, self._echo = self._echo, None
        if echo is None:
            return
        if saved is not None:
            # the publisher has failed, or had no time to end: what is saved is told from here
            saved = max([saved, *self._points_published()])
            for channel in self.channels:
                if isinstance(channel, PublishedImageChannel):
                    append_to_stream(channel.stream, {"last_index": saved - 1, "last_index_saved": saved - 1})
        echo.finish()

    def _sum_up(self) -> None:
        """Hits and spots of this acquisition, if it looked for them and the receivers still tell."""
        assert self._run is not None
        assert self._acquisition is not None
        if self._state.processing.pipeline != "smx" or self._run.error is not None:
            return
        try:
            self._run.outcome.hits = hit_summary(self._acquisition)
        except Lima2Error as error:
            _log.warning("%s: hits and spots cannot be summed up: %s", self.device.name, error)

    def _points_published(self) -> Iterator[int]:
        """How many frames each numeric stream has values of."""
        for channel in self.channels:
            if channel.definition is not None and channel.definition.kind in ("scalar", "vector", "hit_rate"):
                yield len(channel.stream)

    # --- metadata -------------------------------------------------------------------------------------------------

    def get_acquisition_metadata(self, timing: Any = None) -> dict[str, Any] | None:
        """Settings when the scan is prepared; what was received and lost at its end."""
        metadata: dict[str, Any] | None = super().get_acquisition_metadata(timing=timing)
        if timing == self.META_TIMING.END and self._run is not None and self._run.outcome.status is not None:
            metadata = metadata or {}
            metadata["acquisition"] = outcome_metadata(self._run.outcome, self.request)
        return metadata


def _masters_below(master: Any) -> Iterator[Lima2AcquisitionMaster]:
    if isinstance(master, Lima2AcquisitionMaster):
        yield master
    for slave in getattr(master, "slaves", ()):
        yield from _masters_below(slave)
