"""Fixtures that act as users: a BLISS shell in tmux, Flint on a virtual display."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lima2_bliss.stack import Stack

_numbers = itertools.count()


class Shell:
    """A real BLISS shell in a tmux pane: type into it, read its screen."""

    def __init__(self, env: dict[str, str], session: str = "tests", width: int = 160, height: int = 50) -> None:
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
        return self._tmux("capture-pane", "-p", "-J", "-S", "-20000")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

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
        before = len(self._prompts())
        self.type(line)
        deadline = time.monotonic() + timeout_s
        while len(self._prompts()) <= before:
            if time.monotonic() > deadline:
                pytest.fail(f"no prompt {timeout_s} s after {line!r}; the screen:\n{self.screen()[-6000:]}")
            time.sleep(0.05)
        screen, prompts = self.screen(), self._prompts()
        return screen[prompts[before - 1] : prompts[-1]]

    def _prompts(self) -> list[int]:
        return [found.start() for found in re.finditer(r"(?m)^[A-Z0-9_]+ \[\d+\]:", self.screen())]

    def close(self) -> None:
        """End the pane and everything in it."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], env=self._env, capture_output=True, timeout=20)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path, artifacts: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A BLISS shell of session `tests` at its prompt, saving below a temporary directory; its transcript is kept."""
    running = Shell(stack.environment())
    try:
        running.wait(r"TESTS \[\d+\]:", 60)
        running.run(f"SCAN_SAVING.base_path = {str(tmp_path)!r}")
        yield running
        (artifacts / f"{request.node.name}.txt").write_text(running.screen())
    finally:
        running.close()


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


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds: ``eventually(lambda: ..., timeout_s)``."""

    def wait(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not true within {timeout_s} s"
            time.sleep(0.02)

    return wait
