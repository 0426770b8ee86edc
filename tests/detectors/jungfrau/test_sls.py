"""The real detector's backend, with a stand-in for slsdet; and what it uses against slsdet, where that is installed."""

from __future__ import annotations

import builtins
import socket
from typing import Any

import pytest
from fake_slsdet import FakeJungfrau, FakeSlsdet

from lima2_bliss.contract import AcquisitionError, NotAvailableError, ParameterError, StateError
from lima2_receivers.detectors.jungfrau.choice import choose_backend
from lima2_receivers.detectors.jungfrau.destinations import table_of
from lima2_receivers.detectors.jungfrau.hardware_addresses import known_macs, mac_of
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.sls import PATIENCE, SlsDetector, import_slsdet

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
PROPERTIES = {
    "slsdet_hosts": "jf0\njf1",
    "slsdet_parameters": "0:udp_srcip 10.9.0.20\n1:udp_srcip 10.9.0.21",
    "udp_mac": f"10.9.0.1={MAC_A}, 10.9.0.2={MAC_B}",
}
UDP = [[("10.9.0.1", 20032 + port) for port in range(4)], [("10.9.0.2", 20096 + port) for port in range(4)]]


def parameters(acq: dict[str, Any] | None = None, **det: Any) -> JungfrauParameters:
    """Those of two modules on top of each other, with two interfaces."""
    geometry = {"module_rows": 2, "module_columns": 1}
    return JungfrauParameters.model_validate(
        {"acq": {"nb_frames": 6} | (acq or {}), "det": {"geometry": geometry, "interfaces": 2} | det}
    )


@pytest.fixture(autouse=True)
def _all_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lima2_receivers.detectors.jungfrau.sls_settings._require_reachable", lambda host: None)


def connected(chip: float = 1.0, **properties: str) -> tuple[SlsDetector, FakeSlsdet, FakeJungfrau]:
    """A backend and what it is connected with."""
    package = FakeSlsdet(chip)
    backend = SlsDetector(PROPERTIES | properties, lambda: package)
    return backend, package, package.made[0]


def test_the_grid_is_set_before_the_host_names_and_further_commands_come_after_them() -> None:
    backend, package, detector = connected(slsdet_id="3")
    assert detector.calls == [
        ("detsize", [1024, 1024]),
        ("setHostname", ["jf0", "jf1"]),
        ("loadParameters", ["0:udp_srcip 10.9.0.20", "1:udp_srcip 10.9.0.21"]),
    ]
    assert (package.freed, detector.number) == ([3], 3)
    assert backend.info() == {"model": "Jungfrau", "sn": "11+12"}


def test_a_configuration_file_takes_the_place_of_host_names() -> None:
    _, _, detector = connected(slsdet_config="/etc/jungfrau.config", slsdet_parameters="")
    assert detector.calls == [("loadConfig", "/etc/jungfrau.config")]


def test_everything_that_frames_depend_on_is_set() -> None:
    backend, package, detector = connected()
    detector.values["nextframenumber"] = [8, 9]
    first = backend.configure(
        parameters({"expo_time": 100, "latency_time": 900}, gain_mode="forceswitchg1", high_gain=True, storage_cell=4),
        table_of(UDP, 1),
    )
    assert first == 9
    values = detector.values
    assert (values["numinterfaces"], values["fliprows"], values["storagecell_start"]) == (2, 0, 4)
    assert (values["exptime"], values["period"]) == pytest.approx((1e-4, 1e-3))
    assert (values["frames"], values["triggers"]) == (6, 1)
    assert values["timing"] is package.timingMode.AUTO_TIMING
    assert values["gainmode"] is package.gainMode.FORCE_SWITCH_G1
    assert values["settings"] is package.detectorSettings.HIGHGAIN0
    assert values["readoutspeed"] is package.speedLevel.HALF_SPEED
    assert values["nextframenumber"] == 9  # the same on both modules


def test_destinations_are_those_of_the_receivers_with_their_ethernet_addresses() -> None:
    backend, _, detector = connected()
    backend.configure(parameters(), table_of(UDP, 2))
    assert sorted(detector.destinations) == [f"{module}:{entry}" for module in (0, 1) for entry in range(4)]
    assert detector.destinations["1:1"] == {
        "ip": "10.9.0.1", "mac": MAC_A, "port": "20034", "ip2": "10.9.0.1", "mac2": MAC_A, "port2": "20035",
    }  # fmt: skip
    assert detector.destinations["0:2"]["ip"] == "10.9.0.2"
    assert ("setFirstUDPDestination", 0) in detector.calls
    before = len([call for call in detector.calls if call[0] == "loadParameters"])
    backend.configure(parameters(), table_of(UDP, 2))  # hundreds of commands that need not be sent again
    assert len([call for call in detector.calls if call[0] == "loadParameters"]) == before


def test_triggers_give_their_frames_and_those_too_early_are_refused() -> None:
    backend, package, detector = connected()
    with pytest.raises(ParameterError, match="no multiple"):
        backend.configure(parameters({"trigger_mode": "software", "nb_frames_per_trigger": 4}), table_of(UDP, 1))
    backend.configure(parameters({"trigger_mode": "software", "nb_frames_per_trigger": 3}), table_of(UDP, 1))
    assert (detector.values["frames"], detector.values["triggers"]) == (3, 2)
    backend.start()
    backend.trigger()
    assert detector.calls[-1] == ("sendSoftwareTrigger",)
    detector.values["status"] = package.runStatus.RUNNING
    with pytest.raises(StateError, match="too early"):
        backend.trigger()


