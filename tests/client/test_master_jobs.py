"""Which master files are asked of the access process, and in what order."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lima2_bliss.client.masters import MasterWriter
from lima2_bliss.client.reading import Reading
from lima2_bliss.client.sources import counted_source
from lima2_bliss.client.status import AcquisitionStatus, ReceiverStatus, gather
from lima2_bliss.contract import FrameInfo, RoundRobin, SavingError
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.wire import Counts, PipelineStatus, SourceStatus

INFOS = {
    "frame": FrameInfo(1, 4, 6, np.dtype("<u2")).to_json(),
    "sparse_frame": FrameInfo(1, 4, 6, np.dtype("<u2")).to_json() | {"nb_bins": 3},
    "acc_peaks": FrameInfo(1, 4, 6, np.dtype("<u4")).to_json(),
    "raw_frame": FrameInfo(1, 8, 3, np.dtype("<u2")).to_json(),
}


class RecordingAccess:
    """An access device that writes nothing, or fails for one prefix."""

    name = "id00/limaimage/one"

    def __init__(self, failing: str = "") -> None:
        self.jobs: list[MasterJob] = []
        self.failing = failing

    def call(self, command: str, text: str) -> None:
        assert command == "WriteMaster"
        self.jobs.append(MasterJob.model_validate_json(text))

    def read(self, _attribute: str) -> list[str]:
        saving = self.jobs[-1].saving
        failed = saving.filename_prefix == self.failing
        path = str(saving.layout().master_file)
        return [json.dumps({"state": "failed" if failed else "done", "path": path, "error": "disk full"})]


def receivers(counts: dict[str, tuple[int, ...]], /, **told: Any) -> list[ReceiverStatus]:
    return [
        ReceiverStatus(
            f"receiver {rank}",
            rank,
            PipelineStatus(
                uuid="u",
                sources={
                    source: SourceStatus(frame_info=INFOS[source], saved_contiguous=counts[source][rank], files=1)
                    for source in counts
                },
                **{name: values[rank] for name, values in told.items()},
            ),
        )
        for rank in range(2)
    ]


def writer(access: RecordingAccess) -> MasterWriter:
    control = SimpleNamespace(read=lambda _: ["{}"])
    devices: Any = SimpleNamespace(access=access, control=control)
    sections = {"saving_dense": "d", "saving_sparse": "s", "saving_accumulation_peak": "p"}
    processing = {name: {"enabled": True, "filename_prefix": prefix} for name, prefix in sections.items()}
    return MasterWriter("u", devices, {}, processing)


def test_sparse_frames_come_first_so_that_others_can_link_to_their_spots() -> None:
    access = RecordingAccess()
    written = writer(access).write(receivers({"frame": (5, 4), "sparse_frame": (6, 5), "acc_peaks": (2, 2)}), 1.0)

    assert set(written) == {"frame", "sparse_frame", "acc_peaks"}
    assert [job.saving.filename_prefix for job in access.jobs] == ["s", "d", "p"]
    sparse, dense, peaks = access.jobs
    assert (sparse.kind, sparse.counts, sparse.shape) == ("sparse", [6, 5], (1, 4, 6))
    assert (dense.kind, dense.counts) == ("dense", [5, 4])
    assert dense.spots == sparse.saving
    assert (peaks.dtype, peaks.counts, peaks.spots) == ("<u4", [2, 2], None)


def test_a_master_that_cannot_be_written_does_not_keep_the_others_away() -> None:
    access = RecordingAccess(failing="s")
    masters = writer(access)
    with pytest.raises(SavingError, match="master file of sparse_frame was not written: disk full"):
        masters.write(receivers({"frame": (5, 4), "sparse_frame": (6, 5), "acc_peaks": (0, 0)}), 1.0)

    assert [job.saving.filename_prefix for job in access.jobs] == ["s", "d"]
    assert access.jobs[1].spots is None
    access.failing = ""
    assert set(masters.write(receivers({"frame": (5, 4), "sparse_frame": (6, 5)}), 1.0)) == {"frame", "sparse_frame"}
    assert len(access.jobs) == 3  # the dense one was there already


def test_masters_tell_what_follows_from_the_parameters_counts_and_what_was_described() -> None:
    access = RecordingAccess()
    info = {"plugin": "X", "pixel_size": {"x": 1e-4, "y": 2e-4}, "dimensions": {"x": 6, "y": 4}}
    devices: Any = SimpleNamespace(access=access, control=SimpleNamespace(read=lambda _: [json.dumps(info)]))
    processing = {"saving": {"enabled": True, "filename_prefix": "d"}}
    acquisition = {"acq": {"expo_time": 1000, "trigger_mode": "internal"}, "img": {"binning": {"x": 2, "y": 1}}}
    masters = MasterWriter("u", devices, acquisition, processing)
    masters.describe({"distance": 0.1, "distance@units": "m", "data": "never", "@NX_class": "NXdetector"})
    masters.write(receivers({"frame": (5, 4)}, counts=[Counts(received=5, lost=1), Counts(received=4)]), 1.0)

    told = access.jobs[0].metadata
    assert (told["x_pixel_size"], told["count_time"], told["distance@units"]) == (2e-4, 1e-3, "m")
    assert told["receivers"]["received"] == [5, 4]
    assert told["receivers"]["lost"] == [1, 0]
    assert told["image_transform"]["binning"] == [2, 1]
    assert {"data", "@NX_class"}.isdisjoint(told)


def test_receivers_that_do_not_tell_sources_apart_speak_of_the_frame() -> None:
    status = PipelineStatus(uuid="u", frame_info=INFOS["frame"], files=2, saved_contiguous=8)
    old = [ReceiverStatus("receiver 0", 0, status)]

    assert [path.name for path in writer(RecordingAccess()).receiver_files(old)] == ["d_0_00000.h5", "d_0_00001.h5"]
    assert old[0].source("frame").saved_contiguous == 8
    assert old[0].source("acc_peaks") == SourceStatus()


def test_raw_frames_lie_in_blocks_of_one_accumulation() -> None:
    access = RecordingAccess()
    devices: Any = SimpleNamespace(access=access, control=SimpleNamespace(read=lambda _: ["{}"]))
    processing = {
        "accumulation": {"enabled": True, "nb_frames": 3},
        "saving": {"enabled": True, "filename_prefix": "d"},
        "saving_raw": {"enabled": True, "filename_prefix": "r"},
    }
    masters = MasterWriter("u", devices, {}, processing)
    masters.write(receivers({"frame": (2, 1), "raw_frame": (6, 5)}), 1.0)

    dense, raw = access.jobs
    assert (dense.saving.filename_prefix, dense.block, dense.counts) == ("d", 1, [2, 1])
    assert (raw.saving.filename_prefix, raw.block, raw.counts) == ("r", 3, [6, 5])
    assert (raw.shape, raw.dtype, raw.kind, raw.spots) == ((1, 8, 3), "<u2", "dense", None)


@pytest.mark.parametrize(
    ("saved", "counted"),
    [
        (["frame", "raw_frame"], "frame"),
        (["raw_frame", "sparse_frame"], "sparse_frame"),
        (["raw_frame", "acc_peaks"], "raw_frame"),
        (["acc_peaks"], "frame"),
        ([], "frame"),
    ],
)
def test_what_counts_as_saved_is_the_fullest_source_that_is(saved: list[str], counted: str) -> None:
    assert counted_source(saved) == counted


def test_raw_frames_alone_are_counted_as_they_came() -> None:
    counts = [Counts(received=6, processed=2), Counts(received=5, processed=1)]
    known = receivers({"raw_frame": (6, 5)}, counts=counts)
    status = gather("u", known, RoundRobin(2, 3), RoundRobin(2), "raw_frame")
    assert (status.received, status.processed, status.readable) == (11, 3, 11)


def test_counts_and_warnings_of_the_reception_come_together() -> None:
    intake = [{"packets_received": 128, "packets_late": 0}, {"packets_received": 120, "packets_missing": 8}]
    known = receivers({}, intake=intake, warnings=[[], ["UDP port 50001 gets other packets"] * 2])
    status = gather("u", known, RoundRobin(2), RoundRobin(2))
    assert status.intake == {"packets_received": 248, "packets_late": 0, "packets_missing": 8}
    assert status.receivers[1].pipeline.intake["packets_missing"] == 8
    assert status.warnings == ["receiver receiver 1: UDP port 50001 gets other packets"]


def test_a_slice_of_raw_frames_counts_those_that_are_there() -> None:
    known = receivers({"raw_frame": (0, 0)})
    for each, last in zip(known, (13, 4), strict=True):
        each.pipeline.sources["raw_frame"].last_index = last
    status = AcquisitionStatus("u", tuple(known), 20, 2, 0, 0, 0, 0, 0)
    reading = Reading("u", [], {}, RoundRobin(2), RoundRobin(2, 3), lambda: status)
    assert list(reading._there("raw_frame")) == [0, 1, 2, 3, 4]
