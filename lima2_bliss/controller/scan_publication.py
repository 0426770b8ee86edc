"""From a scan's channels to the publisher's job, and the publication while it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from bliss.common.data_store import get_default_data_store

from lima2_bliss.client import Acquisition
from lima2_bliss.contract import Lima2Error, error_from_json
from lima2_bliss.contract.parameters import SmxParameters
from lima2_bliss.controller.channels import Channel
from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.parameters import DetectorState, PipelineParameters, image_section, pipeline_parameters
from lima2_bliss.publishing.common_streams import IMAGE
from lima2_bliss.publishing.frame_places import FRAMES, FramePlaces, saved_frames
from lima2_bliss.publishing.job import PublishJob, ReceiverAddress, StreamTarget
from lima2_bliss.publishing.lima_info import SPARSE_FILES, lima_info, saved_files, saved_sparse_files
from lima2_bliss.publishing.publisher_client import PublisherClient
from lima2_bliss.publishing.smx_streams import NB_SPARSE
from lima2_bliss.publishing.streams import StreamDefinition, pipeline_streams, row_counts, rows_per_frame

_log = logging.getLogger(__name__)


def stream_definitions(
    state: DetectorState, processing: PipelineParameters, acquisition: Acquisition
) -> dict[str, StreamDefinition]:
    """All streams that a scan with these settings can have, by counter name; the acquisition is prepared."""
    streams = pipeline_streams(
        processing,
        acquisition.frame_info,
        state.roi_order(),
        list(state.profiles),
        nb_bins=_number_of_bins(acquisition),
    )
    return {stream.name: stream for stream in streams}


def _number_of_bins(acquisition: Acquisition) -> int:
    """Radial bins of the background as the receivers have them; 0 when the pipeline has none."""
    source = acquisition.known.receivers[0].pipeline.sources.get("sparse_frame")
    return 0 if source is None else int(source.frame_info.get("nb_bins", 0))


def frames_kept(processing: PipelineParameters, acquisition: Acquisition) -> int:
    """Images that stay readable on the receivers together."""
    return processing.buffers.nb_frames_buffer * acquisition.topology.receivers


def publish_job(acquisition: Acquisition, channels: Sequence[Channel], overlaps: bool = False) -> PublishJob:
    """The job that fills the streams of these channels; arguments as of `image_description`."""
    processing = pipeline_parameters(acquisition.processing_parameters)
    names = [receiver.name for receiver in acquisition.known.receivers]
    targets = [
        StreamTarget(definition=channel.definition, key=channel.stream.key)
        for channel in channels
        if channel.definition is not None
    ]
    return PublishJob(
        uuid=acquisition.uuid,
        redis_url=get_default_data_store()._url,
        receivers=[
            ReceiverAddress(name=name, endpoint=endpoint)
            for name, endpoint in zip(names, acquisition.endpoints(), strict=True)
        ],
        block=acquisition.topology.block,
        nb_frames=acquisition.nb_frames,
        rows_per_frame=rows_per_frame(processing, _number_of_bins(acquisition)),
        row_counts=row_counts(processing),
        streams=targets,
        saved=_saved_by(processing, acquisition, overlaps),
    )


def _saved_by(
    processing: PipelineParameters, acquisition: Acquisition, overlaps: bool
) -> Literal["none", "receiver_files", "master"]:
    if not image_section(processing).enabled:
        return "none"
    return "master" if overlaps or acquisition.topology.receivers > 1 else "receiver_files"


def image_description(
    acquisition: Acquisition, server: str, offset: int, kept: int, overlaps: bool = False
) -> dict[str, Any]:
    """``lima_info`` of the image stream: the image device, and the files if images are saved.

    A scan that ``overlaps`` the next may end before its files are complete: it then refers to the master file, which
    is not there until they are, and never to files that lack images.
    """
    saving = image_section(pipeline_parameters(acquisition.processing_parameters))
    receivers, nb_frames = acquisition.topology.receivers, acquisition.nb_frames
    by_master = overlaps or receivers > 1
    files = saved_files(saving.layout(), receivers, nb_frames, by_master) if saving.enabled else None
    return lima_info(server, kept, nb_frames, offset, files)


def more_info(name: str, acquisition: Acquisition) -> dict[str, Any]:
    """What the info of stream ``name`` has beside dtype, shape and unit."""
    processing = pipeline_parameters(acquisition.processing_parameters)
    if name == IMAGE:
        return {FRAMES: _frame_places(processing, acquisition).model_dump(mode="json")}
    if name != NB_SPARSE or not isinstance(processing, SmxParameters) or not processing.saving_sparse.enabled:
        return {}
    layout, receivers = processing.saving_sparse.layout(), acquisition.topology.receivers
    return {SPARSE_FILES: saved_sparse_files(layout, receivers, acquisition.nb_frames)}


def _frame_places(processing: PipelineParameters, acquisition: Acquisition) -> FramePlaces:
    saving = image_section(processing)
    return FramePlaces(
        uuid=acquisition.uuid,
        endpoints=acquisition.endpoints(),
        receivers=[receiver.name for receiver in acquisition.known.receivers],
        block=acquisition.topology.block,
        saved=saved_frames(saving.layout()) if saving.enabled else None,
    )


class ScanPublication:
    """The publication of a scan's acquisition."""

    def __init__(
        self,
        publisher: PublisherClient,
        acquisition: Acquisition,
        channels: Sequence[Channel],
        outcome: Outcome | None = None,
        overlaps: bool = False,
    ) -> None:
        self._publisher = publisher
        self._outcome = outcome
        self._job = publish_job(acquisition, channels, overlaps)
        self._warned = 0

    def begin(self) -> None:
        """Have the publisher begin."""
        self._publisher.begin(self._job)

    def watch(self) -> None:
        """Return when the publication has ended; raises what goes wrong meanwhile."""
        seen = -1
        while True:
            status = self._publisher.wait_change(self._job.uuid, seen)
            if status.state == "failed":
                raise error_from_json(status.error)
            if status.final:
                return
            for warning in status.warnings[self._warned :]:
                _log.warning("%s", warning)
            self._warned = len(status.warnings)
            seen = status.revision

    def finish(self, saved: int | None, timeout_s: float) -> None:
        """Wait until everything is published; ``saved`` frames are readable from files."""
        status = self._publisher.finish(self._job.uuid, saved=saved, timeout_s=timeout_s)
        if self._outcome is not None:
            self._outcome.publication = status

    def abort(self, why: str) -> None:
        """Give up; a publisher that is gone is only logged."""
        try:
            self._publisher.abort(self._job.uuid, why)
        except Lima2Error as error:
            _log.warning("publication of %s could not be aborted: %s", self._job.uuid, error)
