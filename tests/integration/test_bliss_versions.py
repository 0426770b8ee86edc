"""A newer BLISS than the one that is installed here runs the same detector: beacon, session and consumers are its own.

``LIMA2_TEST_BLISS`` names another environment than that of ``make setup-bliss24``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from consumers import checksum, finished

from lima2_bliss.stack import Stack, default_config
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

ROOT = Path(__file__).resolve().parents[2]
BLISS = Path(os.environ.get("LIMA2_TEST_BLISS", ROOT / ".venv-bliss24")) / "bin"
FRAMES = 20

SESSION = """\
class: Session
name: newer
config-objects: [robx, diode, simulator]
"""

SCANS = f"""
import json, sys, zlib
from importlib.metadata import version
import numpy as np
from bliss.config import static
session = static.get_config().get("newer")
session.setup()
simulator, diode, robx = (session.env_dict[name] for name in ("simulator", "diode", "robx"))
from bliss.shell.standard import ascan, ct, loopscan
session.scan_saving.base_path = sys.argv[1]

def sums(scan):
    return scan.streams["simulator:beam_sum"][:].tolist()

simulator.detector.update({{"size.x": 320, "size.y": 256, "generator.type": "diffraction", "stamp_frame_number": True}})
simulator.roi_counters.set("beam", (130, 98, 60, 60))
simulator.roi_profiles.set("rows", (10, 20, 200, 100))
counted = sums(ct(0.02, simulator))
scan = loopscan({FRAMES}, 0.02, simulator, diode)
images = scan.streams["simulator:image"]
acquisition, master = simulator.last_acquisition.acquisition_parameters, simulator.last_outcome.files["frame"]
unsaved = loopscan(3, 0.02, simulator, save=False)
steps = ascan(robx, 0, 1, 4, 0.01, simulator)
taken = simulator.take(30, 0.005)
print(json.dumps({{
    "versions": {{name: version(name) for name in ("bliss", "blissdata", "blisswriter")}},
    "key": scan._scan_data.key,
    "file": scan.scan_info["filename"],
    "master": str(master),
    "acquisition": acquisition,
    "counted": counted,
    "sums": sums(scan),
    "plugin": images.plugin,
    "images": [zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images[:]],
    "one": zlib.crc32(np.ascontiguousarray(images[7]).tobytes()),
    "diode": len(scan.streams[next(name for name in scan.streams if name.endswith(":diode"))]),
    "unsaved": len(unsaved.streams["simulator:image"]),
    "steps": [len(sums(steps)), steps.streams["axis:robx"][:].tolist()],
    "taken": [len(taken.streams["simulator:image"]), len(sums(taken))],
    "state": simulator.state.name,
}}))
"""


@dataclass(frozen=True)
class Seen:
    """What the session printed, the images of its scan file, and what blissdata 1.1 reads of the scan."""

    told: dict[str, Any]
    images: np.ndarray
    measured: np.ndarray
    profiles: np.ndarray
    read: dict[str, Any]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose beacon is that of the other BLISS; the detector's own processes are those of this environment."""
    if not (BLISS / "beacon-server").is_file():
        pytest.skip(f"{BLISS.parent} is missing; make it with: make setup-bliss24")
    base = tmp_path_factory.mktemp("newer")
    shutil.copytree(default_config(), base / "config")
    (base / "config" / "sessions" / "newer.yml").write_text(SESSION)
    running = Stack(base / "state", BLISS)
    try:
        running.up(base / "config", ["simulator"])
        yield running
    finally:
        running.down()


@pytest.fixture(scope="module")
def seen(newer: Stack, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Scans of a session of the other BLISS."""
    place = tmp_path_factory.mktemp("newer_data")
    (place / "scans.py").write_text(SCANS)
    done = subprocess.run(
        [str(BLISS / "python"), "scans.py", str(place)],
        env=newer.environment(),
        capture_output=True,
        text=True,
        timeout=150,
        cwd=place,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    with h5py.File(told["file"], locking=False) as file:
        measurement = file["1.1/measurement"]
        return Seen(
            told,
            np.asarray(measurement["simulator"]),
            np.asarray(measurement["simulator_beam_sum"]),
            np.asarray(measurement["simulator_rows"]),
            finished(Path(sys.executable), "consumer_blissdata1.py", newer, told["key"]),
        )


def test_it_is_another_bliss(seen: Seen) -> None:
    assert tuple(int(part) for part in seen.told["versions"]["bliss"].split(".")[:2]) >= (2, 2)
    assert int(seen.told["versions"]["blissdata"].split(".")[0]) == 2


def test_every_frame_is_read_back_by_its_blissdata(seen: Seen) -> None:
    parameters = SimulatorParameters.model_validate(seen.told["acquisition"])
    expected = [checksum(expected_frame(parameters, index)[0]) for index in range(FRAMES)]
    assert seen.told["images"] == expected
    assert seen.told["one"] == expected[7]
    assert seen.told["plugin"] == "lima"


def test_the_scan_file_has_the_images_and_the_numbers_of_them(seen: Seen) -> None:
    assert [checksum(image) for image in seen.images] == seen.told["images"]
    assert seen.measured.tolist() == seen.told["sums"]
    assert seen.told["sums"] == seen.images[:, 98:158, 130:190].astype(float).sum((1, 2)).tolist()
    assert np.array_equal(seen.profiles, seen.images[:, 20:120, 10:210].astype(float).sum(2))
    with h5py.File(seen.told["master"]) as master:
        assert np.array_equal(np.asarray(master["entry_0000/measurement/data"]), seen.images)


def test_all_kinds_of_scans_end_with_all_their_points(seen: Seen) -> None:
    assert len(seen.told["counted"]) == 1
    assert seen.told["diode"] == FRAMES
    assert seen.told["unsaved"] == 3
    assert seen.told["steps"] == [5, [0, 0.25, 0.5, 0.75, 1]]
    assert seen.told["taken"] == [30, 30]
    assert seen.told["state"] == "IDLE"


def test_blissdata_1_reads_what_it_publishes(seen: Seen) -> None:
    streams = seen.read["streams"]
    assert streams["image"]["points"] == streams["image"]["by_index"] == seen.told["images"]
    assert streams["beam_sum"]["points"] == seen.told["sums"]
    assert all(stream["sealed"] for stream in streams.values())
