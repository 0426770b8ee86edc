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
from lima2_bliss.controller.accumulation import with_depth
from lima2_bliss.controller.chain_check import check_taken_once
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
from lima2_bliss.controller.outcome import Outcome, file_lines, rate_lines
from lima2_bliss.controller.overlapping_run import NO_OVERLAP, scan_run
from lima2_bliss.controller.parameters import acquisition_parameters, pipeline_parameters, processing_parameters
from lima2_bliss.controller.rois_in_scan import RoisInScan
from lima2_bliss.controller.scan_links import ScanLinks, beside_counters
from lima2_bliss.controller.scan_pace import ScanPace
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
        self._state = with_depth(device.settings_now(), request)
        self._rois = RoisInScan(device)
        self._saving: Saving | None = None
        self._links: ScanLinks | None = None
        self._writer = ""
        self._acquisition: Acquisition | None = None
        self._run: ScanRun | None = None
        self._echo: Echo | None = None
        self._scan_greenlet: gevent.Greenlet | None = None
        self._told = False
        self._pace = ScanPace(device.name, request)
        self._scan_words = ""
        self._scan: Any = None

    # --- before the scan ------------------------------------------------------------------------------------------

    def add_counter(self, counter: Any) -> None:
        """Make the channel of a counter; its stream is filled by the publisher."""
        if counter in self._counters:
            return
        if counter._counter_controller is not self.device:
            raise ParameterError(f"counter {counter.fullname} does not belong to {self.device.name}")
        # the stream of an alias has the alias's name
        original = counter.object_ref if isinstance(counter, CounterAlias) else counter
        self._rois.check(original.name)
        channel = make_channel(f"{self.device.name}:{counter.name}", original)
        several = self.request.images_per_trigger > 1 and self.request.trigger != "internal"
        if several and type(channel) is PublishedChannel:
            channel.group = self.device.name
        self.channels.append(channel)
        self._counters[counter].append(channel)
        if original.name == PREVIEW:
            self.channels.append(preview_index_channel(f"{self.device.name}:{PREVIEW_INDEX}"))

    def __iter__(self) -> Iterator[Lima2AcquisitionMaster]:
        for _ in self._pace.iterations(leads=self.parent is None):
            yield self

    def apply_parameters(self) -> None:
        """First step of a scan: refuse two objects on the same devices, and files that cannot be written."""
        scan = self._scan = scan_of_apply_parameters()
        if scan is not None:
            check_scan_saving(scan, self.name, self._saves_images)
            self._rois.show(scan, self)
            self._links, self._writer = ScanLinks(scan, self.name), scan.writer.get_name()
            self._links.keep_together([PREVIEW_INDEX])
            self._scan_words = f"{int(scan.scan_number)}: {scan.scan_info.get('title', '')}"
        check_taken_once(self, Lima2AcquisitionMaster)

    @property
    def _overlaps(self) -> bool:
        """The scan may end before its images are saved."""
        return self._state.acquisition.overlap > 0 and self._writer not in NO_OVERLAP

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
        self.device.make_way(self._scan)
        acquisition = self.device.prepare_acquisition(
            acquisition_parameters(self._state, self.request),
            processing_parameters(self._state, self._saving).model_dump(mode="json"),
            self.request,
        )
        self._acquisition = acquisition
        self._define_channels(acquisition)
        unsaved = self.device.unsaved_scans.add if self._overlaps else None
        self._run = scan_run(acquisition, self.request, self._on_failure, self._finish_up, unsaved)
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
                access = self.device.access_name
                channel.define(definition, image_description(acquisition, access, offset, kept, self._overlaps))
            else:
                channel.define(definition)
            channel.more_info = more_info(channel.counter_name, acquisition)

    @property
    def acquisition(self) -> Acquisition | None:
        """The acquisition of this scan, None before it is prepared."""
        return self._acquisition

    @property
    def outcome(self) -> Outcome | None:
        """What it gave so far, None before it is prepared."""
        return None if self._run is None else self._run.outcome

    @property
    def finds_hits(self) -> bool:
        """Images are told apart into hits and others."""
        return self._state.processing.pipeline == "smx"

    def end_lines(self) -> Sequence[str]:
        """What the user is told at the end of a scan: images and their rate, hits, and where the images are."""
        outcome = self.outcome
        if outcome is None:
            return []
        hits = [] if outcome.hits is None else outcome.hits.lines()
        return [*rate_lines(outcome), *hits, *file_lines(outcome)]

    # --- while the scan runs --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, at the scan's first point; below another master only the trigger starts frames."""
        self._scan_greenlet = scan_greenlet() or self._scan_greenlet
        if self._run is not None and not self._run.started and (self.request.trigger != "internal" or not self.parent):
            self._begin()
        if self.parent is None:
            self.trigger()

    def _begin(self) -> None:
        assert self._run is not None
        channels: Sequence[Channel] = list(self.channels)
        self._run.start(lambda: self._begin_publishing(channels))
        outcome = self._run.outcome
        self._echo = Echo([channel for channel in channels if channel.echoed], lambda: bool(outcome.pending))

    def _begin_publishing(self, channels: Sequence[Channel]) -> ScanPublication:
        assert self._acquisition is not None
        publication = ScanPublication(self.device.publisher, self._acquisition, channels, self.outcome, self._overlaps)
        publication.begin()
        return publication

    def trigger(self) -> None:
        """Take the images of a point; returns when the receivers have them."""
        self.trigger_slaves()
        assert self._run is not None
        try:
            if self.request.trigger == "software":
                with self._pace.triggered():
                    self._run.trigger_and_wait()
            elif not self._run.started:
                self._begin()
                if self._pace.trigger_takes_all:
                    self._run.wait()
        except Lima2Error:
            self._told = True
            raise

    @property
    def trigger_span_s(self) -> tuple[float, float] | None:
        """Between these times the detector got its last software trigger [s since 1970], None before."""
        return None if self._run is None else self._run.trigger_span_s

    def trigger_ready(self) -> bool:
        """True, or an error that says why another trigger is not possible."""
        self._pace.check_trigger()
        return True

    def wait_ready(self) -> None:
        """Ready for the next iteration of the scan: the images that it has to wait for are there."""
        if self._run is not None and self._run.started:
            self._pace.wait_ready(self._run)

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
            self._run.abandon()
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
        self._look_for_lost_images()
        echo, self._echo = self._echo, None
        if echo is None:
            return
        if saved is not None:
            # the publisher has failed, or had no time to end: what is saved is told from here
            taken = max([saved, *self._points_published()])
            for channel in self.channels:
                if isinstance(channel, PublishedImageChannel):
                    append_to_stream(channel.stream, {"last_index": taken - 1, "last_index_saved": saved - 1})
        echo.finish()

    def _look_for_lost_images(self) -> None:
        """If the image device was lost, consumers shall take the images from files, not wait for it to have them."""
        error = None if self._run is None else self._run.error
        if isinstance(error, Lima2Error) and error.errinfo.get("device") == self.device.access_name:
            prepare_next_lima_acquisition(get_default_data_store(), self.device.access_name)

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
        if metadata and timing == self.META_TIMING.PREPARED:
            metadata = self.device.describe_scan(metadata, self._state, self.request)
        if timing == self.META_TIMING.END and self._run is not None and self._run.outcome.status is not None:
            metadata = metadata or {}
            metadata["acquisition"] = outcome_metadata(self._run.outcome, self.request)
        if timing == self.META_TIMING.END and self._run is not None and self._links is not None:
            metadata = (metadata or {}) | self._links.of(self._run)
        return metadata and beside_counters(metadata, [channel.fullname for channel in self.channels], self.name)
