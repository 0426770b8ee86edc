"""The page on scans runs from beginning to end."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "doc" / "how-to" / "scans.md"
TIDY = "simulator.roi_counters.clear(); simulator.roi_profiles.clear(); simulator.reset_settings()\n"


@pytest.mark.stack
def test_every_kind_of_scan_works_as_the_page_has_it(run_bliss):
    code = "\n".join(re.findall(r"<!-- run: bliss -->\n```python\n(.*?)\n```", PAGE.read_text(), re.S))
    printed = run_bliss(f"{TIDY}simulator.detector['size.x'] = 256\n{code}\n{TIDY}")
    assert "mesh: 6 points, 6 images" in printed
    assert len(re.findall(r"\d\.\d*", re.search(r"sweep: \[(.*?)\]", printed, re.S)[1])) == 20
    assert "raster: (3, 10)" in printed
    assert "by position: 10 images" in printed
