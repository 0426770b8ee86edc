"""What the documentation shows as code runs, and what it shows as configuration is accepted."""

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid1

import pytest
import tango
from ruamel.yaml import YAML

from lima2_bliss.stack.detector_yaml import bliss_object, tango_servers

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "doc"

_BLOCK = re.compile(
    r"<!-- (?P<kind>run|file|check): (?P<what>[^>]+?) -->\n```(?P<language>\w+)\n(?P<code>.*?)\n```", re.S
)


@dataclass(frozen=True)
class Block:
    """A code block with a mark before it, e.g. ``<!-- run: bliss -->``: ``kind`` run, ``what`` bliss."""

    page: str
    kind: str
    what: str
    code: str


def blocks(kind: str, what: str | None = None, page: str | None = None) -> list[Block]:
    """Marked blocks of all pages, in reading order."""
    return [
        Block(path.relative_to(DOC).as_posix(), found["kind"], found["what"], found["code"])
        for path in sorted(DOC.rglob("*.md"))
        if page is None or path == DOC / page
        for found in _BLOCK.finditer(path.read_text())
        if found["kind"] == kind and (what is None or found["what"] == what)
    ]


def script(page: str, what: str) -> str:
    """All blocks of a page that are run as ``what``, one after another."""
    return "\n\n".join(block.code for block in blocks("run", what, page))


TIDY = """
simulator.roi_counters.clear()
simulator.roi_profiles.clear()
simulator.reset_settings()
"""


