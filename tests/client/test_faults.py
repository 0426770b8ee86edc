"""What a user reads when something is wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tango_bench import TangoBench

from lima2_bliss.client import Detector
from lima2_bliss.contract import AcqState, ConnectionLostError, Lima2Error, ParameterError, SavingError, SystemState

Both = tuple[dict[str, Any], dict[str, Any]]
CONTROL = "id00/limacontrol/sim"
RECEIVERS = ["id00/limareceiver/sim1", "id00/limareceiver/sim2"]


def test_every_wrong_parameter_is_named_once(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"] |= {"expo_time": 0, "exposure": 3}
    processing["fifo"]["nb_fifo_frames"] = 0
    processing["nonsense"] = {}

    with pytest.raises(ParameterError) as caught:
        detector.prepare(acquisition, processing)

    text = str(caught.value)
    for fault in ("acq.expo_time = 0", "acq.exposure: unknown", "fifo.nb_fifo_frames = 0", "nonsense: unknown"):
        assert text.count(fault) == 1, text
    assert detector.state() is SystemState.IDLE


def test_an_exposure_that_the_detector_cannot_do_is_refused(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    acquisition["acq"]["expo_time"] = 2 * 10**9

    with pytest.raises(ParameterError, match=r"acq\.expo_time = 2000000000 us"):
        detector.prepare(acquisition, processing)


def test_a_roi_outside_the_image_is_refused_before_anything_starts(detector: Detector, parameters: Both) -> None:
    acquisition, processing = parameters
    processing["statistics"]["rect_rois"] = [{"topleft": {"x": 90, "y": 0}, "dimensions": {"x": 10, "y": 10}}]

    with pytest.raises(ParameterError) as caught:
        detector.prepare(acquisition, processing)

    assert str(caught.value).count("statistics.rect_rois") == 1
    assert set(detector.states().receivers) == {AcqState.IDLE}


def test_a_missing_directory_is_named_and_nothing_stays_prepared(
    detector: Detector, parameters: Both, tmp_path: Path
) -> None:
    acquisition, processing = parameters
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path / "nosuch")}

    with pytest.raises(SavingError, match="nosuch does not exist"):
        detector.prepare(acquisition, processing)
    assert detector.state() is SystemState.IDLE


def test_when_one_receiver_cannot_prepare_the_others_are_reset(
    detector: Detector, parameters: Both, tmp_path: Path
) -> None:
    acquisition, processing = parameters
    (tmp_path / "run_1_00000.h5").touch()  # in the way of receiver 1 only
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "filename_prefix": "run"}

    with pytest.raises(SavingError, match=r"prepare failed on id00/limareceiver/sim2: .*run_1_00000.h5 exists"):
        detector.prepare(acquisition, processing)
    states = detector.states()
    assert (states.control, *states.receivers) == (AcqState.IDLE,) * 3


def test_all_devices_that_do_not_answer_are_listed_with_why(bench: TangoBench) -> None:
    lame = Detector(CONTROL, [RECEIVERS[0], "id00/limareceiver/nosuch"], "id00/limaimage/sim", proxy=bench.proxy)
    with pytest.raises(ConnectionLostError) as caught:
        lame.prepare({})

    text = str(caught.value)
    assert "2 of 4 devices do not answer" in text
    assert "\n  id00/limareceiver/nosuch: is not in the Tango database" in text
    assert "\n  id00/limaimage/sim: is not running" in text


def test_receivers_in_the_wrong_order_are_refused(bench: TangoBench) -> None:
    swapped = Detector(CONTROL, RECEIVERS[::-1], proxy=bench.proxy)
    with pytest.raises(Lima2Error, match="is receiver 1 of 2 in its own configuration, but receiver 0 of 2 here"):
        swapped.prepare({})


def test_names_that_cannot_be_right_are_refused_at_once() -> None:
    with pytest.raises(ParameterError, match="has no receivers"):
        Detector(CONTROL, [])
    with pytest.raises(ParameterError, match="named twice"):
        Detector(CONTROL, [RECEIVERS[0], RECEIVERS[0]])


def test_a_killed_receiver_is_named_within_a_second_and_the_rest_goes_on(own_bench: TangoBench, tmp_path: Path) -> None:
    detector = Detector(CONTROL, RECEIVERS, proxy=own_bench.proxy)
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": 0, "expo_time": 2000, "latency_time": 0}
    acquisition["det"]["size"] = {"x": 96, "y": 64}
    processing["saving"] |= {"enabled": True, "base_path": str(tmp_path), "nb_frames_per_file": 5}
    run = detector.prepare(acquisition, processing)
    run.start()
    run.wait("saved", 20, timeout_s=10)

    own_bench.kill("lima2-receiver/sim_2")
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match="receiver id00/limareceiver/sim2 was lost in the acquisition"):
        run.wait(timeout_s=10)
    assert time.monotonic() - began < 1.0
    faults = run.stop()
    assert [fault for fault in faults if "sim2" in fault]
    assert not [fault for fault in faults if "sim1" in fault]
    run.close(timeout_s=10)
    assert detector.state() is SystemState.DISCONNECTED
    with pytest.raises(ConnectionLostError, match="1 of 3 devices do not answer:\n  id00/limareceiver/sim2: "):
        detector.prepare(acquisition, processing)

    own_bench.start("lima2-receiver", "sim_2", RECEIVERS[1])
    acquisition["acq"]["nb_frames"] = 6
    processing["saving"]["enabled"] = False
    for _ in range(2):
        again = detector.prepare(acquisition, processing)
        again.start()
        assert again.wait(timeout_s=10).processed == 6
        again.close()
    assert np.all(again.results("frame_event")["flags"] == 0)
    detector.close()


def test_a_killed_control_is_noticed(own_bench: TangoBench) -> None:
    detector = Detector(CONTROL, RECEIVERS, proxy=own_bench.proxy)
    run = detector.prepare({"acq": {"nb_frames": 0, "expo_time": 50_000}})
    run.start()
    own_bench.kill("lima2-control/sim")
    began = time.monotonic()
    with pytest.raises(Lima2Error, match="control"):
        run.wait(timeout_s=10)
    assert time.monotonic() - began < 1.5
    run.stop()
    detector.close()
