"""Flint on a virtual display shows the live image and a ROI curve of a scan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lima2_bliss.stack import Stack
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame, read_stamp

pytestmark = [pytest.mark.stack, pytest.mark.flint]

FRAMES = 100
DETECTORS = ["sim1", "simulator", "sim3"]

ATTACH = """
import json
import gevent
import numpy as np
from bliss.common.plot import get_flint
from PIL import ImageGrab
import os

with gevent.Timeout(60):
    while (flint := get_flint(creation_allowed=False, mandatory=False)) is None:
        gevent.sleep(0.2)
    flint.wait_started()

def screen():
    return ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB")

def grab_when(condition, name):
    # as soon as the pixels are what is waited for; the last picture anyway
    with gevent.Timeout(10, False):
        while not condition(np.asarray(picture := screen()).astype(int)):
            gevent.sleep(0.1)
    picture.save(data_path + "/" + name)

def until(condition, seconds=20):
    with gevent.Timeout(seconds):
        while not condition():
            gevent.sleep(0.1)

def prepared(name, size_x, size_y):
    detector = config.get(name)
    detector.reset_settings()
    detector.roi_counters.clear()
    detector.roi_profiles.clear()
    detector.detector.update({
        "size.x": size_x, "size.y": size_y, "generator.type": "diffraction", "generator.diffraction.hit_rate": 1.0,
        "nb_prefetch_frames": 8, "stamp_frame_number": True,
    })
    detector.roi_counters.set("beam", (0, 0, 60, 50))
    return detector

def cleaned(detector):
    detector.reset_settings()
    detector.roi_counters.clear()

def shown(name):
    try:
        return flint.get_live_scan_data(name)
    except Exception as error:  # Flint has not heard of the scan yet
        if "not part of this scan" in str(error) or "No scan available" in str(error):
            return None
        raise
"""

LIVE = f"""
detector = prepared("simulator", 512, 384)
scan = loopscan({FRAMES}, 0.08, detector, run=False)
running = gevent.spawn(scan.run)
until(lambda: shown("simulator:image") is not None)
image_plot = flint.get_live_plot(image_detector="simulator")
image_plot.focus()
live = []
def look():
    image = shown("simulator:image")
    if image is not None and not (live and np.array_equal(live[-1], image)):
        live.append(np.array(image))
    return len(live) >= 8
