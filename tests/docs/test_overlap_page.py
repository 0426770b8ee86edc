"""The page on overlapping scans runs from beginning to end."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "doc" / "how-to" / "overlap.md"
TIDY = "simulator.roi_counters.clear(); simulator.roi_profiles.clear(); simulator.reset_settings()\n"


@pytest.mark.stack
def test_scans_overlap_as_the_page_has_it(run_bliss):
    code = "\n".join(re.findall(r"<!-- run: bliss -->\n```python\n(.*?)\n```", PAGE.read_text(), re.S))
    printed = run_bliss(f"{TIDY}{code}\nprint('read', image.shape, len(simulator.unsaved_scans))\n{TIDY}")
    assert [line for line in printed.splitlines() if re.match(r"\d+ \(", line)] == [
        f"{n} (1, 1024, 1024)" for n in (5, 6, 7)
    ]
    assert "read (1024, 1024) 0" in printed
