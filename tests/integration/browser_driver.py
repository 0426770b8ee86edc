"""Drives Chromium for a test: run by the Python of .venv-browser, told what to do by lines of JSON.

A line is ``[page, action, arguments]``; its answer is a line with the result, or with ``{"error": text}``.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Error, Page, sync_playwright

_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=SpareRendererForSitePerProcess",
]
_WAIT_MS = 15_000


class Pages:
    """The open pages by name, and what they complained of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._pages: dict[str, Page] = {}
        self._complaints: list[str] = []

    def do(self, name: str, action: str, arguments: dict[str, Any]) -> Any:
        """One action on one page."""
        if action == "open":
            return self._open(name, **arguments)
        if action == "complaints":
            return self._complaints
        call: Callable[..., Any] = getattr(self, f"_{action}")
        return call(self._pages[name], **arguments)

    def _open(self, name: str, address: str, width: int, height: int, scheme: str, touch: bool) -> None:
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, is_mobile=touch
        )
        context.set_default_timeout(_WAIT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = self._pages[name] = context.new_page()
        page.on("pageerror", lambda error: self._complaints.append(f"{name}: {error}"))
        page.on("console", lambda said: said.type == "error" and self._complaints.append(f"{name}: {said.text}"))
        page.goto(address)

    def _close(self, page: Page) -> None:
        page.context.close()

    def _value(self, page: Page, script: str, given: Any) -> Any:
        return page.evaluate(script, given)

    def _wait(self, page: Page, script: str, given: Any, timeout_s: float) -> Any:
        return page.wait_for_function(script, arg=given, timeout=timeout_s * 1e3, polling=50).json_value()

    def _press(self, page: Page, keys: list[str]) -> None:
        for key in keys:
            page.keyboard.press(key)

    def _click(self, page: Page, selector: str) -> None:
        page.click(selector)

    def _fill(self, page: Page, selector: str, text: str) -> None:
        page.fill(selector, text)
        page.press(selector, "Tab")

    def _choose(self, page: Page, selector: str, value: str) -> None:
        page.select_option(selector, value)

    def _point(self, page: Page, x: float, y: float, wheel: float) -> None:
        page.mouse.move(x, y)
        if wheel:
            page.mouse.wheel(0, wheel)

    def _drag(self, page: Page, x: float, y: float, to_x: float, to_y: float) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(to_x, to_y, steps=3)
        page.mouse.up()

    def _download(self, page: Page, selector: str) -> list[str]:
        with page.expect_download() as waiting:
            page.click(selector)
        return [waiting.value.suggested_filename, base64.b64encode(waiting.value.path().read_bytes()).decode()]

    def _picture(self, page: Page, path: str, whole: bool) -> None:
        page.screenshot(path=path, full_page=whole)


def main() -> None:
    """Answer line by line until there are no more."""
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=sys.argv[1], args=_OPTIONS)
        pages = Pages(browser)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            try:
                answer: Any = pages.do(*json.loads(line))
            except (Error, KeyError, TypeError, AttributeError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
