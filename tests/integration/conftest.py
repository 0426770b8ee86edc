"""Fixtures that act as users: a BLISS shell in tmux, Flint on a virtual display."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lima2_bliss.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))  # for what its tests share

PROMPT = re.compile(r"(?m)^[A-Z0-9_]+ \[(\d+)\]:")

_numbers = itertools.count()

#: For scripts in a session with a Jungfrau.
JUNGFRAU_TOOLS = """
import json, os, signal, socket, subprocess, sys, time
import gevent
import numpy as np
from pathlib import Path

def fresh():
    det = config.get(detector_name)
    det.reset_settings()
    det.roi_counters.clear()
    det.roi_profiles.clear()
    return det

def counted(det):
    status = det.last_outcome.status
    return {"receivers": [receiver.counts.model_dump() for receiver in status.receivers], "intake": status.intake}

def files(det):
    return {source: str(path) for source, path in det.last_outcome.files.items()}
"""


class Shell:
    """A real BLISS shell in a tmux pane: type into it, read its screen."""

    def __init__(self, env: dict[str, str], session: str = "tests", width: int = 160, height: int = 50) -> None:
        self._last_screen: str | None = None
        self._socket = f"lima2-{os.getpid()}-{next(_numbers)}"
        bliss = Path(sys.executable).parent / "bliss"
        keep = {key: env[key] for key in env if re.fullmatch(r"[A-Z_0-9]+", key)}
        self._env = {**keep, "TERM": "screen-256color", "LANG": "C.UTF-8", "TMUX": ""}
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
            f"{bliss} -s {session} --no-tmux; exec cat",
        )  # fmt: skip
        self._tmux("set-option", "-g", "history-limit", "20000")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, *arguments]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=True, timeout=20).stdout

    def screen(self) -> str:
        """Everything that was on the screen so far."""
        if self._last_screen is not None:
            return self._last_screen
        return self._tmux("capture-pane", "-p", "-J", "-S", "-20000")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def type_keys(self, text: str) -> None:
        """Type without Enter."""
        self._tmux("send-keys", "-l", text)

    def press(self, key: str) -> None:
        """Press one key by its tmux name, e.g. C-c."""
        self._tmux("send-keys", key)

    def wait(self, pattern: str, timeout_s: float = 60.0, after: int = 0) -> re.Match[str]:
        """Wait until ``pattern`` is on the screen behind position ``after``."""
        deadline = time.monotonic() + timeout_s
        while True:
            screen = self.screen()
            found = re.compile(pattern).search(screen, min(after, len(screen)))
            if found:
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"{pattern!r} did not appear within {timeout_s} s; the screen:\n{screen[-6000:]}")
            time.sleep(0.05)

    def run(self, line: str, timeout_s: float = 60.0) -> str:
        """Type a line, wait for the next prompt, give what was printed between."""
        before = self._last_prompt()[0]
        self.type(line)
        return self.finish(before, timeout_s)

    def begin(self, line: str) -> int:
        """Type a line and do not wait; what it gives is to be handed to `finish`."""
        before = self._last_prompt()[0]
        self.type(line)
        return before

    def finish(self, begun: int, timeout_s: float = 60.0) -> str:
        """Wait for the prompt after the line that was typed at prompt ``begun``; what was printed between."""
        deadline = time.monotonic() + timeout_s
        while (now := self._last_prompt())[0] <= begun:
            if time.monotonic() > deadline:
                pytest.fail(f"no prompt within {timeout_s} s; the screen:\n{self.screen()[-6000:]}")
            time.sleep(0.02)
        _, end, screen = now
        typed = [match.end() for match in PROMPT.finditer(screen, 0, end) if int(match[1]) == begun]
        return screen[typed[-1] : end]

    def _last_prompt(self) -> tuple[int, int, str]:
        """Number and place of the newest prompt, and the screen that it is on."""
        screen = self.screen()
        numbers = [(int(match[1]), match.start()) for match in PROMPT.finditer(screen)]
        return (*max(numbers, default=(0, 0)), screen)

    def close(self) -> None:
        """End the pane and everything in it; returns when the shell's process is gone. Its screen stays readable."""
        if self._last_screen is not None:
            return
        self._last_screen = self.screen()
        shell = psutil.Process(int(self._tmux("display-message", "-p", "#{pane_pid}")))
        running = [shell, *shell.children(recursive=True)]
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], env=self._env, capture_output=True, timeout=20)
        _, left = psutil.wait_procs(running, timeout=10)
        for process in left:
            process.kill()


@pytest.fixture(scope="module")
def open_shell(stack: Stack, artifacts: Path) -> Iterator[Callable[..., Shell]]:
    """Opens BLISS shells: ``open_shell(name, data_path)``, of session `tests` if no other is named. Each is at its
    prompt, saves below ``data_path`` (None: as the session says), leaves its transcript as artefact ``NAME.txt``; all
    are closed with the module.
    """
    opened: list[tuple[str, Shell]] = []

    def one_more(name: str, data_path: Path | None, session: str = "tests", width: int = 160) -> Shell:
        shell = Shell(stack.environment(), session, width)
        opened.append((name, shell))
        shell.wait(rf"{session.upper()} \[\d+\]:", 60)
        if data_path is not None:
            shell.run(f"SCAN_SAVING.base_path = {str(data_path)!r}")
        return shell

    try:
        yield one_more
    finally:
        for name, shell in opened:
            (artifacts / f"{name}.txt").write_text(shell.screen())
            shell.close()


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scans of a module's shell are saved."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def shell(open_shell: Callable[[str, Path], Shell], data_path: Path, request: pytest.FixtureRequest) -> Shell:
    """A BLISS shell that the tests of a module share."""
    return open_shell(f"{request.module.__name__.rpartition('.')[2]}_transcript", data_path)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual X display; its name."""
    if shutil.which("Xvfb") is None:
        pytest.fail("Xvfb is not installed; run: make setup")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def flint(stack: Stack, display: str, artifacts: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Flint of session `tests`; the variables that a BLISS process needs to use it."""
    env = {"DISPLAY": display}
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    with (artifacts / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bliss.flint", "-s", "tests"],
            env={**stack.environment(), **env},
            stdout=log,
            stderr=log,
        )
        try:
            yield env
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds: ``eventually(lambda: ..., timeout_s)``."""

    def wait(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not true within {timeout_s} s"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="module")
def jungfrau(
    stack: Stack,
    bliss_in: Callable[[Path], Callable[..., str]],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Runs code in a session with the Jungfrau that the module names as ``DETECTOR``, started for it.

    Gives what the code says in its line of JSON.
    """
    name = request.module.DETECTOR

    def run(code: str) -> dict[str, Any]:
        begin = f"detector_name = {name!r}\n{JUNGFRAU_TOOLS}"
        printed = bliss_in(tmp_path_factory.mktemp(name))(begin + code)
        (line,) = (line for line in printed.splitlines() if line.startswith("JSON "))
        return json.loads(line[5:])

    stack.up(detectors=[name])
    yield run
    stack.down([name])
