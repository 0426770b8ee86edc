"""The online monitor in a real browser, beside scans of a real BLISS: what the page shows is what the streams say."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browsers
import numpy as np
import pytest
from monitors import Bliss, Wire, monitoring, obeying
from PIL import Image

from lima2_bliss.stack import Stack
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = [pytest.mark.stack, pytest.mark.skipif(bool(browsers.missing()), reason=browsers.missing())]

FRAMES = 480
HEIGHT, WIDTH = 960, 1024
ROI = (500, 400, 60, 50)

SETTINGS = f"""
from pathlib import Path
det = config.get("simulator")
det.reset_settings()
det.roi_counters.clear()
det.roi_profiles.clear()
crystal = {{"hit_rate": 0.3, "background_level": 60}}
size = {{"x": {WIDTH}, "y": {HEIGHT}}}
poni = Path(data_path) / "simulator.poni"
poni.write_text(det.command("poni", {{"size": size, "generator": {{"type": "diffraction", "diffraction": crystal}}}}))
det.detector.update({{
    "size.x": size["x"], "size.y": size["y"], "generator.type": "diffraction", "nb_prefetch_frames": 20,
    "generator.diffraction.hit_rate": 0.3, "generator.diffraction.background_level": 60, "on_overrun": "wait",
}})
det.processing.pipeline = "smx"
det.smx.update({{"poni": str(poni), "bins": 300, "min_spots": 10, "accumulated_every": 100}})
det.roi_counters.set("beam", {ROI})
shown = (det, det.counter_groups.status)
"""

#: Goes on until the test has seen enough.
LIVE = """
import gevent
def taking():
    try:
        det.take(5000, 0.03, *shown, save=False)
    except BaseException as error:
        told["ended"] = type(error).__name__
task = gevent.spawn(taking)
while not (Path(data_path) / "seen").exists() and not task.ready():
    gevent.sleep(0.02)
