"""A simulated module over four receivers in BLISS scans: pedestals, hits, raw frames, and trouble."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_receivers.detectors.jungfrau import JungfrauParameters, JungfrauSettings
from lima2_receivers.detectors.jungfrau.beam import diffraction_of, mean_photons, module_maps
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration
from lima2_receivers.detectors.simulator import truth

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

#: Runs code in a session that has the detector; see conftest.
RunJungfrau = Callable[[str], dict[str, Any]]

DETECTOR = "jfone"
FRAMES = 200
IMAGES = 10
#: Packets of a frame of one module.
PACKETS = 128
RAW_FRAMES = 40

ONE_MODULE = f"""
det = fresh()
det.acquisition.latency_time = 4e-3
det.detector.update({{"interfaces": 2, "beam.images": {IMAGES}, "beam.background": 1.0}})
said = {{}}

before = det.detector.to_dict(), det.processing.to_dict(), det.saving.to_dict()
det.pedestal_scan(50, 1e-4)
after = det.detector.to_dict(), det.processing.to_dict(), det.saving.to_dict()
said["changed"] = [sorted(name for name in old if old[name] != new[name]) for old, new in zip(before, after)]
said["calibration"], said["report"] = det.calibration.file, det.calibration.__info__()
said["left"] = sorted(path.name for path in Path(det.calibration.file).parent.iterdir())
said["titles"] = [scan.scan_info["title"] for scan in session.scans]

poni = Path(data_path) / "module.poni"
poni.write_text(det.command("poni", det.settings_now().detector))
det.processing.pipeline = "smx"
det.smx.update({{"poni": str(poni), "bins": 200, "min_spots": 10, "save_dense": "all", "accumulated_every": 0}})
scan = det.take({FRAMES}, 1e-3)
said["smx"] = counted(det) | {{"files": files(det), "published": det.publisher.status(det.last_outcome.uuid).rows}}
said["smx"] |= {{name: scan.streams["jfone:" + name][:].tolist() for name in ("is_hit", "nb_peaks")}}
said["det"] = det.last_acquisition.acquisition_parameters["det"]
said["words"] = det.__info__()

det.processing.pipeline = "legacy"
det.detector.update({{"beam.stamp": True, "correction.output": "raw"}})
det.saving.raw = "all"
scan = det.take({RAW_FRAMES}, 1e-3)
said["raw"] = counted(det) | {{"files": files(det), "scan": [scan.scan_info["filename"], int(scan.scan_number)]}}

# the file instead of the detector
det.saving.raw = "none"
det.detector["wire"] = "external"
addresses = [word for to in det.command("udp_addresses") for word in ("--to", to)]
scan = det.take({RAW_FRAMES}, 1e-3, run=False)
task = gevent.spawn(scan.run)
with gevent.Timeout(20):
    while det.device_states()[det.control_name].name != "RUNNING" and not task.ready():
        gevent.sleep(0.02)
