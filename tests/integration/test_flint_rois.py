"""ROIs drawn and edited in Flint with the mouse, as a user does it, change the counters of the next scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from flint_user import HEIGHT, WIDTH, User

pytestmark = [pytest.mark.stack, pytest.mark.flint]

assert hdf5plugin.FILTERS  # imported for its filters

#: What is typed; after each step it waits for the file ``after_STEP``.
SESSION = f"""
import json, os
import gevent
from bliss.common.plot import get_flint

with gevent.Timeout(60):
    while (flint := get_flint(creation_allowed=False, mandatory=False)) is None:
        gevent.sleep(0.2)
    flint.wait_started()
det = simulator
det.reset_settings(); det.roi_counters.clear(); det.roi_profiles.clear()
det.detector.update({{"size.x": {WIDTH}, "size.y": {HEIGHT}, "generator.type": "diffraction",
                     "generator.diffraction.hit_rate": 1.0, "nb_prefetch_frames": 4}})

def say(step, **values):
    with open(data_path + "/" + step, "w") as file:
        json.dump(values, file)
    os.rename(data_path + "/" + step, data_path + "/" + step + ".json")

def given_up():
    while not os.path.exists(data_path + "/given_up"):
        gevent.sleep(0.2)
    os._exit(1)

gevent.spawn(given_up)

def wait_after(step):
    while not os.path.exists(data_path + "/after_" + step):
        gevent.sleep(0.05)

def regions():
    return {{name: [roi.kind, *roi.numbers()] for table in (det.roi_counters, det.roi_profiles)
            for name, roi in table.items()}}

def scanned(step):
    scan = loopscan(3, 0.01, det)
    flint.wait_end_of_scans()
    flint.get_live_plot(image_detector="simulator").focus()
    values = {{name.split(":")[-1]: stream[:].tolist() for name, stream in scan.streams.items()
              if name.split(":")[-1].removesuffix("_sum") in regions()}}
    say(step, regions=regions(), values=values, master=str(det.last_outcome.files["frame"]))
    wait_after(step)

det.edit_rois()
scanned("drawn")
det.edit_rois()
scanned("edited")
det.image.update({{"binning": 2, "flip": "left_right"}})
scanned("followed")
det.edit_rois()
say("cancelled", regions=regions())

def edit():
    try:
        det.roi_counters.edit()
    except KeyboardInterrupt:
        return "KeyboardInterrupt"

task = gevent.spawn(edit)
wait_after("cancelled")
task.kill(KeyboardInterrupt, block=False)
say("interrupted", error=task.get(), regions=regions())
det.reset_settings(); det.roi_counters.clear(); det.roi_profiles.clear()
"""


def check_counters(told: dict[str, Any]) -> None:
    """Each counter is what the saved images have in its region."""
    with h5py.File(told["master"]) as file:
        images = file["entry_0000/measurement/data"][:].astype(float)
    for name, (kind, *numbers) in told["regions"].items():
        if kind == "arc":
            cx, cy, r1, r2, a1, a2 = numbers
            y, x = np.mgrid[: images.shape[1], : images.shape[2]]
            radius, angle = np.hypot(x - cx, y - cy), np.degrees(np.arctan2(y - cy, x - cx)) % 360
            ring = images[:, (radius >= r1) & (radius < r2) & ((angle - a1) % 360 < a2 - a1)]
            np.testing.assert_array_equal(told["values"][f"{name}_sum"], ring.sum(1))
            continue
        left, top, width, height = numbers
        inside = images[:, top : top + height, left : left + width]
        if kind == "profile":
            np.testing.assert_array_equal(told["values"][name], inside.sum(2))
        else:
            np.testing.assert_array_equal(told["values"][f"{name}_sum"], inside.sum((1, 2)))


def test_regions_drawn_and_edited_with_the_mouse_change_the_counters(
    flint: dict[str, str], run_bliss: Callable[..., str], artifacts: Path, tmp_path: Path
) -> None:
    user = User(flint["DISPLAY"], artifacts)

    def told(step: str) -> dict[str, Any]:
        file = tmp_path / f"{step}.json"
        user.until(lambda: file.exists() or session.done(), f"step {step!r}", 60)
        if session.done():
            session.result()
        return json.loads(file.read_text())

    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(run_bliss, SESSION, env=flint, timeout_s=170)
        try:
            user.until(lambda: session.done() or user.tools(), "tools to draw with", 120)
            if session.done():
                session.result()
            _follow(user, told, lambda step: (tmp_path / f"after_{step}").touch())
            printed = session.result(60)
        finally:
            (tmp_path / "given_up").touch()
    assert "an empty one is shown" in printed
    assert "cancelled, nothing is changed" in printed


def _follow(user: User, told: Callable[[str], dict[str, Any]], go_on: Callable[[str], None]) -> None:
    # no image was taken yet: an empty one is there to draw on
    user.begins(0)
    user.draw((100, 60), (160, 100))
    user.draw((60, 200), (120, 200), tool=1)
    user.draw((220, 100), (280, 130), tool=2)
    user.keep("drawing")
    user.apply()
    drawn = told("drawn")
    assert near(drawn["regions"]["roi1"], ["rect", 100, 60, 60, 40])
    assert drawn["regions"]["roi2"][0] == "arc"
    assert near(drawn["regions"]["roi3"], ["profile", 220, 100, 60, 30])
    check_counters(drawn)
    user.until(lambda: user.outline(*drawn["regions"]["roi1"][1:]) > 0.8, "the ROI on the live image")
    go_on("drawn")
    # the lower right corner of the first one is moved, it gets another name, the arc goes
    user.begins(3)
    user.keep("before_editing")
    corner = np.add(drawn["regions"]["roi1"][1:3], drawn["regions"]["roi1"][3:])
    user.click(*user.tools()[0])  # put down the tool that draws rectangles
    user.drag(tuple(corner), (200, 140))
    user.rename(0, "spot")
    user.click(*user.rows()[1])
    user.begins(2)
    user.keep("editing")
    user.apply()
    edited = told("edited")
    assert set(edited["regions"]) == {"spot", "roi3"}
    assert near(edited["regions"]["spot"], ["rect", 100, 60, 100, 80])
    assert edited["regions"]["roi3"] == drawn["regions"]["roi3"]
    check_counters(edited)
    assert edited["values"]["spot_sum"] != drawn["values"]["roi1_sum"]
    go_on("edited")
    # other images: Flint shows where the ROI is on them
    followed = told("followed")
    assert near(followed["regions"]["spot"], ["rect", WIDTH // 2 - 100, 30, 50, 40])
    check_counters(followed)
    spot = followed["regions"]["spot"][1:]
    user.until(lambda: user.outline(*spot, image=(WIDTH // 2, HEIGHT // 2)) > 0.8, "the ROI on the binned image")
    user.keep("followed")
    go_on("followed")
    # what is drawn is forgotten when Flint's cancel button is pressed, or Ctrl-C
    user.begins(2)
    user.draw((20, 20), (60, 60))
    user.cancel()
    assert told("cancelled")["regions"] == followed["regions"]
    user.begins(1)
    user.draw((20, 20), (60, 60))
    go_on("cancelled")
    interrupted = told("interrupted")
    assert interrupted == {"error": "KeyboardInterrupt", "regions": followed["regions"]}
    user.until(lambda: not user.tools(), "that drawing has ended")


def near(region: list[Any], expected: list[Any]) -> bool:
    """True when the numbers are those of the mouse, whose steps are of about one image pixel."""
    return region[0] == expected[0] and bool(np.allclose(region[1:], expected[1:], atol=3))