@pytest.mark.parametrize("block", blocks("run", "python"), ids=lambda block: block.page)
def test_python_runs(block, tmp_path):
    done = subprocess.run([sys.executable, "-c", block.code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_runnable_block_is_of_a_kind_that_is_run():
    kinds = {"begin", "live", "live hits", "after", "hits", "blissdata2"}
    # "analyst" is run where scans are saved: tests/controller/test_saving_policies.py
    known = {"analyst", "bliss", "python", *(f"consumer {kind}" for kind in kinds)}
    assert {block.what for block in blocks("run")} <= known


@pytest.mark.stack
def test_the_tutorial_works_from_beginning_to_end(run_bliss):
    code = script("tutorial/first_scan.md", "bliss")
    assert "loopscan" in code
    printed = run_bliss(f"{TIDY}\ntry:\n{_indented(code)}\nfinally:\n{_indented(TIDY)}")
    assert "(20,) (20, 100) (1024, 1024)" in printed
    assert "(20, 1024, 1024) uint16" in printed


def _indented(code):
    return "\n".join(f"    {line}" for line in code.splitlines())


@pytest.mark.stack
def test_the_tutorial_on_hits_works_from_beginning_to_end(run_bliss):
    code = script("tutorial/hit_finding.md", "bliss")
    printed = run_bliss(f"{TIDY}\ntry:\n{_indented(code)}\nfinally:\n{_indented(TIDY)}")
    hits, images = map(int, re.search(r"(\d+) hits of (\d+) images", printed).groups())
    assert images == 200
    assert 0.25 < hits / images < 0.75  # the simulator's hit_rate is 0.5
    assert f"hits: ({hits}, 1024, 1024)" in printed


@pytest.fixture
def jungfrau(stack):
    """The stack with the Jungfrau of one module."""
    stack.up(detectors=["jungfrau"])
    yield
    stack.down(["jungfrau"])


@pytest.mark.stack
def test_the_page_on_the_jungfrau_works_from_beginning_to_end(jungfrau, run_bliss):
    code = script("how-to/use_a_jungfrau.md", "bliss")
    printed = run_bliss(f"try:\n{_indented(code)}\nfinally:\n    jungfrau.reset_settings()\n")
    assert "float32\n" in printed
    assert "module 0: 0 of 524288 pixels are bad" in printed
    assert "\nTrue\n" in printed
    assert "raw_frame_master.h5\n" in printed


@pytest.fixture
def scanned(stack, run_bliss):
    """Starts a scan of `simulator` with the ROI `beam`, saved."""

    def scan():
        take = 'simulator.roi_counters["beam"] = (462, 462, 100, 100)\nloopscan(20, 0.02, simulator)'
        return run_bliss(f"{TIDY}\ntry:\n{_indented(take)}\nfinally:\n{_indented(TIDY)}")

    return scan


def _consumer(stack, tmp_path, code, python=sys.executable):
    script = tmp_path / "consumer.py"
    script.write_text(code)
    env = {**stack.environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [str(python), "-W", "ignore", str(script)],
        env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _follows(stack, tmp_path, what, scan):
    """What the live consumer prints while ``scan`` is run."""
    page = "how-to/follow_a_scan.md"
    with _consumer(stack, tmp_path, f"{script(page, 'consumer begin')}\n{script(page, what)}") as consumer:
        guard = threading.Timer(90, consumer.kill)
        guard.start()
        try:
            assert consumer.stdout.readline() == "waiting for a scan\n"
            scan()
            return consumer.stdout.read()
        finally:
            guard.cancel()
            guard.join()
            consumer.kill()


@pytest.mark.stack
def test_the_live_consumer_follows_a_scan_to_its_end(stack, tmp_path, scanned):
    said = _follows(stack, tmp_path, "consumer live", scanned)
    assert "images from 0" in said
    assert said.endswith("the scan has ended\n"), said


@pytest.fixture
def hits_found(run_bliss, tmp_path):
    """Starts a scan of `simulator` that finds hits, saved; gives their number."""
    geometry = blocks("run", "bliss", "tutorial/hit_finding.md")[0].code
    take = 'simulator.processing.pipeline = "smx"\nsimulator.smx.poni = str(poni)\nsimulator.take(60, 0.01)'
    count = 'print("hits:", simulator.last_outcome.hits.hits)'

    def scan():
        code = f"{TIDY}\ntry:\n{_indented(geometry)}\n{_indented(take)}\n{_indented(count)}"
        env = {"LIMA2_DATA": str(tmp_path)}  # where the tutorial saves: BLISS numbers scans by directory
        printed = run_bliss(f"{code}\nfinally:\n{_indented(TIDY)}", env=env)
        return int(re.search(r"hits: (\d+)", printed)[1])

    return scan


@pytest.mark.stack
def test_hits_are_followed_live_and_read_with_their_images(stack, tmp_path, hits_found):
    found = []
    said = _follows(stack, tmp_path, "consumer live hits", lambda: found.append(hits_found()))
    assert said.endswith("the scan has ended\n"), said
    assert sum(map(int, re.findall(r"(\d+) hits of", said))) == found[0] > 5
    with _consumer(stack, tmp_path, script("how-to/follow_a_scan.md", "consumer hits")) as consumer:
        said, _ = consumer.communicate(timeout=60)
    assert consumer.returncode == 0, said
    assert len(re.findall(r"(?m)^\d+ \d+$", said)) == 5, said


@pytest.mark.stack
def test_slices_come_with_the_plugin_in_blissdata_2(stack, tmp_path, scanned):
    scanned()
    code = script("how-to/follow_a_scan.md", "consumer blissdata2")
    with _consumer(stack, tmp_path, code, ROOT / ".venv-blissdata2/bin/python") as consumer:
        said, _ = consumer.communicate(timeout=60)
    assert consumer.returncode == 0, said
    assert said.startswith("(10, 1024, 1024)\n"), said


@pytest.mark.stack
def test_consumers_read_a_scan_that_has_ended(stack, tmp_path, scanned):
    scanned()
    for block in blocks("run", "consumer after"):
        with _consumer(stack, tmp_path, block.code) as consumer:
            said, _ = consumer.communicate(timeout=60)
        assert consumer.returncode == 0, f"{block.code}\n{said}"


def _install(tmp_path, files):
    """What pip would leave of a package: its modules, and its entry points."""
    for block in files:
        (tmp_path / block.what).write_text(block.code + "\n")
    text = (tmp_path / "pyproject.toml").read_text()
    name, version = (re.search(rf'{key} = "(.+)"', text)[1] for key in ("name", "version"))
    info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    group, entry = re.search(r'entry-points\."(.+?)"\]\n(.+)', text).groups()
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    (tmp_path / "pyproject.toml").unlink()  # pytest would take it for its own configuration


@pytest.fixture
def installed(tmp_path):
    """A directory with the package of the page on pipeline nodes, and an environment that sees it."""
    _install(tmp_path, blocks("file", page="how-to/add_a_pipeline_node.md"))
    return tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_the_pipeline_of_the_page_passes_the_contract_tests(installed):
    place, env = installed
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_threshold_pipeline.py"],
        cwd=place, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 8


def test_receivers_find_the_pipeline_of_the_page(installed):
    place, env = installed
    code = "from lima2_receivers.engine.registry import load_pipelines; print(*load_pipelines())"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True)
    found = done.stdout.split()
    assert found == ["LimaProcessingLegacy", "LimaProcessingSmx", "LimaProcessingThreshold"], done.stderr


def yaml_block(what):
    (block,) = blocks("check", what)
    return YAML(typ="safe").load(block.code)


def test_the_yaml_of_the_detector_object_is_accepted():
    from lima2_bliss.controller.configuration import configuration
    from lima2_bliss.controller.settings_models import (
        AcquisitionSettings,
        ImageSettings,
        ProcessingSettings,
        SavingSettings,
        settings_defaults,
    )

    (entry,) = yaml_block("configuration")
    given = configuration(entry)
    models = (AcquisitionSettings, ImageSettings, ProcessingSettings, SavingSettings)
    for model, name in zip(models, ("acquisition", "image", "processing", "saving"), strict=True):
        assert getattr(given.defaults, name)
        settings_defaults(model, getattr(given.defaults, name))
    assert {key: entry[key] for key in bliss_object("mydet", 2)} == bliss_object("mydet", 2)


def test_the_yaml_of_the_servers_is_what_add_detector_writes_and_more():
    by_name = {entry["personal_name"] + entry["server"]: entry for entry in tango_servers("mydet", 2)}
    for entry in yaml_block("servers"):
        (shown,), (written,) = entry["device"], by_name[entry["personal_name"] + entry["server"]]["device"]
        assert shown["tango_name"] == written["tango_name"]
        assert shown["class"] == written["class"]
        assert written["properties"].items() <= shown["properties"].items()


TANGO_OWN = {"State", "Status", "Init"}


@pytest.mark.stack
def test_every_attribute_and_command_of_the_devices_is_described(stack, scanned, tmp_path):
    scanned()
    page = (DOC / "reference" / "tango.md").read_text()
    words = set(re.findall(r"`(\w+)`", page))
    host = stack.environment()["TANGO_HOST"]
    names = ["limacontrol/simulator", "limareceiver/simulator1", "limaimage/simulator", "limapublisher/simulator"]
    control, receiver = (tango.DeviceProxy(f"tango://{host}/id00/{name}") for name in names[:2])
    poni = tmp_path / "simulator.poni"
    poni.write_text(json.loads(control.detectorCommand(["poni", "null"])))
    smx = {"class_name": "LimaProcessingSmx", "fai": {"poni_path": str(poni)}}
    for processing in ({"class_name": "LimaProcessingLegacy"}, smx):
        uuid = str(uuid1())
        receiver.proc_params = json.dumps(processing)  # the defaults save nothing
        receiver.Prepare(uuid)
        names.append(f"limaprocessing/{uuid}@0")
    for name in names:
        device = tango.DeviceProxy(f"tango://{host}/id00/{name}")
        members = {*device.get_attribute_list(), *(command.cmd_name for command in device.command_list_query())}
        assert members - TANGO_OWN - words == set(), f"not described: {name}"
    receiver.Reset()