program = str(Path(sys.executable).parent / "lima2-jungfrau-sim")
subprocess.run([program, *addresses, "--replay", said["raw"]["files"]["raw_frame"], "--rate", "100"], check=True)
task.get()
said["replayed"] = counted(det) | {{"files": files(det)}}
print("JSON " + json.dumps(said))
det.reset_settings()
"""


@pytest.fixture(scope="module")
def one_module(jungfrau: RunJungfrau) -> dict[str, Any]:
    """One module over four receivers: pedestals, hits, raw frames, and these played again."""
    return jungfrau(ONE_MODULE)


def settings(said: dict[str, Any]) -> JungfrauSettings:
    return JungfrauParameters.model_validate({"det": said["det"]}).det


def images(file: str, frames: Any = slice(None), name: str = "entry_0000/measurement/data") -> np.ndarray:
    """Frames of a master file."""
    with h5py.File(file) as opened:
        return opened[name][frames]


def test_a_pedestal_scan_gives_a_calibration_and_changes_nothing_else(one_module: dict[str, Any]) -> None:
    assert one_module["changed"] == [["correction.calibration", "correction.output"], [], []]
    assert [title.split(": ")[1] for title in one_module["titles"]] == [
        "50 dark frames of G0 (dynamic)",
        "50 dark frames of G1 (forceswitchg1)",
        "50 dark frames of G2 (forceswitchg2)",
    ]
    file = Path(one_module["calibration"])
    assert one_module["left"] == [file.stem, file.name]  # the sums are gone
    calibration, module = load_calibration(file), module_maps(1, 0)
    np.testing.assert_allclose(calibration.gains[:3, 0], module.gains[:3])
    for stage, noise in enumerate((12.0, 2.0, 2.0)):
        off = calibration.pedestals[stage, 0] - module.pedestals[stage]
        assert abs(off.mean()) < 0.1
        assert off.std() == pytest.approx(noise / 50**0.5, rel=0.15)
        assert np.median(calibration.noise[stage]) == pytest.approx(noise, rel=0.1)
    assert "G0: 50, G1: 50, G2: 50" in one_module["report"]
    assert "module 0: 0 of 524288 pixels are bad" in one_module["report"]


def test_hits_and_counts_are_those_of_the_beam(one_module: dict[str, Any]) -> None:
    said = one_module["smx"]
    crystal = diffraction_of(settings(one_module))
    hits = np.array([truth(crystal, index % IMAGES).hit for index in range(FRAMES)])
    np.testing.assert_array_equal(np.array(said["is_hit"], bool), hits)
    peaks = np.array(said["nb_peaks"])
    assert peaks[hits].min() >= 15  # no border case: at least 10 make a hit
    assert peaks[~hits].max() <= 3
    assert [counts["received"] for counts in said["receivers"]] == [FRAMES / 4] * 4
    assert [counts["saved"] for counts in said["receivers"]] == [FRAMES / 4] * 4
    assert said["published"] == FRAMES
    intake = said["intake"]
    assert intake["packets_received"] == intake["packets_placed"] == FRAMES * PACKETS
    assert intake["frames_complete"] == FRAMES
    odd = ("missing", "duplicate", "foreign", "malformed", "late", "dropped_by_kernel")
    assert {intake[f"packets_{name}"] for name in odd} == {0}
    assert f"packets: {FRAMES * PACKETS} received, 0 missing" in one_module["words"]
    assert "Correction: photons as float32, calibration" in one_module["words"]


def test_corrected_images_are_the_photons_of_the_beam(one_module: dict[str, Any]) -> None:
    det = settings(one_module)
    dark = int(np.flatnonzero(~np.array(one_module["smx"]["is_hit"], bool))[0])
    image, again = images(one_module["smx"]["files"]["frame"], [dark, dark + IMAGES])
    assert image.dtype == np.float32
    assert image.shape == (514, 1030)
    assert abs(np.mean(image - mean_photons(det, dark))) < 0.01
    np.testing.assert_array_equal(image, again)


def test_frame_numbers_go_on_without_a_gap(one_module: dict[str, Any]) -> None:
    said = one_module["raw"]
    detector = "entry_0000/instrument/jfone"
    raw = images(said["files"]["raw_frame"])
    assert raw.shape == (RAW_FRAMES, 512, 1024)
    stamps = raw[:, ::4, :4].copy().view("<u8")[..., 0]  # each packet holds the number of its frame
    first = 1 + 3 * 50 + FRAMES  # since the control was started
    np.testing.assert_array_equal(stamps, np.arange(first, first + RAW_FRAMES)[:, None].repeat(PACKETS, 1))
    headers = images(said["files"]["raw_frame"], name=f"{detector}/packet_headers")
    np.testing.assert_array_equal(headers["frame_number"], stamps[:, :2])
    assert said["intake"]["packets_placed"] == RAW_FRAMES * PACKETS


def test_raw_frames_are_linked_into_the_scan_file_with_their_headers(one_module: dict[str, Any]) -> None:
    name, number = one_module["raw"]["scan"]
    with h5py.File(name, "r") as file:
        detector, measurement = (file[f"{number}.1/{place}"] for place in ("instrument/jfone", "measurement"))
        assert measurement["jfone_raw_frames"].shape == (RAW_FRAMES, 512, 1024)
        assert detector["raw_frames/packet_headers"].shape == (RAW_FRAMES, 2)
        assert measurement["jfone_frame_index"][:].tolist() == list(range(RAW_FRAMES))
        assert detector.get("raw_frames", getlink=True).filename.startswith(f"scan{number:04d}/")


def test_raw_frames_played_again_give_the_same_images(one_module: dict[str, Any]) -> None:
    before, after = (images(one_module[name]["files"]["frame"]) for name in ("raw", "replayed"))
    assert before.shape == (RAW_FRAMES, 514, 1030)
    np.testing.assert_array_equal(after, before)
    assert one_module["replayed"]["intake"]["packets_placed"] == RAW_FRAMES * PACKETS


TROUBLE = """
from lima2_bliss.contract import Lima2Error
det = fresh()
det.acquisition.latency_time = 4e-3
good = {
    "geometry.module_rows": 2, "module_ids": [1234, 1235], "receiving.silence_s": 0.5, "beam.pattern": "dark",
    "beam.images": 1, "beam.faults.silent_modules": [], "beam.faults.swapped_modules": [],
}
det.detector.update(good)
said = {}