task.kill(KeyboardInterrupt)
scan = SCANS[-1]
told["key"] = scan._scan_data.key
told["hits"] = np.flatnonzero(scan.streams["simulator:is_hit"][:]).tolist()
"""

SERIES = f"""
scan = det.take({FRAMES}, 0.005, *shown)
streams = {{name.split(":", 1)[1]: stream for name, stream in scan.streams.items() if name.startswith("simulator:")}}
wanted = ("nb_peaks", "is_hit", "hit_rate", "spots_frame", "spots_y", "spots_x", "beam_sum", "acc_corrected")
kept = {{name: streams[name][:] for name in wanted}}
np.savez(
    data_path + "/series.npz", **kept, avg=streams["background_avg"][{FRAMES} - 1],
    std=streams["background_std"][{FRAMES} - 1],
)
told["key"] = scan._scan_data.key
told["counts"] = [receiver.counts.model_dump() for receiver in det.last_outcome.status.receivers]
told["parameters"] = det.last_acquisition.acquisition_parameters
"""

RASTER = """
scan = amesh(robx, 0, 4, 4, roby, 0, 3, 3, 0.01, det, save=False)
streams = {name.split(":", 1)[1]: stream for name, stream in scan.streams.items() if name.startswith("simulator:")}
told["hits"] = streams["is_hit"][:].tolist()
told["key"] = scan._scan_data.key
"""

ENDED = f"() => document.querySelector('#state').textContent === 'ended' && document.body.dataset.frames == {FRAMES}"
#: The frame shown, if it is among the last hits.
A_HIT = """() => { const shown = document.body.dataset.shown;
  return [...document.querySelectorAll('#hits tr')].some((row) => row.dataset.index === shown) && Number(shown) }"""
RUNNING = """(more) => document.querySelector('#state').textContent === 'running'
  && document.body.dataset.frames > more"""
LATER = "(before) => document.body.dataset.shown > before && Number(document.body.dataset.shown)"
TAKEN = "() => Number(document.body.dataset.frames)"
INDEX = "() => Number(document.querySelector('#picture').dataset.index)"
#: Brings a chart in sight: only then it is drawn.
SEEN = "(name) => document.querySelector(`#chart-${name}`).scrollIntoView({block: 'center'})"
SHOWN = "() => Number(document.body.dataset.shown)"
PLACES = """() => {
  const box = document.querySelector('#picture').getBoundingClientRect();
  return [box.x, box.y, box.width, box.height] }"""
#: Rows of a table, without its head.
ROWS = (
    "(id) => [...document.querySelectorAll(id + ' tr')].slice(1).map((row) => [...row.cells].map((c) => c.textContent))"
)
#: What a chart has drawn: its traces, as plotly keeps them.
TRACES = """(name) => (document.querySelector(`#chart-${name} .plot`)?.data ?? []).map(
  ({x, y, z}) => ({x: [...(x ?? [])], y: [...(y ?? [])], z: z ? [...z].map((row) => [...row]) : null}))"""
#: Column, row and value that are told of the pixel under the cursor.
UNDER = "() => document.querySelector('#under').textContent.match(/x (\\d+) y (\\d+): ([\\d.]+)/)?.slice(1)"
PIXEL = """([x, y]) => {
  const canvas = document.querySelector('#picture'), ratio = window.devicePixelRatio;
  return [...canvas.getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data] }"""


@dataclass(frozen=True)
class Beamline:
    """What the tests share: a BLISS process, a browser, a monitor at ``address`` whose way to Redis is ``wire``."""

    bliss: Bliss
    browser: browsers.Browser
    address: str
    wire: Wire
    env: dict[str, str]
    artifacts: Path

    def keep(self, page: browsers.Page, name: str, whole: bool = False) -> None:
        """Keep a screenshot as artefact."""
        page.picture(self.artifacts / f"monitor_{name}.png", whole)


@pytest.fixture(scope="module")
def beamline(
    stack: Stack,
    bliss_in: Callable[[Path], Callable[..., str]],
    tmp_path_factory: pytest.TempPathFactory,
    artifacts: Path,
) -> Iterator[Beamline]:
    place = tmp_path_factory.mktemp("monitor")
    record = stack.record()
    assert record is not None
    wire = Wire(record.ports["redis_data"])
    env = stack.environment()
    with ExitStack() as life:
        address = life.enter_context(monitoring(f"redis://127.0.0.1:{wire.port}", env, artifacts / "monitor.log"))
        browser = life.enter_context(browsers.browsing())
        bliss = life.enter_context(obeying(place, bliss_in(place)))
        yield Beamline(bliss, browser, address, wire, env, artifacts)
        wire.cut()


@dataclass(frozen=True)
class Series:
    """A hit-finding series, and the page that was open before it began."""

    page: browsers.Page
    told: dict[str, Any]
    streams: dict[str, np.ndarray]

    @property
    def hits(self) -> np.ndarray:
        """Frames that are hits."""
        return np.flatnonzero(self.streams["is_hit"])

    def frame(self, index: int) -> np.ndarray:
        """What the detector gave."""
        return np.asarray(expected_frame(SimulatorParameters.model_validate(self.told["parameters"]), index)[0])


@pytest.fixture(scope="module")
def page(beamline: Beamline) -> browsers.Page:
    """A page that stays open all the time."""
    return beamline.browser.open("desk", beamline.address)


def test_a_running_scan_is_followed(beamline: Beamline, page: browsers.Page) -> None:
    page.wait("() => document.querySelector('#state').textContent !== 'connecting'")
    running = beamline.bliss.begin(SETTINGS + LIVE)
    page.wait(RUNNING, 40, timeout_s=40)
    first = page.wait(LATER, -1)
    page.wait(LATER, first + 20)
    with beamline.browser.opened("late", beamline.address) as late:
        late.wait(RUNNING, 0)

        page.press("f")
        frozen = page.value(SHOWN)
        page.wait(RUNNING, page.value(TAKEN) + 40)
        assert page.value(SHOWN) == page.value(INDEX) == frozen

        page.press("h")
        hits = [page.wait(A_HIT)]  # from now on all that comes is hits
        for _ in range(2):
            hits.append(page.wait(LATER, hits[-1]))
        rows = page.value(ROWS, "#receivers")
        beamline.keep(page, "running")

        (beamline.bliss.place / "seen").touch()
        told = running.result(60)
        assert set(hits) <= set(told["hits"])
        assert len(rows) == 2
        assert all(int(row[1]) > 20 for row in rows)
        for each in (page, late):
            each.wait("() => document.querySelector('#state').textContent === 'ended'")
            each.wait("() => document.querySelector('#alarms').textContent.includes('stopped by its user')")
        frames = page.value(TAKEN)
        assert frames == late.value(TAKEN) < 5000
        for name in ("hit_rate", "nb_peaks"):
            for early, after in zip(shown_line(page, name, 20), shown_line(late, name, 20), strict=True):
                np.testing.assert_array_equal(early, after)


@pytest.fixture(scope="module")
def series(beamline: Beamline, page: browsers.Page) -> Series:
    """The next scan, which the page shows by itself."""
    page.press("n")
    told = beamline.bliss.run(SERIES if (beamline.bliss.place / "seen").exists() else SETTINGS + SERIES)
    assert "failed" not in told, told
    page.wait("(key) => document.body.dataset.scan === key", told["key"])
    page.wait(ENDED)
    page.wait(f"() => document.body.dataset.shown == {FRAMES - 1}")
    return Series(page, told, beamline.bliss.arrays("series"))


def shown_line(page: browsers.Page, name: str, points: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a chart's last trace, once it has so many points."""
    page.wait("(name) => document.querySelector(`#chart-${name}`) !== null", name)
    page.value(SEEN, name)
    page.wait(f"(name) => document.querySelector(`#chart-${{name}} .plot`)?.data?.at(-1).x.length >= {points}", name)
    line = page.value(TRACES, name)[-1]
    return np.array(line["x"], float), np.array(line["y"], float)


