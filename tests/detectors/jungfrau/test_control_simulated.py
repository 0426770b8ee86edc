"""The control with its simulated detector, and real receivers on the loopback interface."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_rig import new_uuid, parameters

from lima2_bliss.contract import FrameMeta, ParameterError, RoundRobin, SavingError, StateError
from lima2_receivers.detectors.jungfrau import PLUGIN
from lima2_receivers.detectors.jungfrau.beam import module_maps, simulated_calibration
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration
from lima2_receivers.detectors.jungfrau.choice import choose_backend
from lima2_receivers.detectors.jungfrau.control import JungfrauControl
from lima2_receivers.detectors.jungfrau.gain_files import read_psi_gains
from lima2_receivers.detectors.jungfrau.pedestal_files import DarkSums, save_sums
from lima2_receivers.detectors.jungfrau.pedestals import PedestalTaker
from lima2_receivers.detectors.jungfrau.wire import WireLayout, WireSimulator, documented_pattern, parse_addresses
from lima2_receivers.detectors.rig import DetectorRig
from lima2_receivers.engine.plugin import ControlContext, ReceiverSetup


@pytest.fixture
def rig() -> Iterator[DetectorRig]:
    with DetectorRig(PLUGIN, 1) as made:
        yield made


def numbers(rig: DetectorRig, rank: int = 0) -> list[int]:
    """Frame numbers in the headers of the frames that a receiver got."""
    return [int(meta.extras["packet_headers"]["frame_number"][0]) for meta in rig.sinks[rank].metas if meta.extras]


def command(rig: DetectorRig, name: str, argument: Any = None) -> Any:
    return rig.control.commands()[name](argument)


def test_frame_numbers_go_on_over_acquisitions(rig: DetectorRig) -> None:
    def look(pixels: np.ndarray, meta: FrameMeta) -> bool:
        return bool((pixels[0] == documented_pattern()).all())

    for first, count in ((1, 3), (4, 2)):
        rig.run(new_uuid(), parameters(nb_frames=count), look=look)
        assert rig.sinks[0].seen == [True] * count
        assert numbers(rig) == list(range(first, first + count))
    rig.prepare(new_uuid(), parameters(nb_frames=0))
    rig.start()
    assert rig.sinks[0].wait(2)
    rig.stop()
    rig.join()
    taken = rig.control.nb_frames_acquired
    assert numbers(rig) == list(range(6, 6 + taken))
    rig.run(new_uuid(), parameters(nb_frames=1))
    assert numbers(rig) == [6 + taken]


def test_software_triggers_expose_their_frames(rig: DetectorRig) -> None:
    rig.prepare(new_uuid(), parameters(nb_frames=6, nb_frames_per_trigger=3, trigger_mode="software"))
    with pytest.raises(StateError, match="no acquisition runs"):
        rig.control.trigger()
    rig.start()
    for trigger in (1, 2):
        rig.control.trigger()
        with pytest.raises(StateError, match="too early"):
            rig.control.trigger()
        assert rig.sinks[0].wait(3 * trigger)
    rig.join()
    assert rig.indices == list(range(6))
    assert rig.control.finished


def test_pulses_trigger_and_those_in_an_exposure_are_ignored(rig: DetectorRig) -> None:
    with pytest.raises(StateError, match="'external'"):
        command(rig, "pulse")
    rig.prepare(new_uuid(), parameters(nb_frames=3, expo_time=100_000, trigger_mode="external"))
    rig.start()
    with pytest.raises(ParameterError, match="period_s"):
        command(rig, "pulse", {"n": 2, "period_s": 0})
    assert command(rig, "pulse", {"n": 6, "period_s": 0.001}) == {"pulses": 6}
    assert rig.sinks[0].wait(1)
    assert rig.control.status()["ignored_triggers"] == 5
    command(rig, "pulse", {"n": 2, "period_s": 0.15})
    rig.join()
    assert rig.indices == list(range(3))
    assert rig.control.status()["ignored_triggers"] == 0
    with pytest.raises(StateError, match="waits for pulses"):
        command(rig, "pulse")


def test_receivers_refuse_blocks_that_the_detector_does_not_send() -> None:
    with DetectorRig(PLUGIN, 2) as rig, pytest.raises(ParameterError, match=r"xfer\.block = 1.*needs 4"):
        rig.sources[0].prepare(ReceiverSetup(new_uuid(), parameters(), 0, RoundRobin(2, 4)))


def test_an_error_of_sending_is_a_fault_and_the_next_acquisition_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    told = threading.Event()

    def fail(error: BaseException) -> None:
        failures.append(error)
        told.set()

    def no_network(self: WireSimulator, rate_hz: float) -> None:
        raise OSError("network is down")

    def make(context: ControlContext) -> JungfrauControl:
        return JungfrauControl(replace(context, fail=fail))

    with DetectorRig(PLUGIN, 1, make_control=make) as rig:
        with monkeypatch.context() as patched:
            patched.setattr(WireSimulator, "_send", no_network)
            rig.prepare(new_uuid(), parameters(nb_frames=3))
            rig.start()
            assert told.wait(5)
            rig.join()
        assert "network is down" in str(failures[0])
        rig.control.reset()
        rig.run(new_uuid(), parameters(nb_frames=3))
        assert rig.indices == [0, 1, 2]
        assert len(failures) == 1


def test_faults_of_the_wire_reach_the_receivers(rig: DetectorRig) -> None:
    faults = {
        "beam": {"pattern": "documented", "faults": {"lost_frames": [1], "lost_packets": [{"frame": 2, "packet": 5}]}}
    }
    rig.run(new_uuid(), parameters(faults | {"receiving": {"timeout_s": 0.05}}, nb_frames=4))
    assert rig.indices == [0, 1, 2, 3]
    assert rig.sinks[0].lost_indices == [1]
    assert [int(meta.extras["packets"][0]) for meta in rig.sinks[0].metas if meta.extras] == [128, 127, 128]


def test_a_beam_that_takes_too_long_to_compute_is_refused_and_ready_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lima2_receivers.detectors.jungfrau.simulated.COMPUTING_S", 0.0)
    with DetectorRig(PLUGIN, 1) as rig:
        given = parameters({"beam": {"images": 20}}, nb_frames=2)
        with pytest.raises(StateError, match="prepare again"):
            rig.prepare(new_uuid(), given)
        assert rig.control.status()["state"] == "idle"
        monkeypatch.setattr("lima2_receivers.detectors.jungfrau.simulated.COMPUTING_S", 60.0)
        rig.run(new_uuid(), given)
        assert rig.indices == [0, 1]


# --- packets of another program ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("counted", [True, False])
def test_another_program_sends_to_the_addresses_that_the_control_gives(counted: bool) -> None:
    with DetectorRig(PLUGIN, 2) as rig:
        rig.prepare(new_uuid(), parameters({"wire": "external"}, nb_frames=6 if counted else 0))
        rig.start()
        layout = WireLayout()
        destinations = [parse_addresses(text, layout.ports) for text in command(rig, "udp_addresses")]
        with WireSimulator(layout, destinations, next_frame_number=777) as wire:
            wire.start(6, 200.0)
            wire.wait(5)
        if not counted:
            command(rig, "external_end", {"total": 6})
        rig.join()
        assert not rig.errors
        assert rig.indices == list(range(6))
        assert numbers(rig, 0) == [777, 779, 781]


def test_a_stop_ends_an_external_acquisition(rig: DetectorRig) -> None:
    rig.prepare(new_uuid(), parameters({"wire": "external"}, nb_frames=0))
    rig.start()
    (address,) = command(rig, "udp_addresses")
    with WireSimulator(WireLayout(), [parse_addresses(address, 1)]) as wire:
        wire.start(3, 200.0)
        assert rig.sinks[0].wait(3)
    rig.stop()
    rig.join(2.0)
    assert rig.indices[:3] == [0, 1, 2]
    assert not rig.errors


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def control() -> Iterator[JungfrauControl]:
    made = JungfrauControl(ControlContext("c", {}, list), choose_backend)
    yield made
    made.close()


FOUR = {"module_rows": 4, "module_columns": 2}


def test_the_image_size_of_any_geometry_is_told(control: JungfrauControl) -> None:
    shape = control.commands()["image_shape"]
    assert shape(None) == {"x": 1030, "y": 514}
    assert shape({"geometry": FOUR}) == {"x": 2068, "y": 2164}
    with pytest.raises(ParameterError, match="geomtry"):
        shape({"geomtry": FOUR})


def test_the_poni_file_describes_the_beam(control: JungfrauControl) -> None:
    text = control.commands()["poni"]({"beam": {"distance_m": 0.2, "photon_kev": 10}})
    assert "Distance: 0.2" in text
    assert "Wavelength: 1.2398" in text
    assert '"max_shape": [514, 1030]' in text


def done(control: JungfrauControl, state: dict[str, Any]) -> dict[str, Any]:
    """The state of the background work when it is over."""
    for _ in range(1000):
        if state["state"] != "running":
            return state
        threading.Event().wait(0.01)
        state = control.commands()["calibrate_state"](None)
    raise AssertionError("the work does not end")


def test_the_calibration_of_the_simulated_modules_can_be_had(control: JungfrauControl, tmp_path: Path) -> None:
    make = control.commands()["simulated_calibration"]
    det = {"beam": {"seed": 5}}
    path = str(tmp_path / "exact.h5")
    assert done(control, make({"path": path, "det": det}))["path"] == path
    np.testing.assert_array_equal(load_calibration(path).pedestals[:3, 0], module_maps(5, 0).pedestals)
    with pytest.raises(SavingError, match="exists already"):
        make({"path": path, "det": det})
    paths = done(control, make({"path": str(tmp_path / "gains"), "what": "gains", "det": det}))["paths"]
    assert paths == [str(tmp_path / "gains_0.bin")]
    np.testing.assert_array_equal(read_psi_gains(paths)[:4, 0], module_maps(5, 0).gains)


def test_pedestals_and_gains_become_a_calibration_with_a_report(control: JungfrauControl, tmp_path: Path) -> None:
    commands = control.commands()
    det = parameters().det
    exact = simulated_calibration(det, datetime.now(UTC))
    taker = PedestalTaker((1, 512, 1024))
    rng = np.random.default_rng(1)
    for stage, bits in (("G0", 0), ("G1", 1), ("G2", 3)):
        level = exact.pedestals[int(stage[1])]
        for _ in range(10):
            dark = np.rint(rng.normal(level, 2.0)).astype(np.uint16) | np.uint16(bits << 14)
            taker.add(dark, stage=stage)
    modes = {"G0": "dynamic", "G1": "forceswitchg1", "G2": "forceswitchg2"}
    save_sums(tmp_path / "dark_0.h5", DarkSums(taker, exact.module_ids, datetime.now(UTC), {}, modes))
    gains = done(control, commands["simulated_calibration"]({"path": str(tmp_path / "g"), "what": "gains"}))["paths"]
    wanted = {"sums": [str(tmp_path / "dark")], "gains": gains, "output": str(tmp_path / "made.h5")}
    state = done(control, commands["calibrate"](wanted | {"report": str(tmp_path / "pictures")}))
    assert (state["state"], state["error"], state["path"]) == ("done", "", wanted["output"])
    assert "module 0: " in state["report"]
    assert all(Path(picture).is_file() for picture in state["pictures"])
    made = load_calibration(wanted["output"])
    assert np.abs(made.pedestals[:3] - exact.pedestals[:3]).mean() < 1
    with pytest.raises(SavingError, match="exists already"):
        commands["calibrate"](wanted)
    failed = done(control, commands["calibrate"](wanted | {"sums": ["/nothing"], "output": str(tmp_path / "x.h5")}))
    assert failed["state"] == "failed"
    assert "/nothing" in failed["error"]


def test_a_real_detector_has_no_commands_of_the_simulation() -> None:
    class Real:
        def __init__(self) -> None:
            self.real = choose_backend({}, lambda: None)
            self.name = "slsdet"

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def commands(self) -> dict[str, Any]:
            return {}

    control = JungfrauControl(replace(ControlContext("c", {}, list)), lambda properties, changed: Real())
    assert not {"pulse", "poni", "simulated_calibration"} & set(control.commands())
    assert {"calibrate", "calibrate_state", "image_shape", "udp_addresses"} <= set(control.commands())
    control.close()
