"""The documentation builds, its links lead somewhere, and it says what the code has."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags, FrameInfo
from lima2_bliss.contract.parameters import LegacyParameters, SmxParameters
from lima2_bliss.contract.parameters.describe import filled, load_model, sections
from lima2_bliss.publishing.preview import PREVIEW_SIDE
from lima2_bliss.publishing.streams import pipeline_streams

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "doc"

PARAMETERS = DOC / "reference" / "parameters.md"
REFRESH = "python -m lima2_bliss.contract.parameters.describe doc/reference/parameters.md"


def test_the_documentation_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "tutorial" / "first_scan" / "index.html").is_file()


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_in_the_root_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short_and_every_place_in_it_exists():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 60
    first_screen = "\n".join(text.splitlines()[:24])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    for row in re.findall(r"^\| (`.+?) \|", text, re.M):
        first, *others = re.findall(r"`(.+?)`", row)
        for place in (ROOT / first, *((ROOT / first).parent / other for other in others)):
            assert place.is_dir(), f"{place} of the README is not there"


def test_the_parameter_tables_are_those_of_the_models():
    page = PARAMETERS.read_text()
    assert page == filled(page), f"the page is old; run: {REFRESH}"
    assert REFRESH in page


@pytest.mark.parametrize(
    "name", re.findall(r"<!-- parameters: (\S+) -->", (DOC / "reference/parameters.md").read_text())
)
def test_every_parameter_says_what_it_means(name):
    leaves = [leaf for section in sections(load_model(name)) for leaf in section.leaves]
    assert leaves
    silent = {leaf.name for leaf in leaves if not leaf.meaning}
    assert silent <= {"acq_trigger_mode"}, "give these a description"  # its words stand above the table


def test_every_command_and_make_target_is_described():
    page = (DOC / "reference" / "command_line.md").read_text()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert [name for name in scripts if name not in page] == []
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert [name for name in phony[1].split() if name != "help" and f"`make {name}" not in page] == []


def test_every_subcommand_of_the_stack_is_described():
    from lima2_bliss.stack.cli import app

    page = (DOC / "reference" / "command_line.md").read_text()
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert "up" in names
    assert [name for name in names if f"lima2-stack {name}" not in page] == []


SHAPES = {
    "image": "(height, width)",
    "scalar": "scalar",
    "hit_rate": "scalar",
    "preview_index": "(1,)",
    "flat": "(1,)",
    "flat_frame": "(1,)",
}


@pytest.mark.parametrize("model", [LegacyParameters, SmxParameters])
def test_the_stream_table_is_that_of_the_code(model):
    roi = {"topleft": {"x": 0, "y": 0}, "dimensions": {"x": 10, "y": 20}}
    processing = model.model_validate(
        {"statistics": {"rect_rois": [roi]}, "profiles": {"rois": [roi], "directions": ["vertical"]}}
    )
    page = (DOC / "reference" / "streams.md").read_text()
    frame = FrameInfo(1, 1024, 1024, np.dtype("u2"))
    for stream in pipeline_streams(processing, frame, ["roi1"], ["rows"], nb_bins=800):
        row = re.search(rf"^\| `{stream.name}` \| (?P<dtype>.+?) \| (?P<shape>.+?) \|", page, re.M)
        assert row, f"stream {stream.name} is not in the table"
        assert row["dtype"] == ("the image's" if stream.name == "image" else stream.dtype)
        if stream.kind == "vector":
            assert row["shape"] == ("(nb_bins,)" if stream.shape == (800,) else "(n,)")
        else:
            assert row["shape"] == SHAPES.get(stream.kind, f"(rows, columns), at most {PREVIEW_SIDE}")


def test_every_frame_flag_is_described():
    page = (DOC / "reference" / "streams.md").read_text()
    for flag in FrameFlags:
        assert f"| {flag.value} | {flag.name} |" in page