def test_strip_charts_are_the_streams(series: Series) -> None:
    for name, stream in (("hit_rate", "hit_rate"), ("beam_sum", "beam_sum")):
        x, y = shown_line(series.page, name, FRAMES)
        np.testing.assert_array_equal(x, np.arange(FRAMES))
        np.testing.assert_allclose(y, series.streams[stream], rtol=1e-6)
    x, y = shown_line(series.page, "nb_peaks", len(series.hits))
    np.testing.assert_array_equal(x, series.hits)
    np.testing.assert_array_equal(y, series.streams["nb_peaks"][series.hits])
    for name, least in (("background_level", 10), ("frame_rate", 30), ("latency", 0)):
        _, y = shown_line(series.page, name)
        assert len(y) > 3
        assert np.median(y) > least, name


def test_radial_background_is_that_of_the_newest_frame(series: Series) -> None:
    shown_line(series.page, "background")
    low, high, line = (np.array(trace["y"], float) for trace in series.page.value(TRACES, "background"))
    avg, std = series.streams["avg"].astype(float), series.streams["std"].astype(float)
    for shown, expected in ((line, avg), (low, avg - std), (high, avg + std)):
        np.testing.assert_allclose(shown, expected, rtol=1e-5)


def test_resolution_histogram_counts_the_spots(beamline: Beamline, series: Series) -> None:
    poni = dict(
        line.split(": ", 1)
        for line in (beamline.bliss.place / "simulator.poni").read_text().splitlines()
        if ": " in line
    )
    distance, wavelength = float(poni["Distance"]), float(poni["Wavelength"]) * 1e9
    pixel = float(json.loads(poni["Detector_config"])["pixel1"])
    y0, x0 = float(poni["Poni1"]) / pixel, float(poni["Poni2"]) / pixel
    y, x = (series.streams[name].ravel() + 0.5 for name in ("spots_y", "spots_x"))
    theta = np.arctan(np.hypot(y - y0, x - x0) * pixel / distance) / 2
    centres, counts = shown_line(series.page, "resolution")
    edges = np.append(centres - centres[0], 2 * centres[-1] - centres[-2] + centres[0])
    expected, _ = np.histogram(2 * np.sin(theta) / wavelength, bins=edges - edges[0])
    assert counts.sum() == expected.sum() > 1000
    assert np.abs(counts - expected).sum() < 0.01 * counts.sum()  # rounding at the edges of bins


def test_receivers_table_has_the_counts_of_each_receiver(series: Series) -> None:
    rows = series.page.value(ROWS, "#receivers")
    columns = series.page.value("() => [...document.querySelectorAll('#receivers th')].map((c) => c.textContent)")
    for row, counts in zip(rows, series.told["counts"], strict=True):
        named = dict(zip(columns, row, strict=True))
        assert {name: int(named[name]) for name in counts if name in named} == {
            name: counts[name] for name in counts if name in named
        }
        assert {"received", "lost", "processed", "invalid"} <= set(columns)
    assert sum(int(row[columns.index("received")]) for row in rows) == FRAMES


def test_last_hits_and_best_frames_are_those_of_the_streams(series: Series) -> None:
    peaks, hits = series.streams["nb_peaks"], series.hits
    assert series.page.value(ROWS, "#hits") == [[str(i), str(peaks[i])] for i in hits[:-51:-1]]
    best = sorted(hits, key=lambda i: (-peaks[i], i))[:50]
    assert series.page.value(ROWS, "#best") == [[str(i), str(peaks[i])] for i in best]