def trouble(name, frames=40, latency=None):
    begun = time.monotonic()
    try:
        det.take(frames, 1e-3, latency_time=latency, save=False)
        text = ""
    except Lima2Error as error:
        text = str(error)
    said[name] = {"text": text, "took": time.monotonic() - begun}

def repaired(name):
    said[name]["recovered"] = det.recover()
    det.detector.update(good)
    det.take(12, 1e-3, save=False)
    said[name]["good"] = det.last_outcome.status.processed

trouble("first")
for name, setting, value in (
    ("silent", "beam.faults.silent_modules", [0, 1]),
    ("half", "beam.faults.silent_modules", [1]),
    ("order", "beam.faults.swapped_modules", [[0, 1]]),
):
    det.detector[setting] = value
    trouble(name)
    repaired(name)

host, _, port = det.command("udp_addresses")[1].rstrip("+").rpartition(":")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
    taker.bind((host, int(port)))
    trouble("taken")
repaired("taken")

place = Path(os.environ["LIMA2_STACK"])
receiver = "lima2_receiver/jfone_2"
pid = json.loads((place / "stack.json").read_text())["pids"][receiver]
killer = gevent.spawn_later(0.7, os.kill, pid, signal.SIGKILL)
trouble("killed", 1000, 0.1)
program = str(Path(sys.executable).parent / "lima2-stack")
subprocess.run([program, "restart", receiver, "--state-dir", place], check=True, stdout=subprocess.DEVNULL)
repaired("killed")
print("JSON " + json.dumps(said))
det.reset_settings()
"""


@pytest.fixture(scope="module")
def trouble(jungfrau: RunJungfrau) -> dict[str, Any]:
    """What the session said to each trouble, and whether a scan after it was good."""
    return jungfrau(TROUBLE)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "silent",
            r"receiver id00/limareceiver/jfone\d.*: no packets of the detector's frames came .*: check that",
        ),
        (
            "half",
            r"receiver id00/limareceiver/jfone\d.*: nothing of module 1 came .*, the other modules send: check that",
        ),
        ("order", r"gets module id 1235 where 1234 is expected: modules or cables were swapped"),
        ("taken", r"id00/limareceiver/jfone2: UDP port 127\.0\.0\.1:\d+ is taken by python.*; end that process"),
        ("killed", r"receiver id00/limareceiver/jfone2 closed its connection .*: its process ended .* start it again"),
    ],
)
def test_trouble_is_told_in_a_sentence_and_the_next_scan_is_good(
    trouble: dict[str, Any], name: str, words: str
) -> None:
    assert trouble["first"]["text"] == ""
    said = trouble[name]
    lines = said["text"].splitlines()  # one for each receiver that told it before the scan ended
    assert lines
    assert all(re.search(words, line) for line in lines), lines
    assert said["took"] < 5
    assert said["good"] == 12
