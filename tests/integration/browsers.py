"""Chromium for tests: pages that a test opens, asks and photographs. The browser is driven by browser_driver.py."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-browser/bin/python"


def missing() -> str:
    """What keeps tests from using a browser; empty when nothing does."""
    lacking = [] if PYTHON.is_file() else [str(PYTHON.parents[1])]
    lacking += [] if shutil.which("chromium") else ["chromium"]
    return f"{' and '.join(lacking)} missing; run: make setup-browser" if lacking else ""


class Page:
    """One page. Scripts are JavaScript functions of one argument, or expressions."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self.name = name

    def _do(self, action: str, **arguments: Any) -> Any:
        return self._browser.do(self.name, action, arguments)

    def value(self, script: str, given: Any = None) -> Any:
        """What a script gives now."""
        return self._do("value", script=script, given=given)

    def wait(self, script: str, given: Any = None, timeout_s: float = 15.0) -> Any:
        """What a script gives as soon as that is true."""
        return self._do("wait", script=script, given=given, timeout_s=timeout_s)

    def press(self, *keys: str) -> None:
        """Press keys, e.g. f, ArrowLeft, Shift+ArrowLeft."""
        self._do("press", keys=list(keys))

    def click(self, selector: str) -> None:
        """Click on an element."""
        self._do("click", selector=selector)

    def fill(self, selector: str, text: str) -> None:
        """Type into a field, and leave it."""
        self._do("fill", selector=selector, text=text)

    def choose(self, selector: str, value: str) -> None:
        """Choose from a list."""
        self._do("choose", selector=selector, value=value)

    def point(self, x: float, y: float, wheel: float = 0.0) -> None:
        """Put the mouse at a place of the page, and turn its wheel."""
        self._do("point", x=x, y=y, wheel=wheel)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Drag with the mouse."""
        self._do("drag", x=x, y=y, to_x=to_x, to_y=to_y)

    def download(self, selector: str) -> tuple[str, bytes]:
        """Name and content of the file that a click brings."""
        name, content = self._do("download", selector=selector)
        return name, base64.b64decode(content)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Keep a screenshot."""
        self._do("picture", path=str(path), whole=whole)

    def close(self) -> None:
        """Close the page."""
        self._do("close")


class Browser:
    """A browser process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the browser's driver has ended"
        return json.loads(line)

    def do(self, name: str, action: str, arguments: dict[str, Any]) -> Any:
        """One action on a page, by name."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, action, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if isinstance(answer, dict) and "error" in answer:
            complaints = "".join(f"\n{said}" for said in self.complaints)
            raise AssertionError(f"page {name}, {action} {arguments}: {answer['error']}{complaints}")
        return answer

    def open(
        self, name: str, address: str, size: tuple[int, int] = (1500, 1000), scheme: str = "light", touch: bool = False
    ) -> Page:
        """A new page in a window of its own."""
        wanted = {"address": address, "width": size[0], "height": size[1], "scheme": scheme, "touch": touch}
        self.do(name, "open", wanted)
        return Page(self, name)

    @contextmanager
    def opened(self, name: str, address: str, **options: Any) -> Iterator[Page]:
        """Like `open`, for a block."""
        page = self.open(name, address, **options)
        try:
            yield page
        finally:
            page.close()

    @property
    def complaints(self) -> list[str]:
        """Errors of scripts, on all pages so far."""
        return list(self.do("", "complaints", {}))


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser; it ends with the block."""
    chromium = shutil.which("chromium")
    assert chromium
    process = subprocess.Popen(
        [str(PYTHON), str(HERE / "browser_driver.py"), chromium],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Browser(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