until(look)
grab_when(lambda pixels: np.mean((pixels[..., 2] > 70) & (pixels[..., 1] < 50)) > 0.05, "image.png")
curve_plot = flint.get_live_plot("default-curve")
flint.set_displayed_channels(curve_plot.plot_id, ["simulator:beam_sum"])
curve_plot.focus()
until(lambda: len(shown("simulator:beam_sum")) > {FRAMES} // 2)
points_live = np.array(shown("simulator:beam_sum"))
grab_when(lambda pixels: np.mean((pixels[..., 2] > 70) & (pixels[..., 1] < 50)) < 0.005, "curve.png")
still_running = not running.ready()
running.get()
flint.wait_end_of_scans()
np.savez(
    data_path + "/shown.npz", live=live, points_live=points_live, still_running=still_running,
    last=shown("simulator:image"), points=shown("simulator:beam_sum"),
)
print(json.dumps(detector.last_acquisition.acquisition_parameters))
cleaned(detector)
"""

LAST = f"""
for name in {DETECTORS}:
    detector = prepared(name, 320, 256)
    scan = loopscan(20, 0.01, detector)
    until(lambda: shown(name + ":image") is not None)  # Flint hears of a scan a little later
    flint.wait_end_of_scans()
    np.save(data_path + "/" + name + ".npy", shown(name + ":image"))
    print(json.dumps(detector.last_acquisition.acquisition_parameters))
    cleaned(detector)
"""


HITS = """
detector = prepared("simulator", 256, 256)
poni = data_path + "/geometry.poni"
with open(poni, "w") as file:
    file.write("poni_version: 1\\nPixelSize1: 7.5e-5\\nPixelSize2: 7.5e-5\\n")
    file.write("Distance: 0.1\\nPoni1: 0.0096\\nPoni2: 0.0096\\nRot1: 0\\nRot2: 0\\nRot3: 0\\n")
detector.detector["generator.diffraction.hit_rate"] = 0.5
detector.processing.pipeline = "smx"
detector.smx.update({"poni": poni, "bins": 100, "backend": "cpu", "accumulated_every": 5})
scan = detector.take(40, 0.02)
until(lambda: shown("simulator:acc_peaks") is not None)
flint.wait_end_of_scans()
names = ("hit_rate", "nb_peaks", "background_avg", "acc_peaks", "image", "beam_sum")
np.savez(data_path + "/shown.npz", **{name: shown("simulator:" + name) for name in names})
curve_plot = flint.get_live_plot("default-curve")
curve_plot.focus()
BLUE = lambda pixels: (pixels[..., 2] > pixels[..., :2].max(axis=-1) + 60)
CURVE = lambda pixels: 300 < np.count_nonzero(BLUE(pixels)[250:750, 600:1050]) < 20_000
grab_when(CURVE, "hits.png")
flint.get_live_plot(image_detector="simulator:acc_peaks").focus()
VIOLET = lambda pixels: np.mean((pixels[..., 2] > 70) & (pixels[..., 1] < 50))
grab_when(lambda pixels: VIOLET(pixels) > 0.05, "peaks.png")
flint.get_live_plot(kind="onedim").focus()
grab_when(lambda pixels: VIOLET(pixels) < 0.005 and CURVE(pixels), "background.png")
print(json.dumps({
    "peaks": int(scan.streams["simulator:nb_peaks"][:].sum()),
    "unseen": [name for name in ("spots_x", "sparse_index", "background_std", "acc_corrected", "preview")
               if shown("simulator:" + name) is not None],
}))
cleaned(detector)
"""

JUNGFRAU = """
detector = config.get("jf4m")
detector.reset_settings()
detector.detector.update({
    "geometry.module_rows": 4, "geometry.module_columns": 2, "interfaces": 2, "beam.images": 1, "beam.hit_rate": 1.0,
    "beam.background": 20.0,
})
state = detector.command("simulated_calibration", {
    "path": data_path + "/exact.h5", "det": detector.settings_now().detector,
})
def calibrated():
    global state
    state = detector.command("calibrate_state")
    return state["state"] == "done"
until(calibrated, 60)
detector.calibration.file = state["path"]
scan = detector.take(6, 1e-3, latency_time=0.2)
until(lambda: shown("jf4m:image") is not None)
flint.wait_end_of_scans()
np.savez(data_path + "/shown.npz", image=shown("jf4m:image"), last=detector.get_image(5))
flint.get_live_plot(image_detector="jf4m").focus()
grab_when(lambda pixels: np.mean((pixels[..., 2] > 70) & (pixels[..., 1] < 50)) > 0.05, "jungfrau.png")
detector.reset_settings()
"""


@pytest.fixture(scope="module")
def scanned(
    flint: dict[str, str],
    bliss_in: Callable[[Path], Callable[..., str]],
    artifacts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """A scan of two receivers while Flint shows it: what Flint had, screenshots, and the detector's parameters."""
    place = tmp_path_factory.mktemp("flint")
    printed = bliss_in(place)(ATTACH + LIVE, env=flint)
    for name in ("image", "curve"):
        (artifacts / f"flint_{name}.png").write_bytes((place / f"{name}.png").read_bytes())
    with np.load(place / "shown.npz") as shown:
        arrays = dict(shown)
    return {
        **arrays,
        "parameters": SimulatorParameters.model_validate_json(printed.splitlines()[-1]),
        "image": np.asarray(Image.open(place / "image.png").convert("RGB")),
        "curve": np.asarray(Image.open(place / "curve.png").convert("RGB")),
    }


def test_live_images_are_frames_of_the_detector_in_order(scanned: dict[str, Any]) -> None:
    assert scanned["still_running"]
    numbers = [read_stamp(image) for image in scanned["live"]]
    assert len(numbers) >= 8
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < FRAMES - 1
    for number, image in zip(numbers, scanned["live"], strict=True):
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image, expected_frame(scanned["parameters"], number)[0])


def test_the_roi_curve_grows_with_the_scan(scanned: dict[str, Any]) -> None:
    sums = [expected_frame(scanned["parameters"], slot)[0, :50, :60].sum() for slot in range(FRAMES)]
    live = scanned["points_live"]
    assert FRAMES // 2 < len(live) < FRAMES
    np.testing.assert_array_equal(live, sums[: len(live)])
    np.testing.assert_array_equal(scanned["points"], sums)


def test_the_last_image_stays_when_the_scan_has_ended(scanned: dict[str, Any]) -> None:
    np.testing.assert_array_equal(scanned["last"], expected_frame(scanned["parameters"], FRAMES - 1)[0])


