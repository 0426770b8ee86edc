"""Flint on a virtual display shows a live view that makes way for scans, and the plots that its user asks for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lima2_bliss.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.flint]

SESSION = """
import json, os
import gevent
import numpy as np
import tango
from bliss.common.plot import get_flint
from PIL import ImageGrab

def until(condition, seconds=20):
    with gevent.Timeout(seconds):
        while not condition():
            gevent.sleep(0.1)

until(lambda: get_flint(creation_allowed=False, mandatory=False) is not None, 60)
flint = get_flint(creation_allowed=False)
flint.wait_started()

def screen():
    return ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB")

def pixels(picture):
    return np.asarray(picture).astype(int)

def image_share():
    "Share of the screen in dark violet: the low end of Flint's colours for images."
    now = pixels(screen())
    return float(np.mean((now[..., 2] > 70) & (now[..., 1] < 60) & (now[..., 0] < 110)))

def line_pixels():
    "Pixels in the blue of Flint's first curve, where plots are."
    now = pixels(screen())[250:750, 600:1050]
    return int(np.count_nonzero(now[..., 2] > now[..., :2].max(axis=-1) + 60))

def looks_like_an_image():
    return image_share() > 0.05

def kept(name):
    screen().save(data_path + "/" + name)

def moves(seconds=10, act=lambda: None):
    "True when the picture changes within that time after `act()`."
    before = pixels(screen())
    act()
    try:
        until(lambda: np.abs(pixels(screen()) - before).max() > 60, seconds)
    except gevent.Timeout:
        return False
    return True

def quiet():
    "Wait for half a second in which nothing changes on the screen."
    until(lambda: not moves(0.5), 20)

said = {}
det = config.get("simulator")
det.reset_settings(); det.roi_counters.clear(); det.roi_profiles.clear()
det.detector.update({"size.x": 256, "size.y": 256, "generator.type": "diffraction", "nb_prefetch_frames": 8,
                     "generator.diffraction.hit_rate": 1.0})
"""

LIVE = """
# in the image plot, until it is stopped
det.live.start(0.05)
until(looks_like_an_image)
said["moving"] = moves()
kept("live.png")

# a scan takes the plot over, at its own pace, and the live view comes back
det.live.resume = True
scan = det.take(100, 0.01)
status = det.last_outcome.status
said["scan"] = [status.received, status.lost, len(scan.streams["simulator:image"])]
until(lambda: det.live.running and det.live.images > 5)
flint.wait_end_of_scans()
said["shown"] = flint.get_live_scan_data("simulator:image").shape
until(looks_like_an_image)
said["moving_again"] = moves()
kept("live_again.png")

det.live.stop()
quiet()
kept("live_stopped.png")
said["image_stays"] = looks_like_an_image()
"""

VIEWS = """
# before there was a scan of that kind
with open(data_path + "/geometry.poni", "w") as file:
    file.write(det.command("poni", det.settings_now().detector))
det.processing.pipeline = "smx"
det.smx.update({"poni": data_path + "/geometry.poni", "bins": 100, "backend": "cpu", "accumulated_every": 5})
det.roi_counters.set("beam", (0, 0, 60, 50)); det.roi_counters.set("side", (90, 90, 60, 50))
det.view("background")
def curve():
    return sorted(flint.get_live_plot("default-curve").displayed_channels)
def looks_like_a_curve():
    return 300 < line_pixels() < 20_000 and image_share() < 0.005

# during it
scan = det.take(300, 0.02, run=False)
task = gevent.spawn(scan.run)
until(lambda: looks_like_a_curve() or task.ready())
said["pending"] = [looks_like_a_curve(), not task.ready()]
kept("view_background.png")
moves(3, lambda: det.view("hits"))
said["hits"] = curve()
kept("view_hits.png")
det.view("peaks")
until(lambda: image_share() > 0.05)
said["during"] = not task.ready()
kept("view_peaks.png")
task.get()
flint.wait_end_of_scans()

# after it
det.view("rois")
said["rois"] = curve()
until(looks_like_a_curve)
quiet()
kept("view_rois.png")
det.view("background")
until(looks_like_a_curve)
det.view("hits")
said["hits_after_rois"] = curve()
det.view()
until(looks_like_an_image)
kept("view_image.png")
det.reset_settings(); det.roi_counters.clear()
print(json.dumps(said))
"""


def started(env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A Flint that is ready. On a busy machine it may look for its own address before it has noted it, and give up."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "bliss.flint", "-s", "tests"], env=env, stdout=out, stderr=out
            )
        while process.poll() is None and "Error catched" not in log.read_text() and time.monotonic() < deadline:
            if "Flint started" in log.read_text():
                return process
            time.sleep(0.1)
        process.kill()
        process.wait(10)
    pytest.fail(f"Flint did not start; see {log}")


@pytest.fixture(scope="module")
def flint(stack: Stack, display: str, artifacts: Path) -> Iterator[dict[str, str]]:
    """Flint of session `tests`; the variables that a BLISS process needs to use it."""
    env = {"DISPLAY": display}
    process = started({**stack.environment(), **env}, artifacts / "flint_live.log")
    yield env
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def said(
    flint: dict[str, str],
    bliss_in: Callable[[Path], Callable[..., str]],
    artifacts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """A session with a live view, then with views of a scan: what it found. Screenshots are artefacts."""
    place = tmp_path_factory.mktemp("flint_live")
    try:
        printed = bliss_in(place)(SESSION + LIVE + VIEWS, env=flint, timeout_s=120)
    finally:
        for picture in place.glob("*.png"):
            (artifacts / f"flint_{picture.name}").write_bytes(picture.read_bytes())
    return json.loads(printed.splitlines()[-1])


def test_the_live_view_moves_in_the_image_plot_until_it_is_stopped(said: dict[str, Any]) -> None:
    assert said["moving"]
    assert said["image_stays"]


def test_a_scan_is_shown_and_complete_and_the_live_view_comes_back(said: dict[str, Any]) -> None:
    assert said["scan"] == [100, 0, 100]
    assert said["shown"] == [256, 256]
    assert said["moving_again"]


def test_a_view_asked_for_before_its_scan_comes_with_it(said: dict[str, Any]) -> None:
    assert said["pending"] == [True, True]


def test_views_are_brought_forward_during_and_after_a_scan(said: dict[str, Any]) -> None:
    assert said["hits"] == ["simulator:hit_rate", "simulator:nb_peaks"]
    assert said["during"]
    assert said["rois"] == ["simulator:beam_sum", "simulator:side_sum"]
    assert said["hits_after_rois"] == ["simulator:hit_rate"]  # alone: the axis of the spots is gone
