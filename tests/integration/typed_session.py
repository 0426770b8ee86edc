"""A page of the documentation that shows a session of the BLISS shell: what is typed, and what must come back.

Blocks marked ``<!-- typed -->`` are one session from the first to the last. A line that begins with a prompt is typed;
the lines below it are what the shell must print, blank lines aside. In these, ``…`` stands for anything within a line
and a line ``...`` for any number of lines. ``^C`` after a typed line is Ctrl-C, pressed once ``pressed when`` is shown:
``DEMO [7]: timescan(0.1)  ^C after RUNNING +5``. Lines that the shell prints at its own time, before or after what the
scan shows, are left out of the comparison.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"<!-- typed -->\n```\w+\n(?P<text>.*?)\n```", re.S)
_PROMPT = re.compile(r"DEMO \[(?P<number>\d+)\]: (?P<line>.*)")
_INTERRUPT = re.compile(r"(?P<line>.*?) {2,}\^C after (?P<shown>.+)")
#: Where a scan is saved is said by a greenlet of its own, and the warning depends on the directory.
_AT_ANY_TIME = ("INFO: starting Scan(", "WARNING: scan data are currently saved under")


@dataclass(frozen=True)
class Typed:
    """One line that is typed, when Ctrl-C is pressed ("" never), and the lines that must come back."""

    number: int
    line: str
    interrupt: str
    expected: tuple[str, ...]

    def matches(self, printed: str) -> bool:
        """Whether ``printed`` is what the page shows."""
        return re.fullmatch(_pattern(self.expected), _text(printed.splitlines())) is not None


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_AT_ANY_TIME)


def _text(lines: list[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines if _counts(line))


def _pattern(expected: tuple[str, ...]) -> str:
    parts = []
    for line in expected:
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        elif _counts(line):
            words = ".*?".join(re.escape(part) for part in line.rstrip().split("…"))
            # how far columns are apart depends on what stands in them
            parts.append(re.sub(r"(?:\\ ){2,}", " +", words) + r"\n")
    return "".join(parts)


def typed_lines(page: Path) -> list[Typed]:
    """Everything that is typed on a page, in order; `AssertionError` when the prompts are not numbered in order."""
    found: list[tuple[int, str, list[str]]] = []
    for block in _BLOCK.finditer(page.read_text()):
        for line in block["text"].splitlines():
            if prompt := _PROMPT.match(line):
                found.append((int(prompt["number"]), prompt["line"], []))
            else:
                assert found, f"{page}: a block of a session must begin with a prompt, not with {line!r}"
                found[-1][2].append(line)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1)), "prompts are not numbered 1, 2, 3, ..."
    steps = []
    for number, line, expected in found:
        interrupt = _INTERRUPT.fullmatch(line)
        typed, shown = (interrupt["line"], interrupt["shown"]) if interrupt else (line, "")
        steps.append(Typed(number, typed, shown, tuple(expected)))
    return steps
