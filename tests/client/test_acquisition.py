"""An acquisition over two receivers as a user of the client sees it, on real servers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lima2_bliss.client import AcquisitionStatus, Detector
from lima2_bliss.contract import (
    AcquisitionError,
    DeviceTimeoutError,
    FrameInfo,
    NoLongerAvailableError,
    NotAvailableError,
    NotYetAvailableError,
    ParameterError,
    RoundRobin,
    StateError,
    SystemState,
)
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

Both = tuple[dict[str, Any], dict[str, Any]]
ROI = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": 10, "y": 10}}


def test_frames_and_results_come_in_global_order_and_bit_by_bit(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    processing["statistics"]["rect_rois"] = [ROI, ROI]
    truth = SimulatorParameters.model_validate(acquisition)

    run = detector.prepare(acquisition, processing)
    assert run.topology == RoundRobin(2)
    assert run.nb_frames == 20
    assert run.frame_info == FrameInfo(1, 64, 96, np.dtype("<u2"))
    run.start()
    status = run.wait(timeout_s=10)
    run.close()

    assert (status.received, status.processed, status.finished, status.errors) == (20, 20, True, [])
    for source in ("frame", "input_frame"):
        read = list(run.frames(source=source))
        assert [index for index, _ in read] == list(range(20))
        for index, pixels in read:
            assert np.array_equal(pixels, expected_frame(truth, index))
    assert [index for index, _ in run.frames(slice(3, None, 7))] == [3, 10, 17]
    assert [index for index, _ in run.frames([9, 2, 9])] == [9, 2, 9]
    assert np.array_equal(run.frame(), expected_frame(truth, 19))
    assert run.newest()[0] == 19

    rows = run.results("roi_statistics")
    assert rows["frame_idx"].tolist() == [frame for frame in range(20) for _ in range(2)]
    assert rows["max"][8] == expected_frame(truth, 4)[0, :10, :10].max()
    assert run.results("roi_statistics", 7).tobytes() == rows[7:].tobytes()
    with pytest.raises(NotAvailableError, match="no result stream 'roi_profiles'"):
        run.results("roi_profiles")
    assert detector.state() is SystemState.IDLE


def test_frames_that_are_not_there_raise_why(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    processing["buffers"] |= {"nb_frames_buffer": 3}
    run = detector.prepare(acquisition, processing)

    with pytest.raises(NotYetAvailableError):
        run.frame()
    with pytest.raises(NotYetAvailableError):
        run.frame(0)
    run.start()
    run.wait(timeout_s=10)

    with pytest.raises(NoLongerAvailableError, match="the oldest of the 3 kept is"):
        run.frame(0)
    assert [index for index, _ in run.frames(skip_missing=True)] == [14, 15, 16, 17, 18, 19]
    with pytest.raises(ParameterError, match="no frame source 'sparse'"):
        run.frame(0, "sparse")
    with pytest.raises(ParameterError, match="no result stream 'peaks'"):
        run.results("peaks")
    run.close()


def test_a_lost_frame_is_a_hole_at_its_place(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["det"]["faults"] = {"dropped_indices": [5]}
    run = detector.prepare(acquisition, processing)
    run.start()
    status = run.wait(timeout_s=10)
    run.close()

    assert (status.processed, status.lost, status.invalid) == (20, 1, 1)
    with pytest.raises(NotAvailableError, match="no pixels"):
        run.frame(5)
    assert [index for index, _ in run.frames(skip_missing=True)] == [k for k in range(20) if k != 5]
    assert run.results("frame_event")["frame_idx"].tolist() == list(range(20))


def test_accumulated_frames_are_sums_in_global_order(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    processing["accumulation"] |= {"enabled": True, "nb_frames": 4}
    truth = SimulatorParameters.model_validate(acquisition)
    run = detector.prepare(acquisition, processing)
    run.start()
    status = run.wait(timeout_s=10)
    run.close()

    assert (run.nb_input_frames, run.nb_frames) == (20, 5)
    assert (status.received, status.processed) == (20, 5)
    for index, pixels in run.frames():
        raw = [expected_frame(truth, 4 * index + k).astype("u4") for k in range(4)]
        assert np.array_equal(pixels, sum(raw))
    assert np.array_equal(run.frame(11, "input_frame"), expected_frame(truth, 11))


def test_waiting_for_a_count_ends_before_the_acquisition(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"] |= {"nb_frames": 0, "expo_time": 5000}
    run = detector.prepare(acquisition, processing)
    run.start()
    seen: list[AcquisitionStatus] = []

    status = run.wait("processed", 10, timeout_s=10, on_progress=seen.append)

    assert 10 <= status.processed < 40
    assert [each.processed for each in seen] == sorted(each.processed for each in seen)
    with pytest.raises(DeviceTimeoutError, match=r"not reached within 0\.1 s"):
        run.wait("received", 10**9, timeout_s=0.1)
    assert not run.stop()
    ended = run.wait(timeout_s=5)
    run.close()
    counts = [receiver.counts.processed for receiver in ended.receivers]
    assert counts[0] - counts[1] in (0, 1)
    assert ended.processed == sum(counts)
    with pytest.raises(AcquisitionError, match="ended before processed"):
        run.wait("processed", ended.processed + 1, timeout_s=5)


def test_software_triggers_give_one_frame_each(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"] |= {"nb_frames": 3, "trigger_mode": "software"}
    run = detector.prepare(acquisition, processing)
    run.start()
    for point in range(3):
        run.trigger()
        assert run.wait("processed", point + 1, timeout_s=5).processed == point + 1
    run.wait(timeout_s=5)
    run.close()


def test_a_failure_in_one_receiver_is_raised_at_once_and_names_it(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"] |= {"nb_frames": 0}
    acquisition["det"]["failed_frame_idx"] = 6
    run = detector.prepare(acquisition, processing)
    run.start()
    began = time.monotonic()
    with pytest.raises(AcquisitionError, match="receiver id00/limareceiver/sim2: "):
        run.wait(timeout_s=10)
    assert time.monotonic() - began < 1.0
    run.stop()
    run.close()
    assert detector.state() is SystemState.FAULT

    acquisition["det"]["failed_frame_idx"] = 0
    acquisition["acq"]["nb_frames"] = 4
    again = detector.prepare(acquisition, processing)
    assert any("id00/limareceiver/sim2 was in state FAULT" in sentence for sentence in again.recovered)
    again.start()
    assert again.wait(timeout_s=5).processed == 4
    again.close()


def test_an_earlier_acquisition_stays_readable_and_the_oldest_goes(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    runs = []
    for _ in range(3):
        run = detector.prepare(acquisition, processing)
        run.start()
        run.wait(timeout_s=10)
        run.close()
        runs.append(run)

    assert runs[1].frame(3).shape == (1, 64, 96)
    with pytest.raises(NotAvailableError, match="is not on"):
        detector.acquisition(runs[0].uuid)
    found = detector.acquisition(runs[1].uuid)
    assert found.nb_frames == 20
    assert np.array_equal(found.frame(3), runs[1].frame(3))
    assert detector.acquisition().uuid == runs[2].uuid
    detector.erase(runs[1].uuid)
    with pytest.raises(NotAvailableError):
        detector.acquisition(runs[1].uuid)


def test_prepare_is_refused_while_the_detector_acquires(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"]["nb_frames"] = 0
    run = detector.prepare(acquisition, processing)
    run.start()
    with pytest.raises(StateError, match="is acquiring; wait for its end"):
        detector.prepare(acquisition, processing)
    run.stop()
    run.close()
    detector.prepare(acquisition, processing)


def test_files_are_complete_and_append_takes_the_next_free_name(
    detector: Detector, parameters: Both, tmp_path: Path
) -> None:
    acquisition, processing = parameters
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "filename_prefix": "run"}
    processing["saving"] |= {"nb_frames_per_file": 4, "file_exists_policy": "append"}
    names = []
    for _ in range(2):
        run = detector.prepare(acquisition, processing)
        run.start()
        status = run.wait(timeout_s=10)
        run.close()
        assert (status.saved, status.readable) == (20, 20)
        names.append([path.name for path in run.files()])

    assert names[0] == [f"run_{rank}_{number:05d}.h5" for rank in range(2) for number in range(3)]
    assert not set(names[0]) & set(names[1])
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == sorted(names[0] + names[1])


def test_many_threads_may_read_at_the_same_time(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    truth = SimulatorParameters.model_validate(acquisition)
    run = detector.prepare(acquisition, processing)
    run.start()
    run.wait(timeout_s=10)
    wrong: list[object] = []

    def read() -> None:
        try:
            for index, pixels in run.frames():
                if not np.array_equal(pixels, expected_frame(truth, index)):
                    wrong.append(index)
            assert run.status().processed == 20
        except Exception as error:  # noqa: BLE001 - shown by the test
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.close()
    assert not wrong


def test_prepare_and_start_are_quick(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    prepared, started = [], []
    for _ in range(7):
        began = time.perf_counter()
        run = detector.prepare(acquisition, processing)
        prepared.append(time.perf_counter() - began)
        began = time.perf_counter()
        run.start()
        started.append(time.perf_counter() - began)
        run.wait(timeout_s=10)
        run.close()
    assert sorted(prepared)[3] < 0.15, prepared  # 20 ms on an idle host
    assert sorted(started)[3] < 0.05, started  # 2 ms