def test_progress_and_the_end_are_those_of_the_slowest_module() -> None:
    backend, package, detector = connected()
    backend.configure(parameters(), table_of(UDP, 1))
    backend.start()
    detector.values["framecounter"] = [4, 3]
    backend.poll()
    assert (backend.frames_exposed, backend.finished) == (3, False)
    detector.values |= {"framecounter": 6, "status": package.runStatus.RUN_FINISHED}
    backend.poll()
    assert (backend.frames_exposed, backend.finished) == (6, True)
    assert backend.stop() == 6
    assert ("stopDetector",) not in detector.calls


def test_a_stop_counts_what_all_modules_have() -> None:
    backend, _, detector = connected()
    backend.configure(parameters({"nb_frames": 0}), table_of(UDP, 1))
    backend.start()
    detector.values["framecounter"] = [1203, 1202]
    assert backend.stop() == 1202
    assert backend.finished


def test_a_detector_that_ends_too_early_or_does_not_answer_fails_the_acquisition() -> None:
    backend, package, detector = connected()
    backend.configure(parameters(), table_of(UDP, 1))
    backend.start()
    detector.values["status"] = package.runStatus.STOPPED
    for _ in range(PATIENCE - 1):
        backend.poll()
    with pytest.raises(AcquisitionError, match="stopped after 0 of 6 frames"):
        backend.poll()
    backend.configure(parameters(), table_of(UDP, 1))
    backend.start()
    detector.values["status"] = package.runStatus.ERROR
    with pytest.raises(AcquisitionError, match="status ERROR"):
        backend.poll()


@pytest.mark.parametrize(
    ("det", "match"),
    [
        ({"geometry": {"module_rows": 4, "module_columns": 2}}, "1 columns of 2 modules"),
        ({"module_ids": [101, 100]}, "order of the hosts"),
    ],
)
def test_another_detector_than_the_parameters_say_is_refused(det: dict[str, Any], match: str) -> None:
    backend, _, _ = connected()
    with pytest.raises(ParameterError, match=match):
        backend.configure(parameters(**det), table_of([UDP[0]], 1))


def test_chips_1_1_have_four_storage_cells() -> None:
    backend, _, detector = connected(chip=1.1)
    backend.configure(parameters(), table_of(UDP, 1))
    assert detector.values["storagecell_start"] == 3  # the default is the last one
    with pytest.raises(ParameterError, match="from 0"):
        backend.configure(parameters(storage_cell=7), table_of(UDP, 1))


def test_a_detector_that_is_off_is_connected_when_it_is_needed() -> None:
    package = FakeSlsdet()
    package.errors["setHostname"] = "Cannot connect to jf0 on port 1952"
    backend = SlsDetector(PROPERTIES, lambda: package)
    assert backend.status()["detector"] == "offline"
    assert "Cannot connect to jf0" in backend.status()["trouble"]
    package.errors.clear()
    assert backend.status() == {"detector": "idle", "trouble": "", "temperature": 41.0, "temperature_fpga": 41.0}
    assert backend.configure(parameters(), table_of(UDP, 1)) == 1


def test_a_module_without_power_is_found_before_slsdet_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    package = FakeSlsdet()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        backend = SlsDetector(PROPERTIES | {"slsdet_hosts": f"127.0.0.1:{port} 127.0.0.1:1"}, lambda: package)
        assert "module 127.0.0.1:1 does not answer" in backend.status()["trouble"]
    assert package.made == []


def test_ethernet_addresses_are_given_found_or_asked_for() -> None:
    assert mac_of("10.9.0.1", known_macs(PROPERTIES["udp_mac"])) == MAC_A
    with pytest.raises(ParameterError, match=r"udp_mac as 192\.0\.2\.7="):
        mac_of("192.0.2.7", {})
    with pytest.raises(ParameterError, match="not IP=MAC"):
        known_macs("10.9.0.1 02:00")


def test_without_slsdet_a_configured_detector_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "slsdet":
            raise ImportError("No module named 'slsdet'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotAvailableError, match=r"pip install 'lima2-bliss\[slsdet\]'"):
        choose_backend(PROPERTIES, lambda: None)


def test_slsdet_has_all_that_is_used() -> None:
    slsdet = pytest.importorskip("slsdet", reason="slsdet is not installed: pip install 'lima2-bliss[slsdet]'")
    assert import_slsdet() is slsdet
    backend, _, detector = connected()
    for mode in ("internal", "software"):
        backend.configure(parameters({"trigger_mode": mode}), table_of(UDP, 1))
        backend.start()
        if mode == "software":
            backend.trigger()
        backend.poll()
        backend.stop()
    backend.status()
    used = detector.touched | {"loadConfig", "setHostname"}
    assert len(used) > 25
    missing = sorted(name for name in used if not hasattr(slsdet.Jungfrau, name))
    assert not missing
    for kind in ("gainMode", "detectorSettings", "speedLevel", "timingMode", "runStatus", "dacIndex"):
        names = {member.name for member in getattr(FakeSlsdet, kind)}
        assert names <= set(getattr(slsdet, kind).__members__)
    assert callable(slsdet.freeSharedMemory)
