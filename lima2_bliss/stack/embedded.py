"""The embedded stack: Redis, beacon with its Tango database, and the processes of every detector."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
import tango

from lima2_bliss.contract import NotAvailableError, StateError
from lima2_bliss.stack import config_tree, processes
from lima2_bliss.stack.config_tree import DetectorServer
from lima2_bliss.stack.record import ProcessStatus, StackRecord
from lima2_bliss.stack.redis_modules import find_redis, link_prefix

_log = logging.getLogger(__name__)

BEACON = "beacon"
START_TIMEOUT_S = 60.0
#: A receiver compiles its kernels at the first start on a host; several take turns, so that only one does.
SERVER_TIMEOUT_S = 400.0
STOP_TIMEOUT_S = 10.0


def script(name: str, place: Path | None = None) -> str:
    """Path of a console script of this Python environment, or of the one whose programs are in ``place``."""
    beside = (place or Path(sys.executable).parent) / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise NotAvailableError(f"command {name} is not installed; pip install 'lima2-bliss[all]'")
    return found


class Stack:
    """A stack in ``state_dir``; every method may be called from any process, one at a time (file lock).

    ``bliss``: programs of the Python environment that beacon and BLISS come from, when it is not this one. Detectors
    and their publisher always run in this one.
    """

    def __init__(self, state_dir: Path, bliss: Path | None = None) -> None:
        self.state_dir = state_dir.resolve()
        self._bliss = bliss
        self.config_dir = self.state_dir / "config"
        self.log_dir = self.state_dir / "log"
        self.data_dir = self.state_dir / "data"

    # --- record and lock ------------------------------------------------------------------------------------------

    @property
    def _record_file(self) -> Path:
        return self.state_dir / "stack.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.state_dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def record(self) -> StackRecord | None:
        """What was started here, or None."""
        try:
            return StackRecord(**json.loads(self._record_file.read_text()))
        except FileNotFoundError:
            return None

    def _save(self, record: StackRecord) -> None:
        part = self._record_file.with_suffix(".part")
        part.write_text(json.dumps(asdict(record), indent=2))
        part.replace(self._record_file)

    def _required(self) -> StackRecord:
        record = self.record()
        if record is None:
            raise StateError(f"no stack runs in {self.state_dir}; start one with: lima2-stack up")
        return record

    # --- environment ----------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Variables that a BLISS session, a consumer or Flint of this stack needs, on top of the present ones."""
        record = self._required()
        prefix, ports = self.state_dir / "prefix", record.ports
        programs = [*([] if self._bliss is None else [self._bliss]), Path(sys.executable).parent, prefix / "bin"]
        path = ":".join([*map(str, programs), os.environ.get("PATH", "")])
        return {
            **os.environ,
            processes.MARK: str(self.state_dir),
            "CONDA_PREFIX": str(prefix),
            "PATH": path,
            "BEACON_HOST": f"localhost:{ports['beacon']}",
            "TANGO_HOST": f"localhost:{ports['tango']}",
            "LIMA2_DATA": str(self.data_dir),
            "PYTHONWARNINGS": "ignore",
        }

    # --- up and down ----------------------------------------------------------------------------------------------

    def up(self, config: Path | None = None, detectors: Sequence[str] = ()) -> list[ProcessStatus]:
        """Start what does not run yet, wait until all is ready; harmless when all runs already.

        ``detectors`` by name, "all" for all; without any those that a session has among its objects. Detectors that run
        already go on. Raises the error of the first process that does not come up, with the end of its log; what was
        started by this call is stopped again when beacon itself fails.
        """
        with self._locked():
            record = self.record()
            source = (config or (Path(record.config) if record else config_tree.default_config())).resolve()
            if record is not None and not processes.alive(record.pids.get(BEACON, -1)):
                _log.warning("a stack in %s has crashed; cleaning up before starting", self.state_dir)
                self._stop_all()
                record = None
            config_tree.copy_config(source, self.config_dir)
            wanted = config_tree.chosen_detectors(self.config_dir, detectors)
            if record is None:
                names = ("beacon", "tango", "redis", "redis_data")
                record = StackRecord(str(source), dict(zip(names, processes.free_ports(len(names)), strict=True)))
                self._save(record)
                try:
                    self._start_beacon(record)
                except Exception:
                    self._stop_all()
                    raise
            record.detectors = sorted({*record.detectors, *wanted})
            self._start_servers(record)
        return self.status()

    def _start_beacon(self, record: StackRecord) -> None:
        link_prefix(find_redis(), self.state_dir / "prefix")
        self.data_dir.mkdir(exist_ok=True)
        ports = record.ports
        command = [
            script("beacon-server", self._bliss),
            f"--db-path={self.config_dir}",
            f"--port={ports['beacon']}",
            f"--tango-port={ports['tango']}",
            f"--redis-port={ports['redis']}",
            f"--redis-data-port={ports['redis_data']}",
            f"--redis-socket={self._socket('redis')}",
            f"--redis-data-socket={self._socket('redis_data')}",
            "--log-server-port=0",
            "--log-viewer-port=0",
            "--homepage-port=0",
            f"--log-output-folder={self.log_dir}",
        ]
        for option, name in (("redis-conf", "redis.conf"), ("redis-data-conf", "redis_data.conf")):
            conf = self.config_dir / "redis" / name
            if conf.is_file():
                command.append(f"--{option}={conf}")
        log = self.log_dir / "beacon.log"
        log.unlink(missing_ok=True)
        record.pids[BEACON] = processes.start(command, log, self.environment(), self.state_dir)
        self._save(record)
        processes.wait_for(
            "beacon-server", lambda: self._beacon_ready(record), record.pids[BEACON], log, START_TIMEOUT_S
        )

    def _socket(self, name: str) -> Path:
        """Unix socket of a Redis; paths over 107 bytes are refused, so a long one moves to a short private place."""
        link = self.state_dir / f"{name}.sock"
        if len(str(link)) < 100:
            return link
        short = Path(f"/tmp/lima2-{os.getuid()}-{zlib.crc32(str(self.state_dir).encode()):08x}")
        short.mkdir(mode=0o700, exist_ok=True)
        return short / f"{name}.sock"

    @staticmethod
    def _beacon_ready(record: StackRecord) -> bool:
        for name in ("beacon", "redis", "redis_data"):
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("localhost", record.ports[name])):
                    return False
        try:
            tango.Database("localhost", record.ports["tango"]).get_db_host()
        except tango.DevFailed:
            return False
        return True

    def _start_servers(self, record: StackRecord) -> None:
        started: list[DetectorServer] = []
        for server in config_tree.detector_servers(self.config_dir):
            if server.detector not in record.detectors or processes.alive(record.pids.get(server.name, -1)):
                continue
            log = self._log_of(server.name)
            record.pids[server.name] = processes.start(
                [script(server.script), server.instance], log, self.environment(), self.state_dir
            )
            started.append(server)
        self._save(record)
        for server in started:
            pid, log = record.pids[server.name], self._log_of(server.name)
            processes.wait_for(server.name, lambda s=server: self._answers(record, s), pid, log, SERVER_TIMEOUT_S, 0.1)  # type: ignore[misc]

    def _log_of(self, name: str) -> Path:
        return self.log_dir / f"{name.replace('/', '_')}.log"

    @staticmethod
    def _answers(record: StackRecord, server: DetectorServer) -> bool:
        try:
            for device in server.devices:
                tango.DeviceProxy(f"tango://localhost:{record.ports['tango']}/{device}").ping()
        except tango.DevFailed:
            return False
        return True

    def restart(self, name: str) -> None:
        """Stop one of our server processes (``server/instance``) if it runs, and start it again."""
        with self._locked():
            record = self._required()
            if name == BEACON or name not in record.pids:
                known = ", ".join(sorted(set(record.pids) - {BEACON}))
                raise NotAvailableError(f"no process {name!r} that can be restarted; there are: {known}")
            if processes.alive(record.pids[name]):
                processes.end([psutil.Process(record.pids[name])], STOP_TIMEOUT_S)
            self._start_servers(record)

    def down(self, detectors: Sequence[str] = ()) -> list[int]:
        """Stop everything that carries the mark of this stack, or the processes of some detectors only.

        Returns the ids of processes that had to be killed.
        """
        with self._locked():
            return self._stop_detectors(self._required(), detectors) if detectors else self._stop_all()

    def _stop_detectors(self, record: StackRecord, asked: Sequence[str]) -> list[int]:
        names = config_tree.chosen_detectors(self.config_dir, asked)
        servers = [s.name for s in config_tree.detector_servers(self.config_dir) if s.detector in names]
        pids = [record.pids.pop(name, -1) for name in servers]
        killed = processes.end([psutil.Process(pid) for pid in pids if processes.alive(pid)], STOP_TIMEOUT_S)
        record.detectors = [name for name in record.detectors if name not in names]
        self._save(record)
        return killed

    def _stop_all(self) -> list[int]:
        record = self.record()
        beacon = record.pids.get(BEACON) if record else None
        found = processes.marked(self.state_dir)
        last = [process for process in found if process.pid == beacon]
        killed = processes.end(self._ours(found, record), STOP_TIMEOUT_S)
        killed += processes.end(last, STOP_TIMEOUT_S)
        killed += processes.end(processes.marked(self.state_dir), STOP_TIMEOUT_S)
        self._record_file.unlink(missing_ok=True)
        for name in ("redis", "redis_data"):
            sock = self._socket(name)
            sock.unlink(missing_ok=True)
            if sock.parent != self.state_dir and not any(sock.parent.iterdir()):
                sock.parent.rmdir()
        return killed

    @staticmethod
    def _ours(found: list[psutil.Process], record: StackRecord | None) -> list[psutil.Process]:
        """Sessions, Flint and our servers: what must end before beacon and its children."""
        pids = set(record.pids.values()) if record else set()
        beacon = record.pids.get(BEACON, -1) if record else -1
        children: set[int] = set()
        for process in found:
            if process.pid == beacon:
                children = {child.pid for child in process.children(recursive=True)}
        return [p for p in found if p.pid != beacon and (p.pid in pids or p.pid not in children)]

    # --- looking --------------------------------------------------------------------------------------------------

    def not_started(self) -> list[str]:
        """Detectors of the configuration that were not asked for; empty when the stack is down."""
        record = self.record()
        return (
            [name for name in config_tree.detectors(self.config_dir) if name not in record.detectors] if record else []
        )

    def status(self) -> list[ProcessStatus]:
        """Every process of the stack; empty when it is down."""
        record = self.record()
        rows = []
        for name, pid in sorted((record.pids if record else {}).items()):
            running = processes.alive(pid)
            rss = psutil.Process(pid).memory_info().rss / 1e6 if running else 0.0
            rows.append(ProcessStatus(name, pid, running, rss))
        return rows

    def logs(self) -> list[Path]:
        """Log files, one per process."""
        return sorted(self.log_dir.glob("*.log"))
