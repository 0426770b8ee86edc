"""The embedded stack: up twice is harmless, down leaves nothing, also after a crash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from lima2_bliss.contract import DeviceTimeoutError, NotAvailableError, ParameterError, StateError
from lima2_bliss.stack import Stack, default_config, processes, write_detector
from lima2_bliss.stack.config_tree import chosen_detectors, copy_config, detector_servers, detectors, sessions
from lima2_bliss.stack.detector_yaml import bliss_object, tango_servers
from lima2_bliss.stack.redis_modules import find_redis, link_prefix

PLACEHOLDER = "- server: nobody\n  personal_name: nobody\n  device: [{tango_name: a/b/c, class: Nobody}]\n"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Stack]:
    """A stack without detectors: Redis, beacon and Tango database only."""
    config = tmp_path / "config"
    for folder in ("sessions", "tango", "redis"):
        shutil.copytree(default_config() / folder, config / folder)
    shutil.copy(default_config() / "__init__.yml", config)
    for path in (config / "tango").glob("*.yml"):
        path.write_text(PLACEHOLDER)
    stack = Stack(tmp_path / "state")
    stack.up(config)
    yield stack
    stack.down()


def pids(stack: Stack) -> set[int]:
    return {process.pid for process in processes.marked(stack.state_dir)}


def test_up_twice_starts_nothing_new_and_down_leaves_nothing(bare: Stack) -> None:
    before = pids(bare)
    assert len(before) >= 4  # beacon, two Redis, Tango database
    bare.up()
    assert pids(bare) == before
    assert bare.down() == []
    assert pids(bare) == set()
    assert bare.record() is None
    assert not list(bare.state_dir.glob("*.sock"))
    bare.down()


def test_data_redis_has_the_memory_of_the_beacon_configuration(bare: Stack) -> None:
    import redis

    record = bare.record()
    assert record is not None
    with redis.Redis(port=record.ports["redis_data"]) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(4 << 30)
        assert {module[b"name"] for module in client.module_list()} >= {b"ReJSON", b"search"}


def test_after_a_crash_of_beacon_up_cleans_and_starts_again(bare: Stack) -> None:
    record = bare.record()
    assert record is not None
    orphans = pids(bare) - {record.pids["beacon"]}
    beacon = psutil.Process(record.pids["beacon"])
    beacon.kill()
    beacon.wait(5)
    bare.up()
    again = bare.record()
    assert again is not None
    assert again.pids["beacon"] != record.pids["beacon"]
    assert not orphans & pids(bare)
    bare.down()
    assert pids(bare) == set()


def test_a_configuration_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no beacon configuration"):
        Stack(tmp_path / "state").up(tmp_path)
    assert Stack(tmp_path / "state").record() is None


def test_the_environment_of_a_stack_that_is_down_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="lima2-stack up"):
        Stack(tmp_path / "state").environment()


def test_a_process_that_dies_while_starting_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    command = [sys.executable, "-c", "print('no licence found'); raise SystemExit(3)"]
    pid = processes.start(command, log, {}, tmp_path)
    with pytest.raises(StateError, match="no licence found"):
        processes.wait_for("thing", lambda: False, pid, log, 10)
    psutil.Process(pid).wait(5)


def test_a_process_that_never_gets_ready_is_a_timeout(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    pid = processes.start([sys.executable, "-c", "input() or __import__('signal').pause()"], log, {}, tmp_path)
    with pytest.raises((DeviceTimeoutError, StateError)):
        processes.wait_for("thing", lambda: False, pid, log, 0.2)
    processes.end([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 5)


def test_restarting_what_does_not_exist_names_what_does(bare: Stack) -> None:
    with pytest.raises(NotAvailableError, match="no process 'x/y'"):
        bare.restart("x/y")


def test_the_shipped_configuration_names_its_servers_and_session() -> None:
    servers = detector_servers(default_config())
    assert [server.name for server in servers if server.detector == "simulator"] == [
        "lima2_receiver/simulator_1",
        "lima2_receiver/simulator_2",
        "lima2_access/simulator",
        "lima2_publisher/simulator",
        "lima2_control/simulator",
    ]
    assert sessions(default_config()) == ["demo"]


def test_a_detector_written_for_n_receivers_has_n_receivers(tmp_path: Path) -> None:
    write_detector(tmp_path, "big", 5)
    servers = detector_servers(tmp_path)
    assert [s.devices[0] for s in servers if s.server == "lima2_receiver"] == [
        f"id00/limareceiver/big{k}" for k in range(1, 6)
    ]
    assert (tmp_path / "detectors" / "big.yml").is_file()


def test_copying_a_configuration_again_keeps_what_beacon_wrote(tmp_path: Path) -> None:
    copy_config(default_config(), tmp_path / "c")
    (tmp_path / "c" / "beacon.rdb").write_text("settings")
    copy_config(default_config(), tmp_path / "c")
    assert (tmp_path / "c" / "beacon.rdb").read_text() == "settings"


def test_redis_with_its_modules_is_found() -> None:
    found = find_redis()
    assert subprocess.run([found.server, "--version"], capture_output=True, check=True).stdout.startswith(
        b"Redis server v=8"
    )
    assert found.json_module.is_file()
    assert found.search_module.is_file()


def test_the_prefix_of_a_stack_is_not_taken_for_a_conda_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_redis()
    monkeypatch.setenv("CONDA_PREFIX", str(link_prefix(found, tmp_path / "prefix")))
    assert find_redis() == found


def test_the_command_line_reports_a_stack_that_is_down(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "lima2-stack"), "status", "--state-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no stack runs" in done.stdout


def test_without_a_choice_those_detectors_start_that_sessions_have(tmp_path: Path) -> None:
    assert detectors(default_config()) == ["jungfrau", "jungfrau4m", "simulator"]
    assert chosen_detectors(default_config()) == ["simulator"]
    assert chosen_detectors(default_config(), ["jungfrau4m", "simulator"]) == ["jungfrau4m", "simulator"]
    assert chosen_detectors(default_config(), ["all"]) == detectors(default_config())
    with pytest.raises(NotAvailableError, match="no detector eiger; there are: jungfrau, jungfrau4m, simulator"):
        chosen_detectors(default_config(), ["simulator", "eiger"])
    write_detector(tmp_path, "one", 1)
    write_detector(tmp_path, "two", 1)
    (tmp_path / "sessions").mkdir()
    session = tmp_path / "sessions" / "s.yml"
    session.write_text("- {class: Session, name: s}\n")  # BLISS gives such a session all objects
    assert chosen_detectors(tmp_path) == ["one", "two"]
    session.write_text("- {class: Session, name: s, config-objects: [two]}\n")
    assert chosen_detectors(tmp_path) == ["two"]


def test_an_unknown_detector_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="no detector eiger"):
        Stack(tmp_path / "state").up(detectors=["eiger"])
    assert Stack(tmp_path / "state").record() is None


@pytest.mark.parametrize("name", ["jungfrau", "jungfrau4m"])
def test_the_shipped_jungfraus_are_what_add_detector_writes_and_more(name: str) -> None:
    yaml = YAML(typ="safe")
    (shown,) = yaml.load((default_config() / "detectors" / f"{name}.yml").read_text())
    receivers = len(shown["receivers"])
    assert bliss_object(name, receivers, "jungfrau").items() <= shown.items()
    entries = yaml.load((default_config() / "tango" / f"{name}.yml").read_text())
    for entry, written in zip(entries, tango_servers(name, receivers, "jungfrau"), strict=True):
        (device,), (expected,) = entry.pop("device"), written.pop("device")
        assert entry == written
        assert expected.pop("properties").items() <= device.pop("properties").items()
        assert device == expected
