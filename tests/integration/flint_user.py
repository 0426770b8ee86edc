"""Someone who uses Flint with eyes and a mouse: looks at the screen, and moves the pointer by xdotool."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageGrab

#: Size of the image that Flint shows.
WIDTH, HEIGHT = 334, 254


class User:
    """Someone with eyes and a mouse at a display where Flint shows an image of WIDTH x HEIGHT."""

    def __init__(self, display: str, artifacts: Path) -> None:
        self._display = display
        self._artifacts = artifacts

    def look(self) -> np.ndarray:
        return np.asarray(ImageGrab.grab(xdisplay=self._display).convert("RGB")).astype(int)

    def keep(self, name: str) -> None:
        """A picture of the screen among the artefacts."""
        Image.fromarray(self.look().astype(np.uint8)).save(self._artifacts / f"flint_rois_{name}.png")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                self.keep("failure")
                pytest.fail(f"Flint does not show {what}")
            time.sleep(0.05)
        return found

    def area(self) -> tuple[int, int, int, int] | None:
        """(top, bottom, left, right) of the image: dark violet, the low end of Flint's colours, nearly everywhere."""
        red, green, blue = np.moveaxis(self.look(), 2, 0)
        violet = (blue > 70) & (green < 60) & (red < 110)
        rows, columns = (np.flatnonzero(violet.sum(axis) > 100) for axis in (1, 0))
        return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows.size and columns.size else None

    def place(self, x: float, y: float, width: int = WIDTH, height: int = HEIGHT) -> tuple[int, int]:
        """Screen pixel of image point (x, y)."""
        top, bottom, left, right = self.until(self.area, "an image")
        return round(left + x * (right - left) / width), round(top + y * (bottom - top) / height)

    def xdotool(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env={"DISPLAY": self._display}, check=True, timeout=20)

    def click(self, x: int, y: int) -> None:
        self.xdotool("mousemove", x, y, "click", 1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the button held, from one image point to another."""
        (x1, y1), (x2, y2) = self.place(*start), self.place(*end)
        self.xdotool("mousemove", x1, y1, "mousedown", 1)
        for part in (0.4, 0.8, 1.0):
            self.xdotool("mousemove", round(x1 + part * (x2 - x1)), round(y1 + part * (y2 - y1)))
        self.xdotool("mouseup", 1)

    def _icons(self, colour: str) -> tuple[list[int], list[int]]:
        """Rows and columns of the icons of a colour below the image."""
        area = self.area()
        if area is None:
            return [], []
        red, green, blue = np.moveaxis(self.look()[area[1] + 20 :], 2, 0)
        seen = {
            "orange": (red > 220) & (abs(green - 140) < 30) & (blue < 60),
            "red": (red > 200) & (green < 50) & (blue < 60),
            "green": (red < 40) & (abs(green - 165) < 25) & (blue < 110),
        }[colour]
        rows, columns = _groups(seen.any(1)), _groups(seen.any(0))
        return [row + area[1] + 20 for row in rows], columns

    def tools(self) -> list[tuple[int, int]]:
        """Where the tools are that draw rectangles and arcs, and both kinds of profiles; none outside of editing."""
        rows, columns = self._icons("orange")
        return [(column, rows[0]) for column in columns] if len(rows) == 1 and len(columns) in (2, 4) else []

    def rows(self) -> list[tuple[int, int]]:
        """Where the buttons are that delete a region, one in each row of the table."""
        rows, columns = self._icons("red")
        return [(columns[-1], row) for row in rows]

    def begins(self, regions: int) -> None:
        """Flint is ready for drawing, with so many regions."""
        self.until(lambda: self.tools() and len(self.rows()) == regions, f"a table of {regions} regions")

    def draw(self, start: tuple[float, float], end: tuple[float, float], tool: int | None = None) -> None:
        """One region more; without a tool that of rectangles, which is chosen at first."""
        known = len(self.rows())
        if tool is not None:
            self.click(*self.tools()[tool])
        self.drag(start, end)
        self.until(lambda: len(self.rows()) == known + 1, "the new region")

    def rename(self, row: int, name: str) -> None:
        """Give the region of that row another name."""
        x, y = self.rows()[row]
        self.click(x - 300, y)
        tools_y = self.tools()[0][1]

        def pencils() -> list[int]:
            rows, columns = self._icons("green")
            return [column for column in columns if column < self.tools()[0][0] - 10] if tools_y in rows else []

        self.until(lambda: len(pencils()) == 2, "the pencil")
        before = self.look()
        self.click(pencils()[1], tools_y)
        self.until(lambda: np.mean(self.look() != before) > 0.005, "the question for a name")
        self.xdotool("type", name)
        self.xdotool("key", "Return")
        self.until(lambda: len(self.tools()) == 4 and self.area(), "the table again")

    def apply(self) -> None:
        """Press "Apply these ROIs"."""
        rows, _ = self._icons("green")
        (x, _), *_ = self.rows()
        self.click(x - 200, rows[-1])

    def cancel(self) -> None:
        """Press the button beside it."""
        rows, _ = self._icons("green")
        (x, _), *_ = self.rows()
        self.click(x, rows[-1])

    def outline(
        self, x: float, y: float, width: float, height: float, image: tuple[int, int] = (WIDTH, HEIGHT)
    ) -> float:
        """How much of a rectangle's border is drawn in grey, as Flint draws regions on the live image: 0 to 1."""
        screen = self.look()
        grey = (abs(screen - 128) < 12).all(axis=2)
        near = grey | np.roll(grey, 1, 0) | np.roll(grey, -1, 0) | np.roll(grey, 1, 1) | np.roll(grey, -1, 1)
        if self.area() is None:
            return 0.0
        (left, top), (right, bottom) = self.place(x, y, *image), self.place(x + width, y + height, *image)
        sides = [near[top, left:right], near[bottom, left:right], near[top:bottom, left], near[top:bottom, right]]
        return float(min(side.mean() for side in sides))


def _groups(seen: np.ndarray) -> list[int]:
    """Middles of what is close together."""
    places = np.flatnonzero(seen)
    parts = np.split(places, np.flatnonzero(np.diff(places) > 6) + 1) if places.size else []
    return [int(part[0] + part[-1]) // 2 for part in parts]
