"""Processes of the stack: started in the background with a mark in their environment, found again by that mark."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from lima2_bliss.contract import DeviceTimeoutError, StateError

#: Environment variable that marks every process of a stack, children included; its value is the state directory.
MARK = "LIMA2_STACK"
_POLL_S = 0.02


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now (loopback), not of those that the system hands out: they stay free until we listen."""
    found: list[int] = []
    low = min(_first_handed_out(), 32768)
    for port in random.sample(range(10_000, low), low - 10_000) if low > 11_000 else [0] * 4 * count:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += {probe.getsockname()[1]} - set(found)
        if len(found) == count:
            break
    return found


def _first_handed_out() -> int:
    """The lowest port that the system gives to a connection or server that asks for any."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def start(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> int:
    """Start a background process that writes to ``log``; its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return process.pid


def alive(pid: int) -> bool:
    """True while a process runs (a zombie does not; neither does a negative id, which stands for none)."""
    if pid <= 0:
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(state_dir: Path) -> list[psutil.Process]:
    """All live processes that carry the mark of this stack, this process and its ancestors left out."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and _belongs(process, state_dir):
                found.append(process)
    return found


def _belongs(process: psutil.Process, state_dir: Path) -> bool:
    if process.environ().get(MARK) == str(state_dir):
        return True
    # redis-server writes its title over its environment; beacon starts it in the configuration directory
    return process.name() == "redis-server" and process.cwd() == str(state_dir / "config")


def end(processes: Sequence[psutil.Process], timeout_s: float) -> list[int]:
    """SIGTERM, then SIGKILL what is left after ``timeout_s``; the ids of those that had to be killed."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    stubborn = _wait_ended(processes, timeout_s)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_ended(stubborn, timeout_s)
    return [process.pid for process in stubborn]


def _wait_ended(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after ``timeout_s``. A zombie has ended: not every host reaps orphans soon."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while True:
        # a child of this process is reaped here
        left = [process for process in left if not _reaped(process) and alive(process.pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S)


def _reaped(process: psutil.Process) -> bool:
    try:
        process.wait(0)
    except psutil.TimeoutExpired:
        return False
    return True


def wait_for(
    what: str, ready: Callable[[], bool], pid: int, log: Path, timeout_s: float, poll_s: float = _POLL_S
) -> None:
    """Wait until ``ready()``; a clear error with the end of the log when the process dies or takes too long."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not alive(pid):
            raise StateError(f"{what} ended while starting; the end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise DeviceTimeoutError(f"{what} is not ready after {timeout_s:g} s; the end of {log}:\n{tail(log)}")
        time.sleep(poll_s)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file."""
    if not log.is_file():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
