"""The interface that LImA2's conductor and clients use, on real servers."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tango
from conducting import FAULT, IDLE, PREPARED, RUNNING, Conductor, error_json, seen_states
from tango_bench import TangoBench, until

from lima2_bliss.contract import FRAME_IDX, ROI_STATISTICS
from lima2_bliss.contract.encoding import decode_frame, decode_rows
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

ROI = {"topleft": {"x": 10, "y": 10}, "dimensions": {"x": 20, "y": 30}}


@pytest.fixture
def conductor(bench: TangoBench) -> Iterator[Conductor]:
    conductor = Conductor(bench)
    yield conductor
    conductor.reset()


def test_control_has_the_attributes_and_commands_of_the_contract(conductor: Conductor) -> None:
    attributes = set(conductor.control.get_attribute_list())
    commands = set(conductor.control.get_command_list())

    assert attributes >= {
        *("acq_state", "acq_params", "nb_frames_acquired", "version", "log_level"),
        *("det_info", "det_status", "det_capabilities"),
    }
    assert commands >= {"Prepare", "Start", "Trigger", "Stop", "Close", "Reset"}


def test_receivers_have_the_attributes_and_commands_of_the_contract(conductor: Conductor) -> None:
    attributes = set(conductor.receivers[0].get_attribute_list())
    commands = set(conductor.receivers[0].get_command_list())

    assert attributes >= {
        *("acq_state", "acq_params", "proc_params", "nb_frames_xferred", "pipelines", "last_error", "log_level"),
        *("access_endpoint", "source_endpoints", "rank", "nb_receivers", "pid", "version"),
    }
    assert commands >= {"Prepare", "Start", "Stop", "Reset", "erasePipeline", "resolveSaving"}
    assert conductor.receivers[0].last_error == "No error"


def test_detector_description_has_what_clients_require_and_no_nulls(conductor: Conductor) -> None:
    info, status, can = (
        json.loads(text)
        for text in (conductor.control.det_info, conductor.control.det_status, conductor.control.det_capabilities)
    )

    assert info["plugin"] == "Simulator"
    assert {"model", "sn"} <= set(info)
    assert "null" not in conductor.control.det_info
    assert status["state"]
    assert "software" in can["trigger_modes"]
    assert conductor.control.version.startswith("core-1.2")


def test_log_level_is_an_enumeration_that_can_be_set(conductor: Conductor) -> None:
    assert conductor.control.log_level.name == "info"
    conductor.control.log_level = "debug"
    assert conductor.control.log_level.name == "debug"
    conductor.control.log_level = "info"


def test_control_accepts_the_parameters_of_the_receivers(conductor: Conductor) -> None:
    conductor.control.write_attribute("acq_params", conductor.receivers[0].acq_params.encode())

    assert json.loads(conductor.control.acq_params) == json.loads(conductor.receivers[0].acq_params)


def test_prepare_makes_processing_devices_that_give_frames_and_rows(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 7}}, {"statistics": {"rect_rois": [ROI]}})

    assert [int(device.acq_state) for device in (conductor.control, *conductor.receivers)] == [PREPARED] * 3
    assert conductor.uuid in conductor.receivers[0].pipelines
    info = json.loads(conductor.processing(0).processed_frame_info)
    assert info == {"nb_channels": 1, "dimensions": {"x": 1024, "y": 1024}, "pixel_type": "gray16"}
    assert json.loads(conductor.processing(0).last_frames)["processed_idx"] == -1

    conductor.start()
    conductor.until_finished()

    assert conductor.counters(0)["nb_frames_source"] == 4
    assert conductor.counters(1)["nb_frames_processed"] == 3
    assert json.loads(conductor.processing(0).last_frames) == {"source_idx": 6, "input_idx": 6, "processed_idx": 6}
    assert [receiver.nb_frames_xferred for receiver in conductor.receivers] == [4, 3]
    assert conductor.control.nb_frames_acquired == 7

    rows = decode_rows(conductor.processing(1).popRoiStatistics(), ROI_STATISTICS)
    assert rows["frame_idx"].tolist() == [1, 3, 5]
    assert not len(decode_rows(conductor.processing(1).popRoiStatistics(), ROI_STATISTICS))
    order = decode_rows(conductor.processing(0).popFrameIdx(), FRAME_IDX)
    assert order["frame_idx"].tolist() == [0, 2, 4, 6]

    parameters = SimulatorParameters.model_validate_json(conductor.receivers[0].acq_params)
    for command in ("getFrame", "getInputFrame"):
        pixels, index = decode_frame(getattr(conductor.processing(1), command)(3))
        assert index == 3
        assert np.array_equal(pixels, expected_frame(parameters, 3))
    assert decode_frame(conductor.processing(0).getFrame(-1))[1] == 6
    with pytest.raises(tango.DevFailed, match="not on receiver"):
        conductor.processing(0).getFrame(3)


def test_is_finished_comes_exactly_once_when_all_rows_can_be_popped(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 10}}, {"statistics": {"rect_rois": [ROI]}})
    heard: list[tuple[int, int, int]] = []
    proxies = [conductor.processing(rank) for rank in range(2)]

    def on_event(rank: int) -> Callable[[tango.DataReadyEventData], None]:
        def hear(event: tango.DataReadyEventData) -> None:
            if not event.err:
                rows = len(decode_rows(proxies[rank].popRoiStatistics(), ROI_STATISTICS))
                heard.append((rank, rows, json.loads(proxies[rank].progress_counters)["nb_frames_source"]))

        return hear

    subscribed = [
        proxy.subscribe_event("is_finished", tango.EventType.DATA_READY_EVENT, on_event(rank))
        for rank, proxy in enumerate(proxies)
    ]
    assert not heard
    conductor.start()
    until(lambda: len(heard) >= 2, 10, "both events")
    time.sleep(0.3)  # a second event would come within this time

    assert sorted(heard) == [(0, 5, 5), (1, 5, 5)]
    for proxy, number in zip(proxies, subscribed, strict=True):
        proxy.unsubscribe_event(number)
    conductor.control.Close()


def test_a_failure_is_told_by_events_and_leaves_the_receiver_in_fault_until_reset(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 10}, "det": {"failed_frame_idx": 3}})
    events: Counter[str] = Counter()
    proxy = conductor.processing(0)

    def hear(event: tango.DataReadyEventData) -> None:
        if not event.err:
            events[event.attr_name.rsplit("/", 1)[-1].split("#")[0]] += 1

    numbers = [
        proxy.subscribe_event(name, tango.EventType.DATA_READY_EVENT, hear) for name in ("is_finished", "last_error")
    ]
    conductor.start()
    until(lambda: int(conductor.receivers[0].acq_state) == FAULT, 5, "fault")
    until(lambda: events["is_finished"] == 1, 5, "is_finished in spite of the failure")

    assert events["last_error"] == 1
    for device in (proxy, conductor.receivers[0]):
        content = json.loads(device.last_error)
        assert content["what"]
        assert isinstance(content["errinfo"], dict)
    for device in (conductor.control, *conductor.receivers):
        device.Stop()
    assert int(conductor.receivers[0].acq_state) == FAULT
    conductor.control.Close()
    for number in numbers:
        proxy.unsubscribe_event(number)


def test_a_client_that_polls_sees_every_acquisition_however_short(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 2}})
    conductor.start()

    states = seen_states(conductor.receivers[0], 0.6)

    assert set(states) & {PREPARED, RUNNING}
    assert states[-1] == IDLE


def test_wrong_parameters_reach_lima2_clients_in_full(conductor: Conductor) -> None:
    wrong = {"acq": {"nb_frames": -1, "exposure": 3}}
    with pytest.raises(tango.DevFailed) as caught:
        conductor.receivers[0].write_attribute("acq_params", json.dumps(wrong).encode())

    error = error_json(caught.value)
    assert "acq.nb_frames = -1" in error["what"]
    assert "acq.exposure: unknown" in error["what"]
    assert error["errinfo"]["kind"] == "ParameterError"
    with pytest.raises(tango.DevFailed) as caught:
        conductor.receivers[0].Prepare("some-uuid")
    assert "refused" in error_json(caught.value)["what"]


def test_a_command_in_the_wrong_state_reaches_lima2_clients_in_full(conductor: Conductor) -> None:
    for device in (conductor.control, conductor.receivers[0]):
        with pytest.raises(tango.DevFailed) as caught:
            device.Start()
        assert "is IDLE: Start is not allowed" in error_json(caught.value)["what"]


def test_utf_8_written_as_bytes_is_read_as_such(conductor: Conductor) -> None:
    acquisition, processing = conductor.default_parameters()
    processing["saving"]["filename_prefix"] = "größe"
    conductor.receivers[0].write_attribute("acq_params", json.dumps(acquisition).encode())
    conductor.receivers[0].write_attribute("proc_params", json.dumps(processing, ensure_ascii=False).encode())
    conductor.receivers[0].Prepare("11111111-0000-0000-0000-000000000000")

    described = json.loads(conductor.receivers[0].pipelineParameters("11111111-0000-0000-0000-000000000000"))
    assert described["processing"]["saving"]["filename_prefix"] == "größe"


def test_whole_numbers_written_as_floats_are_accepted(conductor: Conductor) -> None:
    conductor.receivers[0].write_attribute("acq_params", b'{"acq": {"nb_frames": 2.0}}')

    assert json.loads(conductor.receivers[0].acq_params)["acq"]["nb_frames"] == 2


def test_an_erased_pipeline_takes_its_processing_device_along(conductor: Conductor, bench: TangoBench) -> None:
    conductor.prepare({"acq": {"nb_frames": 2}})
    conductor.start()
    conductor.until_finished()
    old = conductor.uuid
    conductor.prepare({"acq": {"nb_frames": 2}})
    assert decode_frame(conductor.device(f"id00/limaprocessing/{old}@0").getFrame(0))[1] == 0

    conductor.receivers[0].erasePipeline(old)

    assert old not in conductor.receivers[0].pipelines
    database = tango.Database("127.0.0.1", bench.port)

    def listed() -> list[str]:
        return list(database.get_device_class_list("lima2_receiver/sim_1").value_string)

    until(lambda: f"id00/limaprocessing/{old}@0" not in listed(), 3, "the device gone")
    assert f"id00/limaprocessing/{conductor.uuid}@0" in listed()
    with pytest.raises(tango.DevFailed, match="has no acquisition"):
        conductor.receivers[0].erasePipeline(old)


def test_prepare_works_from_prepared(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 2}})
    first = conductor.uuid
    conductor.prepare({"acq": {"nb_frames": 3}})

    assert conductor.uuid != first
    assert list(conductor.receivers[0].pipelines)[-1] == conductor.uuid


def test_states_and_counts_answer_side_by_side_with_commands(conductor: Conductor) -> None:
    stop, slowest, wrong = threading.Event(), [0.0], []

    def look(device: tango.DeviceProxy) -> None:
        while not stop.is_set():
            began = time.monotonic()
            if int(device.acq_state) not in range(6) or device.nb_receivers != 2 or device.rank not in (0, 1):
                wrong.append(1)
            json.loads(device.det_info if device is conductor.control else device.acq_params)
            slowest[0] = max(slowest[0], time.monotonic() - began)

    threads = [
        threading.Thread(target=look, args=(conductor.device(f"id00/limareceiver/sim{1 + k % 2}"),)) for k in range(6)
    ]
    for thread in threads:
        thread.start()
    for _ in range(5):
        conductor.prepare({"acq": {"nb_frames": 4}})
        conductor.start()
        conductor.until_finished()
    stop.set()
    for thread in threads:
        thread.join()

    assert not wrong
    assert slowest[0] < 1.0


def test_the_init_command_changes_nothing(conductor: Conductor) -> None:
    conductor.prepare({"acq": {"nb_frames": 2}})
    for device in (conductor.control, *conductor.receivers):
        device.Init()
    conductor.start()
    conductor.until_finished()
    assert conductor.counters(0)["nb_frames_processed"] == 1


def test_detector_commands_take_and_give_json(conductor: Conductor) -> None:
    with pytest.raises(tango.DevFailed, match="no command"):
        conductor.control.detectorCommand(["selfDestruct", "null"])
    with pytest.raises(tango.DevFailed, match="not JSON"):
        conductor.control.detectorCommand(["x", "{"])
