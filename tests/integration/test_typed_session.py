"""The tutorial that is a session in the shell: all its lines are typed, and what comes back is what the page shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from typed_session import Typed, typed_lines

PAGE = Path(__file__).resolve().parents[2] / "doc" / "tutorial" / "a_session_in_the_shell.md"


def typed(shell: Any, step: Typed) -> str:
    """Type a line as a person does; what is printed below it."""
    begun = shell.begin(step.line)
    if step.interrupt:
        before = shell.screen().rfind(step.line)
        shell.wait(step.interrupt, 30, after=before)
        shell.press("C-c")
    return shell.finish(begun).partition("\n")[2]


AS_CONFIGURED = """
simulator.reset_settings()
simulator.roi_counters.clear()
simulator.roi_profiles.clear()
simulator.metadata.clear()
for name in list(simulator.settings):
    simulator.settings.remove(name)
"""


@pytest.mark.stack
def test_a_scientist_types_the_session_of_the_tutorial(open_shell: Any, run_bliss: Any, artifacts: Path) -> None:
    steps = typed_lines(PAGE)
    assert len(steps) >= 50
    run_bliss(AS_CONFIGURED)
    shell = open_shell("tutorial_session", None, session="demo", width=120)
    told, faults = [], []
    for step in steps:
        printed = typed(shell, step)
        told.append(f"DEMO [{step.number}]: {step.line}\n{printed}")
        if not step.matches(printed):
            faults.append(
                f"[{step.number}] {step.line}\nthe page:\n" + "\n".join(step.expected) + f"\nit is:\n{printed}"
            )
    (artifacts / "tutorial_session_told.txt").write_text("".join(told))
    assert not faults, "\n\n".join(faults)


@pytest.mark.stack
def test_tab_completes_settings_values_and_regions(open_shell: Any, data_path: Path) -> None:
    shell = open_shell("tab_completion", data_path)
    for begun, whole in (
        ("simulator.acqui", "simulator.acquisition"),
        ("simulator.acquisition.lat", "simulator.acquisition.latency_time"),
        ("simulator.roi_c", "simulator.roi_counters"),
        ("simulator.saving.comp", "simulator.saving.compression"),
        ("simulator.last_im", "simulator.last_image"),
    ):
        shell.type_keys(begun)
        shell.wait(rf"\]: {begun}")
        shell.press("Tab")
        shell.wait(rf"\]: {whole}(?!\w)")
        shell.press("C-c")  # an empty line again


def test_a_page_is_read_as_typed_lines_and_what_must_come_back(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text\n<!-- typed -->\n```text\nDEMO [1]: a\n  took … s\n...\nend\n```\nmore\n"
        "<!-- typed -->\n```text\nDEMO [2]: b  ^C after RUNNING\nABORTED\n```\n"
    )
    first, second = typed_lines(page)
    assert (first.line, first.interrupt, first.expected) == ("a", "", ("  took … s", "...", "end"))
    assert (second.line, second.interrupt) == ("b", "RUNNING")
    assert first.matches("\n  took 3.5 s  \nmore\nand more\nend\n")
    assert first.matches("  took 1 s\nend")
    assert not first.matches("  took 1 s\nending\n")
    assert not first.matches("took 1 s\nend\n")
    page.write_text(page.read_text().replace("[2]", "[3]"))
    with pytest.raises(AssertionError, match="numbered"):
        typed_lines(page)
