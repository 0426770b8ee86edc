"""blissdata 2, in its own environment, finds the plugin; only streams of our detectors are read with it."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLISSDATA2 = ROOT / ".venv-blissdata2/bin/python"

LOOK = """
import json
from types import SimpleNamespace
import numpy as np
from blissdata.redis_engine import scan
from blissdata.streams.lima import LimaStream

LIMA = {"protocol_version": 1, "server_url": "a/b/c", "buffer_max_number": 8, "frame_per_acquisition": 4,
        "acquisition_offset": 0}
OURS = {"uuid": "x", "source": "frame", "endpoints": ["tcp://127.0.0.1:1"], "receivers": ["a/b/d"], "block": 1,
        "saved": None}

def made(**info):
    info = {"format": "lima_v1", "dtype": "uint16", "shape": [4, 5], "lima_info": LIMA} | info
    event_stream = SimpleNamespace(info=info, encoding={"type": "json"}, _data_store=None, name="d:image", _name="")
    loader = SimpleNamespace(info={})
    stream = scan.Scan._wrap_event_stream(loader, event_stream)
    return type(stream).__name__, isinstance(stream, LimaStream), getattr(stream, "plugin", "")

entry = scan.discovered_plugins["lima2_bliss"]
before = made(lima2_frames=OURS)
named = made(lima2_frames=OURS, plugin="lima2_bliss")
entry.load().enable()
print(json.dumps({
    "entry": entry.value, "before": before, "named": named, "after": made(lima2_frames=OURS), "other": made(),
    "later": made(lima2_frames={"version": 9}),
    "own": scan.discovered_plugins["lima"].value,
}))
"""


@pytest.fixture
def looked(tmp_path):
    """What blissdata 2 makes of streams when the package is installed, as pip would leave it."""
    if not BLISSDATA2.is_file():
        pytest.fail(f"{BLISSDATA2.parents[1]} is missing; run: make setup-consumer", pytrace=False)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"lima2_bliss-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lima2-bliss\nVersion: {project['version']}\n")
    entries = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["blissdata"].items())
    (info / "entry_points.txt").write_text(f"[blissdata]\n{entries}\n")
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([BLISSDATA2, "-c", LOOK], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_plugin_is_found_and_used_only_when_asked_for(looked):
    ours, plain = ["FrameStream", True, "lima"], ["LimaStream", True, "lima"]
    assert looked["entry"] == "lima2_bliss.publishing.blissdata2"
    assert looked["own"] == "blissdata.streams.lima"
    assert looked["before"] == plain
    assert looked["named"] == looked["after"] == ours
    assert looked["other"] == looked["later"] == plain
