"""A private Tango database and real server processes of ours on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tango
from ruamel.yaml import YAML

from lima2_bliss.stack.detector_yaml import tango_servers

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 300.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {timeout_s} s"
        time.sleep(0.01)


class TangoBench:
    """Tango database on a free port, servers by (program, instance); all are ended by `close`."""

    def __init__(self, folder: Path, detectors: dict[str, int], plugin: str = "simulator") -> None:
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        config = folder / "db"
        config.mkdir(parents=True)
        entries = [entry for name, receivers in detectors.items() for entry in tango_servers(name, receivers, plugin)]
        with (config / "servers.yml").open("w") as file:
            YAML().dump(entries, file)
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--db_access", f"yaml:{config}", "2"]
        self._spawn("database", [str(BIN / "NosqlTangoDB"), *arguments])
        until(self._database_answers, START_TIMEOUT_S, "Tango database")

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"TANGO_HOST": self.host}

    def proxy(self, device: str) -> tango.DeviceProxy:
        """A proxy on this database (TANGO_HOST counts only the first time in a process)."""
        return tango.DeviceProxy(f"tango://{self.host}/{device}", green_mode=tango.GreenMode.Synchronous)

    def log(self, name: str) -> str:
        return (self.folder / f"{name.replace('/', '_')}.log").read_text()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def start(self, program: str, instance: str, device: str) -> None:
        """Start a server process and wait until its device answers."""
        name = f"{program}/{instance}"
        self._spawn(name, [str(BIN / program), instance])

        def answers() -> bool:
            assert self._processes[name].poll() is None, f"{name} ended:\n{self.log(name)}"
            try:
                tango.DeviceProxy(f"tango://{self.host}/{device}").state()
            except tango.DevFailed:
                return False
            return True

        until(answers, START_TIMEOUT_S, name)

    def start_detector(self, name: str, receivers: int, access: bool = False) -> None:
        """Control, receivers and perhaps the image device of a detector."""
        for rank in range(receivers):
            self.start("lima2-receiver", f"{name}_{rank + 1}", f"id00/limareceiver/{name}{rank + 1}")
        self.start("lima2-control", name, f"id00/limacontrol/{name}")
        if access:
            self.start("lima2-access", name, f"id00/limaimage/{name}")

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a server that is expected to end by itself."""
        return subprocess.run(
            [str(BIN / program), *arguments], env=self.environment, capture_output=True, text=True, timeout=30
        )

    def kill(self, name: str) -> None:
        """kill -9."""
        self._processes[name].kill()
        self._processes[name].wait(10)

    def terminate(self, name: str) -> int:
        """SIGTERM; the exit status."""
        self._processes[name].terminate()
        return self._processes[name].wait(15)

    def running(self, name: str) -> bool:
        return self._processes[name].poll() is None

    def close(self) -> None:
        for name in reversed(list(self._processes)):
            process = self._processes[name]
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name.replace('/', '_')}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def _database_answers(self) -> bool:
        try:
            tango.Database("127.0.0.1", self.port).get_server_list()
        except tango.DevFailed:
            return False
        return True