def show(page: browsers.Page, index: int) -> None:
    """Have a frame shown, the image being in sight."""
    page.value("() => scrollTo(0, 0)")
    page.fill("#index", str(index))
    page.wait("(index) => Number(document.querySelector('#picture').dataset.index) === index", index)
    page.value("() => document.activeElement.blur()")


def binned(frame: np.ndarray, binning: int) -> np.ndarray:
    rows, columns = frame.shape[0] // binning, frame.shape[1] // binning
    return frame[: rows * binning, : columns * binning].reshape(rows, binning, columns, binning).mean(axis=(1, 3))


def on_canvas(page: browsers.Page, y: float, x: float) -> tuple[float, float]:
    """Where a place of the frame is on the canvas (x, y), the whole frame being shown."""
    _, _, width, height = page.value(PLACES)
    factor = min(width / WIDTH, height / HEIGHT)
    return width / 2 + (x - WIDTH / 2) * factor, height / 2 + (y - HEIGHT / 2) * factor


def test_image_is_the_detectors(series: Series) -> None:
    page, index = series.page, int(series.hits[-1])
    show(page, index)
    page.press("0")
    left, top, *_ = page.value(PLACES)
    frame = series.frame(index)
    binning = 2  # the window is smaller than the frame
    pixels = binned(frame, binning)
    page.choose("#scale", "linear")
    page.fill("#low", "0")
    page.fill("#high", "255")
    page.click("#show-spots")
    for y, x in ((300, 200), (481, 517), (900, 1000)):
        px, py = on_canvas(page, y, x)
        page.point(left + px, top + py)
        said = page.wait(UNDER)
        column, row, value = int(said[0]), int(said[1]), float(said[2])
        assert (abs(column - x) <= 1, abs(row - y) <= 1) == (True, True)
        assert value == pytest.approx(pixels[row // binning, column // binning], rel=1e-4)
        red, green, blue, alpha = page.value(PIXEL, [px, py])
        assert red == green == blue
        assert alpha == 255
        near = pixels[row // binning - 1 : row // binning + 2, column // binning - 1 : column // binning + 2]
        assert min(near.min(), 255) - 1 <= red <= min(near.max(), 255) + 1
    page.click("#show-spots")


def test_spots_are_drawn_where_they_were_found(beamline: Beamline, series: Series) -> None:
    page, index = series.page, int(series.hits[-1])
    show(page, index)
    mine = series.streams["spots_frame"].ravel() == index
    places = np.column_stack([series.streams[name].ravel()[mine] for name in ("spots_y", "spots_x")])
    assert page.value("() => Number(document.querySelector('#picture').dataset.spots)") == len(places) > 10
    beamline.keep(page, "spots")
    _, _, width, height = page.value(PLACES)
    radius = max(5.0, 4 * min(width / WIDTH, height / HEIGHT))
    for y, x in places[:10]:
        px, py = on_canvas(page, y + 0.5, x + 0.5)
        around = [page.value(PIXEL, [px + dx, py]) for dx in (radius - 1, radius, -radius, -radius - 1)]
        assert any(red > 150 and red > green + 50 for red, green, *_ in around), (y, x, around)


def test_hits_are_stepped_through_with_keys_and_clicks(series: Series) -> None:
    page, hits = series.page, series.hits
    show(page, int(hits[-1]))
    at = "(index) => Number(document.querySelector('#picture').dataset.index) === index"
    for keys, index in (("ArrowLeft", hits[-2]), ("ArrowLeft", hits[-3]), ("ArrowRight", hits[-2])):
        page.press(keys)
        page.wait(at, int(index))
    page.press("Shift+ArrowLeft")
    page.wait(at, int(hits[-2]) - 1)
    page.click(f"#best tr[data-index='{page.value(ROWS, '#best')[0][0]}']")
    page.wait(at, int(page.value(ROWS, "#best")[0][0]))
    page.press("h")
    page.wait(at, int(hits[-1]))
    page.press("n")
    page.wait(at, FRAMES - 1)


def test_a_zoomed_region_comes_with_every_pixel(beamline: Beamline, series: Series) -> None:
    page, index = series.page, int(series.hits[-1])
    show(page, index)
    left, top, *_ = page.value(PLACES)
    px, py = on_canvas(page, 300, 400)
    page.point(left + px, top + py, wheel=-1500)
    page.wait("() => document.querySelector('#picture').dataset.region")
    said = page.value("() => document.querySelector('#under').textContent")
    column, row, value = page.value(UNDER)
    assert "mean of" not in said
    assert float(value) == series.frame(index)[int(row), int(column)]
    assert abs(int(row) - 300) <= 1
    assert abs(int(column) - 400) <= 1
    beamline.keep(page, "zoomed")
    address = reopened_link(page)
    page.drag(left + px, top + py, left + px - 100, top + py)
    page.press("0")
    page.wait("() => !document.querySelector('#picture').dataset.region")

    with beamline.browser.opened("again", address) as again:
        again.wait("() => document.querySelector('#picture').dataset.region")
        assert again.value(INDEX) == index
        left, top, *_ = again.value(PLACES)
        again.point(left + px, top + py)
        assert again.value(UNDER) == [column, row, value]


def reopened_link(page: browsers.Page) -> str:
    """What the link button gives."""
    page.click("#link")
    return str(page.wait("() => document.querySelector('#link').dataset.address"))


def test_downloads_are_what_is_shown(series: Series) -> None:
    page, index = series.page, int(series.hits[-1])
    show(page, index)
    name, content = page.download("#picture-file")
    assert name.endswith(".png")
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert np.count_nonzero(picture[..., 0] > picture[..., 1] + 100) > 100  # circles around the spots
    name, content = page.download("#spots-file")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    mine = series.streams["spots_frame"].ravel() == index
    np.testing.assert_allclose([float(row["y"]) for row in rows], series.streams["spots_y"].ravel()[mine], rtol=1e-5)
    name, content = page.download("#chart-beam_sum h2 a")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    np.testing.assert_allclose([float(row["beam_sum"]) for row in rows], series.streams["beam_sum"], rtol=1e-6)


def test_accumulated_pictures_and_rings(beamline: Beamline, series: Series) -> None:
    page = series.page
    page.press("n")
    page.choose("#source", "acc_corrected")
    page.wait("() => document.querySelector('#under').textContent.includes('from stream')")
    left, top, *_ = page.value(PLACES)
    px, py = on_canvas(page, 300, 200)
    page.point(left + px, top + py)
    column, row, value = page.value(UNDER)
    mean = series.streams["acc_corrected"][-1]
    assert float(value) == pytest.approx(
        mean[int(row) * mean.shape[0] // HEIGHT, int(column) * mean.shape[1] // WIDTH], rel=1e-3
    )
    page.press("r", "c")
    beamline.keep(page, "mean_rings")
    page.choose("#source", "acc_peaks")
    page.wait("() => document.querySelector('#under').textContent.includes('from stream')")
    beamline.keep(page, "peaks")
    page.choose("#source", "frame")
    page.wait("() => !document.querySelector('#under').textContent.includes('from stream')")
    page.press("r")
    page.choose("#map", "grey")


def test_light_and_dark_by_key_and_as_the_system_wishes(beamline: Beamline, series: Series) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    series.page.value("() => document.activeElement.blur()")
    light = series.page.value(colour)
    series.page.press("t")
    dark = series.page.value(colour)
    assert dark != light
    beamline.keep(series.page, "dark", whole=True)
    series.page.press("t")
    beamline.keep(series.page, "light", whole=True)
    with beamline.browser.opened("night", beamline.address, scheme="dark") as night:
        assert night.value(colour) == dark


def test_a_phone_shows_all_without_scrolling_sideways(beamline: Beamline, series: Series) -> None:
    with beamline.browser.opened("phone", beamline.address, size=(390, 844), touch=True) as phone:
        phone.wait("() => document.querySelector('#picture').dataset.index")
        shown_line(phone, "hit_rate", FRAMES)
        assert phone.value("() => document.documentElement.scrollWidth <= window.innerWidth")
        assert phone.value("() => document.querySelector('#picture').getBoundingClientRect().width") > 300
        beamline.keep(phone, "phone", whole=True)
    with beamline.browser.opened("wall", beamline.address, size=(3840, 2160), scheme="dark") as wall:
        wall.wait("() => document.querySelector('#picture').dataset.index")
        shown_line(wall, "hit_rate", FRAMES)
        beamline.keep(wall, "wall")


def test_the_next_scan_is_followed_and_its_hits_are_mapped(beamline: Beamline, series: Series) -> None:
    page = series.page
    page.press("n")
    told = beamline.bliss.run(RASTER)
    assert told["key"] != series.told["key"]
    page.wait("(key) => document.body.dataset.scan === key", told["key"])
    page.wait("() => document.querySelector('#chart-map')")
    page.value(SEEN, "map")
    page.wait(
        "() => document.querySelector('#chart-map .plot')?.data?.[0].z.flat().filter((v) => v !== null).length === 20"
    )
    (drawn,) = page.value(TRACES, "map")
    assert (drawn["x"], drawn["y"]) == ([0, 1, 2, 3, 4], [0, 1, 2, 3])
    np.testing.assert_array_equal(np.array(drawn["z"], float), np.reshape(told["hits"], (4, 5)))
    assert 0 < np.sum(told["hits"]) < 20
    beamline.keep(page, "map")
    page.choose("#scan", series.told["key"])  # back to the one before
    page.wait(f"() => document.body.dataset.shown == {FRAMES - 1}")
    shown_line(page, "hit_rate", FRAMES)
    page.choose("#scan", "running")
    page.wait("(key) => document.body.dataset.scan === key", told["key"])


def test_a_page_finds_its_monitor_again(beamline: Beamline, series: Series) -> None:
    redis, log = f"redis://127.0.0.1:{beamline.wire.port}", beamline.artifacts / "monitor.log"
    one, other = (int(index) for index in series.hits[-2:])
    with ExitStack() as life:
        with monitoring(redis, beamline.env, log) as address:
            page = life.enter_context(
                beamline.browser.opened("again", f"{address}/#scan={series.told['key']}&mode=frame&index={one}")
            )
            page.wait("(index) => document.body.dataset.shown == index", one)
        page.wait("() => document.querySelector('#state').textContent === 'no connection'")
        life.enter_context(monitoring(redis, beamline.env, log, int(address.rpartition(":")[2])))
        page.wait("(index) => document.querySelector(`#hits tr[data-index='${index}']`)", other)
        page.press("ArrowRight")
        page.wait("(index) => document.body.dataset.shown == index", other)


LONGER = """
scan = det.take(490, 0.02, save=False)
told["hit_rate"] = scan.streams["simulator:hit_rate"][:].tolist()
told["key"] = scan._scan_data.key
"""


def test_redis_may_go_away_and_come_back(beamline: Beamline, series: Series) -> None:
    page = series.page
    running = beamline.bliss.begin(LONGER)
    page.wait(RUNNING, 30, timeout_s=30)
    assert beamline.wire.drop() > 0
    page.wait(RUNNING, page.value(TAKEN) + 20)
    beamline.wire.cut()
    try:
        page.wait("() => document.querySelector('#state').textContent.includes('Redis')")
        beamline.keep(page, "no_redis")
    finally:
        beamline.wire.mend()
    told = running.result(60)
    page.wait("() => document.querySelector('#state').textContent === 'ended' && document.body.dataset.frames == 490")
    assert page.value("() => document.body.dataset.scan") == told["key"]
    _, line = shown_line(page, "hit_rate", 490)
    np.testing.assert_allclose(line, told["hit_rate"], rtol=1e-6)
    page.wait("() => document.body.dataset.shown == 489")
    assert page.value("() => document.querySelector('#alarms').textContent") == ""


def test_a_lost_receiver_is_an_alarm(beamline: Beamline, series: Series, stack: Stack) -> None:
    page = series.page
    running = beamline.bliss.begin("det.take(2000, 0.01, save=False)")
    page.wait(
        "() => document.querySelector('#state').textContent === 'running' && document.body.dataset.frames > 50",
        timeout_s=30,
    )
    record = stack.record()
    assert record is not None
    os.kill(record.pids["lima2_receiver/simulator_2"], signal.SIGKILL)
    try:
        page.wait("() => document.querySelector('#alarms').textContent.match(/does not answer|has failed/)")
        beamline.keep(page, "lost_receiver")
        assert "failed" in running.result(60)
        page.wait("() => document.querySelector('#alarms').textContent.includes('the scan has failed')")
        beamline.keep(page, "failed")
    finally:
        running.cancel()
        stack.restart("lima2_receiver/simulator_2")
    told = beamline.bliss.run("told['key'] = det.take(20, 0.01, save=False)._scan_data.key")
    page.wait("(key) => document.body.dataset.scan === key && document.body.dataset.frames == 20", told["key"])
    assert page.value("() => document.querySelector('#alarms').textContent") == ""


def test_no_script_has_failed(beamline: Beamline, series: Series) -> None:
    expected = ("WebSocket connection", "Failed to load resource")  # while the monitor was away
    assert [said for said in beamline.browser.complaints if not any(text in said for text in expected)] == []