@dataclass(frozen=True)
class Box:
    """Part of the screen, pixels: rows ``top`` to ``bottom``, columns ``left`` to ``right`` (not included)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, screen: np.ndarray) -> np.ndarray:
        """That part of the screen."""
        return screen[self.top : self.bottom, self.left : self.right]


def image_area(screen: np.ndarray) -> Box:
    """Where the image is: dark violet, the low end of Flint's colours, nearly everywhere."""
    violet = (screen[..., 2] > 70) & (screen[..., 1] < 60) & (screen[..., 0] < 110)
    rows, columns = (np.flatnonzero(violet.sum(axis) > 100) for axis in (1, 0))
    assert rows.size, "no image on the screen"
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def test_the_screen_shows_the_image_with_its_spots(scanned: dict[str, Any]) -> None:
    area = image_area(scanned["image"])
    height, width = area.shape
    assert width > 300
    assert width / height == pytest.approx(512 / 384, rel=0.02)
    pixels = area.cut(scanned["image"])
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    # the brightest point of the picture is a bright spot of one of the frames
    row, column = np.unravel_index(pixels.sum(2, dtype=int).argmax(), area.shape)
    y, x = int((row + 0.5) * 384 / height), int((column + 0.5) * 512 / width)
    frames = [expected_frame(scanned["parameters"], slot)[0, 1:] for slot in range(8)]
    near = [frame[max(y - 4, 0) : y + 3, max(x - 3, 0) : x + 4].max() / frame.max() for frame in frames]
    assert max(near) > 0.5


def test_the_screen_shows_the_roi_curve(scanned: dict[str, Any]) -> None:
    area = image_area(scanned["image"])  # the curve takes the same place
    place = Box(area.top - 60, area.bottom + 60, area.left - 20, area.right + 20)
    red, green, blue = np.moveaxis(place.cut(scanned["curve"]).astype(int), 2, 0)
    line = (blue > red + 60) & (blue > green + 60)
    rows, columns = np.flatnonzero(line.any(1)), np.flatnonzero(line.any(0))
    assert np.ptp(columns) > 0.7 * area.shape[1]
    assert len(columns) > 0.95 * np.ptp(columns), "the line has gaps"
    assert np.ptp(rows) > 0.7 * area.shape[0]
    assert line.mean() < 0.2


def test_flint_ends_with_the_last_frame_of_each_detector(
    flint: dict[str, str], run_bliss: Callable[..., str], tmp_path: Path
) -> None:
    printed = run_bliss(ATTACH + LAST, env=flint)
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    for name, parameters in zip(DETECTORS, told, strict=True):
        expected = expected_frame(SimulatorParameters.model_validate(parameters), 19)[0]
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), expected)


def test_hits_are_curves_and_spots_an_image(
    flint: dict[str, str], bliss_in: Callable[[Path], Callable[..., str]], artifacts: Path, tmp_path: Path
) -> None:
    printed = bliss_in(tmp_path)(ATTACH + HITS, env=flint)
    for name in ("hits", "peaks", "background"):
        (artifacts / f"flint_{name}.png").write_bytes((tmp_path / f"{name}.png").read_bytes())
    said = json.loads(printed.splitlines()[-1])
    with np.load(tmp_path / "shown.npz") as shown:
        assert shown["hit_rate"].shape == shown["nb_peaks"].shape == shown["beam_sum"].shape == (40,)
        assert shown["nb_peaks"].sum() == said["peaks"]
        assert shown["background_avg"].shape == (100,)
        assert shown["image"].shape == (256, 256)
        assert shown["acc_peaks"].sum() == said["peaks"]
    # spots, pixels and previews do not reach it
    assert said["unseen"] == []


@pytest.fixture
def jf4m(stack: Stack) -> Iterator[None]:
    """The simulated Jungfrau-4M over two receivers runs."""
    stack.up(detectors=["jf4m"])
    yield
    stack.down(["jf4m"])


def test_a_jungfrau_is_shown_as_one_image_with_gaps(
    flint: dict[str, str],
    jf4m: None,
    bliss_in: Callable[[Path], Callable[..., str]],
    artifacts: Path,
    tmp_path: Path,
) -> None:
    bliss_in(tmp_path)(ATTACH + JUNGFRAU, env=flint)
    (artifacts / "flint_jungfrau.png").write_bytes((tmp_path / "jungfrau.png").read_bytes())
    with np.load(tmp_path / "shown.npz") as shown:
        assert shown["image"].shape == (2164, 2068)
        np.testing.assert_array_equal(shown["image"], shown["last"])
        assert np.isnan(shown["image"][:, 1030:1038]).all()
    screen = np.asarray(Image.open(tmp_path / "jungfrau.png").convert("RGB"))
    area = image_area(screen)
    assert area.shape[1] / area.shape[0] == pytest.approx(2068 / 2164, rel=0.02)
    white = (area.cut(screen) > 250).all(axis=2)
    across, down = white.mean(axis=1), white.mean(axis=0)
    assert (across[[round(area.shape[0] * (532 + 550 * gap) / 2164) for gap in range(3)]] > 0.95).all()
    assert down[round(area.shape[1] * 1034 / 2068)] > 0.95
    assert np.median(across) < 0.05
