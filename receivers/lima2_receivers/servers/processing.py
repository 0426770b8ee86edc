"""The processing device of an acquisition on a receiver: made at Prepare, gone when the pipeline is erased."""

from __future__ import annotations

import json
import logging
from typing import ClassVar

import tango
from tango.server import Device, attribute, command

from lima2_bliss.contract import NO_ERROR, ROI_STATISTICS
from lima2_bliss.contract.encoding import encode_rows
from lima2_bliss.contract.records import (
    FRAME_IDX,
    FRAME_IDX_STREAM,
    ROI_PROFILE,
    ROI_PROFILES_STREAM,
    ROI_STATISTICS_STREAM,
)
from lima2_bliss.contract.wire import PipelineStatus
from lima2_receivers.engine.pipeline_run import OUTPUT, PipelineRun
from lima2_receivers.servers.acquisition_device import software_version
from lima2_receivers.servers.run_view import (
    Encoded,
    ResultCursor,
    counters,
    encoded_frame,
    input_source,
    newest_indices,
)
from lima2_receivers.servers.tango_errors import beside_others, speaks_tango

logger = logging.getLogger(__name__)

FRAME_INDEX = "global frame index, -1 for the newest"


class ProcessingDevice(Device):
    """Counts, frames and results of one acquisition on one receiver, as LImA2 clients read them."""

    #: The run behind each device, by device name; the receiver puts it there before it makes the device.
    runs: ClassVar[dict[str, PipelineRun]] = {}

    def init_device(self) -> None:
        super().init_device()
        self._run = self.runs[self.get_name()]
        self._cursor = ResultCursor(self._run)
        self._gone = False
        for carrier in ("is_finished", "last_error"):
            self.set_data_ready_event(carrier, True)
        self._run.on_error(lambda error: self._push("last_error"))
        self._run.on_finished(lambda: self._push("is_finished"))

    def delete_device(self) -> None:
        self._gone = True

    def _push(self, carrier: str) -> None:
        """Tell clients, from whatever thread. Nobody listens to a device that is gone."""
        if self._gone:
            return
        with tango.EnsureOmniThread():
            try:
                self.push_data_ready_event(carrier, 0)
            except tango.DevFailed:
                logger.exception("%s: event on %s could not be sent", self.get_name(), carrier)

    def dev_state(self) -> tango.DevState:
        if self._run.error is not None:
            return tango.DevState.FAULT
        return tango.DevState.ON if self._run.finished.is_set() else tango.DevState.RUNNING

    # --- counts ---------------------------------------------------------------------------------------------------

    @attribute(dtype=str, doc="JSON counts of this receiver; lost frames count as holes")
    @speaks_tango
    def progress_counters(self) -> str:
        return json.dumps(self.counters(self._run.status()))

    def counters(self, status: PipelineStatus) -> dict[str, int]:
        """What `progress_counters` says."""
        return counters(status)

    @attribute(dtype=str, doc="JSON: global index of the newest frame of each source, -1 when there is none")
    @speaks_tango
    def last_frames(self) -> str:
        return json.dumps(self.newest_indices())

    def newest_indices(self) -> dict[str, int]:
        """What `last_frames` says."""
        return newest_indices(self._run)

    @attribute(dtype=bool, doc="sends one data-ready event when all is processed and saved")
    @speaks_tango
    def is_finished(self) -> bool:
        return self._run.finished.is_set()

    @attribute(dtype=str, doc="JSON of the error that ended the acquisition, or `No error`; sends a data-ready event")
    @speaks_tango
    def last_error(self) -> str:
        return NO_ERROR if self._run.error is None else self._run.error.to_json()

    @attribute(dtype=str, doc="software version")
    @speaks_tango
    def version(self) -> str:
        return software_version()

    # --- frames ---------------------------------------------------------------------------------------------------

    @attribute(dtype=str, doc="JSON: shape and pixel type of the raw frames")
    @speaks_tango
    def input_frame_info(self) -> str:
        output = self._run.graph.outputs.get(input_source(self._run))
        return json.dumps((self._run.setup.input if output is None else output.info).to_json())

    @attribute(dtype=str, doc="JSON: shape and pixel type of the processed frames")
    @speaks_tango
    def processed_frame_info(self) -> str:
        output = self._run.graph.outputs.get(OUTPUT)
        return json.dumps((self._run.setup.input if output is None else output.info).to_json())

    @attribute(dtype=str, doc="JSON: shape and pixel type of the frames of each source, by its name")
    @speaks_tango
    def frame_infos(self) -> str:
        return json.dumps({source: output.info.to_json() for source, output in self._run.graph.outputs.items()})

    @command(dtype_in="DevLong", dtype_out="DevEncoded", doc_in=FRAME_INDEX)
    @speaks_tango
    @beside_others
    def getFrame(self, index: int) -> Encoded:
        return encoded_frame(self._run, OUTPUT, index)

    # --- results ---------------------------------------------------------------------------------------------------

    @command(dtype_out="DevEncoded", doc_out="rows of ROI statistics since the last call")
    @speaks_tango
    @beside_others
    def popRoiStatistics(self) -> Encoded:
        return encode_rows(self._cursor.pop(ROI_STATISTICS_STREAM, ROI_STATISTICS))

    @command(dtype_out="DevEncoded", doc_out="rows of ROI profiles since the last call")
    @speaks_tango
    @beside_others
    def popRoiProfiles(self) -> Encoded:
        return encode_rows(self._cursor.pop(ROI_PROFILES_STREAM, ROI_PROFILE))

    @command(dtype_out="DevEncoded", doc_out="(recv_idx, frame_idx) of the frames since the last call")
    @speaks_tango
    @beside_others
    def popFrameIdx(self) -> Encoded:
        return encode_rows(self._cursor.pop(FRAME_IDX_STREAM, FRAME_IDX))


class RawFramesDevice(ProcessingDevice):
    """A processing device whose pipeline changes the frames, and keeps the raw ones as well."""

    @command(dtype_in="DevLong", dtype_out="DevEncoded", doc_in=FRAME_INDEX)
    @speaks_tango
    @beside_others
    def getInputFrame(self, index: int) -> Encoded:
        return encoded_frame(self._run, input_source(self._run), index)
