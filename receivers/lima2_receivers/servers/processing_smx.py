"""The processing device of the SMX pipeline."""

from __future__ import annotations

from tango.server import command

from lima2_bliss.contract.encoding import encode_rows
from lima2_bliss.contract.records import PEAK_COUNTER, SMX_FRAME, SMX_FRAME_STREAM, SPOT, SPOTS_STREAM
from lima2_bliss.contract.wire import PipelineStatus, SourceStatus
from lima2_receivers.engine.pipeline_run import OUTPUT, PipelineRun
from lima2_receivers.servers.processing import FRAME_INDEX, ProcessingDevice
from lima2_receivers.servers.run_view import Encoded, ResultCursor, encoded_as_of, encoded_frame
from lima2_receivers.servers.run_view import counters as counters_of
from lima2_receivers.servers.run_view import newest_indices as newest_indices_of
from lima2_receivers.servers.tango_errors import beside_others, speaks_tango

SPARSE, ACC_CORRECTED, ACC_PEAKS = "sparse_frame", "acc_corrected", "acc_peaks"
#: The names of sources in counters.
SOURCES = {OUTPUT: "dense", SPARSE: "sparse", ACC_CORRECTED: "acc_corrected", ACC_PEAKS: "acc_peaks"}

IMAGE_INDEX = "index of a frame: the newest image with no frame after it; -1 for the newest"


def smx_counters(status: PipelineStatus) -> dict[str, int]:
    """Counts of this receiver. Dense frames (``nb_frames_input``) can be read together with their sparse ones."""
    counts, nothing = counters_of(status), SourceStatus()
    there = dict.fromkeys(("nb_frames_input", "nb_frames_sparse"), counts["nb_frames_processed"])
    saved = {f"nb_frames_saved_{name}": status.sources.get(source, nothing).saved for source, name in SOURCES.items()}
    return counts | there | saved


def smx_newest_indices(run: PipelineRun) -> dict[str, int]:
    """Global index of the newest frame of each source, -1 when there is none; ``input`` is the dense frame."""
    newest = {source: run.stores[source].last_index if source in run.stores else -1 for source in SOURCES}
    return newest_indices_of(run) | {
        "input_idx": newest[OUTPUT],
        "sparse_idx": newest[SPARSE],
        "acc_corrected_idx": newest[ACC_CORRECTED],
        "acc_peaks_idx": newest[ACC_PEAKS],
    }


def pop_peak_counters(cursor: ResultCursor) -> Encoded:
    """`PEAK_COUNTER` rows, which are the first columns of `SMX_FRAME`, one per frame since the last call."""
    rows = cursor.pop(SMX_FRAME_STREAM, SMX_FRAME)
    return encode_rows(rows[list(PEAK_COUNTER.names or ())].astype(PEAK_COUNTER))


class SmxProcessingDevice(ProcessingDevice):
    """Counts, frames and results of one acquisition of the SMX pipeline on one receiver."""

    def init_device(self) -> None:
        super().init_device()
        self._rows_cursor = ResultCursor(self._run)

    def counters(self, status: PipelineStatus) -> dict[str, int]:
        return smx_counters(status)

    def newest_indices(self) -> dict[str, int]:
        return smx_newest_indices(self._run)

    @command(dtype_in="DevLong", dtype_out="DevEncoded", doc_in=FRAME_INDEX, doc_out="SMX_SPARSE_FRAME")
    @speaks_tango
    @beside_others
    def getSparseFrame(self, index: int) -> Encoded:
        return encoded_frame(self._run, SPARSE, index)

    @command(dtype_in="DevLong", dtype_out="DevEncoded", doc_in=IMAGE_INDEX, doc_out="float32: mean corrected frame")
    @speaks_tango
    @beside_others
    def getAccCorrected(self, index: int) -> Encoded:
        return encoded_as_of(self._run, ACC_CORRECTED, index)

    @command(dtype_in="DevLong", dtype_out="DevEncoded", doc_in=IMAGE_INDEX, doc_out="uint32: spots on each pixel")
    @speaks_tango
    @beside_others
    def getAccPeaks(self, index: int) -> Encoded:
        return encoded_as_of(self._run, ACC_PEAKS, index)

    @command(dtype_out="DevEncoded", doc_out="(frame_idx, recv_idx, nb_peaks) of the frames since the last call")
    @speaks_tango
    @beside_others
    def popPeakCounters(self) -> Encoded:
        return pop_peak_counters(self._cursor)

    # Beyond LImA2.

    @command(dtype_out="DevEncoded", doc_out="SMX_FRAME rows, one per frame since the last call")
    @speaks_tango
    @beside_others
    def popSmxFrames(self) -> Encoded:
        return encode_rows(self._rows_cursor.pop(SMX_FRAME_STREAM, SMX_FRAME))

    @command(dtype_out="DevEncoded", doc_out="SPOT rows of all spots since the last call")
    @speaks_tango
    @beside_others
    def popSpots(self) -> Encoded:
        return encode_rows(self._rows_cursor.pop(SPOTS_STREAM, SPOT))
