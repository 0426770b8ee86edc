"""The simulator's parameters: defaults that work, and one clear error that names every fault."""

import json

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.simulator.params import SimulatorParameters, check

# what a LImA2 client sends, key by key
LIMA2 = {
    "acq": {"nb_frames": 1, "expo_time": 100000, "latency_time": 10, "trigger_mode": "internal"},
    "det": {
        "generator": {
            "type": "gauss",
            "pixel_type": "gray16",
            "nb_channels": 1,
            "gauss": {"peaks": [{"x0": 1024.0, "y0": 1024.0, "fwhm": 128.0, "max": 100.0}], "grow_factor": 0.0},
            "diffraction": {
                "x0": 1024.0,
                "y0": 1024.0,
                "source_pos_x": 5.0,
                "source_pos_y": 5.0,
                "source_speed_x": 0.0,
                "source_speed_y": 0.0,
            },
        },
        "dispatch_mode": "round_robin",
        "nb_prefetch_frames": 16,
        "dropped_frame_idx": 0,
        "failed_frame_idx": 0,
    },
}


def test_the_defaults_are_accepted():
    assert check(SimulatorParameters()).det.size.x == 1024


def test_a_lima2_clients_dictionary_is_accepted():
    parse(SimulatorParameters, json.dumps(LIMA2), "acquisition parameters")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"det": {"generator": {"type": "spiral"}}}, "det.generator.type"),
        ({"det": {"dispatch_mode": "full_random"}}, "det.dispatch_mode"),
        ({"det": {"generator": {"nb_channels": 9}}}, "det.generator.nb_channels"),
        ({"det": {"generator": {"pixel_type": "gray12"}}}, "det.generator.pixel_type"),
        ({"det": {"generator": {"diffraction": {"hit_rate": 1.1}}}}, "hit_rate"),
        ({"det": {"generator": {"gauss": {"peaks": [{"fwhm": 0}]}}}}, "fwhm"),
        ({"det": {"generator": {"gaus": {}}}}, "det.generator.gaus: unknown parameter"),
        ({"det": {"size": {"x": 4}}}, "det.size.x"),
        ({"acq": {"expo_time": 1_000_000_001}}, "acq.expo_time = 1000000001 us is too long"),
        ({"acq": {"latency_time": 1_000_000_001}}, "acq.latency_time"),
        ({"acq": {"trigger_mode": "gate", "nb_frames_per_trigger": 2}}, "a gate gives 1 frame"),
        ({"acq": {"nb_frames": 0}, "det": {"on_overrun": "wait"}}, "det.on_overrun"),
        ({"det": {"size": {"x": 8192, "y": 8192}, "nb_prefetch_frames": 17}}, "at most 16 frames of this size"),
        ({"det": {"generator": {"type": "file"}}}, "det.generator.file.path is empty"),
        ({"det": {"generator": {"type": "diffraction", "diffraction": {"cell_nm": 90.0}}}}, "make cell_nm"),
        ({"det": {"faults": {"dropped_indices": [-1]}}}, "indices start at 0"),
    ],
)
def test_a_fault_is_named(given, named):
    with pytest.raises(ParameterError) as caught:
        parse(SimulatorParameters, given, "acquisition parameters")
    assert named in str(caught.value)


def test_all_faults_are_named_at_once():
    given = {"acq": {"expo_time": 2_000_000_000, "nb_frames": 0}, "det": {"on_overrun": "wait"}}
    with pytest.raises(ParameterError, match=r"expo_time.*on_overrun"):
        parse(SimulatorParameters, given, "acquisition parameters")


def test_a_value_assigned_later_is_found_by_check():
    parameters = SimulatorParameters()
    parameters.acq.expo_time = 2_000_000_000
    with pytest.raises(ParameterError, match="too long"):
        check(parameters)


def test_frame_number_and_indices_mean_the_same_dropped_frames():
    parameters = SimulatorParameters.model_validate(
        {"det": {"dropped_frame_idx": 3, "faults": {"dropped_indices": [0, 7]}}}
    )
    assert parameters.det.dropped == {0, 2, 7}
    assert SimulatorParameters().det.dropped == frozenset()
