"""The same pixels everywhere: what the detector made is in files, streams and bulk reads, bit by bit, in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_bliss.contract import RoundRobin
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame, read_stamp

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

FRAMES = 31
#: Detector, its receivers.
DETECTORS = {"sim1": 1, "simulator": 2, "sim3": 3}
FILTERS = {"none": set(), "bshuf_lz4": {"32008"}, "gzip": {"gzip", "shuffle"}, "zstd": {"32015", "shuffle"}}

SETTINGS = """
import json
import numpy as np
detector = config.get({name!r})
detector.reset_settings()
detector.roi_counters.clear()
detector.roi_profiles.clear()
detector.detector.update({{
    "size.x": 320, "size.y": 256, "generator.type": "diffraction", "nb_prefetch_frames": 7, "stamp_frame_number": True,
}})
detector.saving.frames_per_file = 5
detector.roi_counters.set("beam", (0, 0, 60, 50))
"""

SCAN = """
from lima2_bliss.publishing.readers import DetectorData
scan = loopscan({frames}, 0.002, detector, *detector.counter_groups.status)
acquisition = detector.last_acquisition
image = scan.streams[detector.name + ":image"]
bulk = list(acquisition.frames(slice(None)))
table = DetectorData(scan, detector.name).roi_statistics("beam")
np.savez(
    data_path + "/read.npz",
    stream=np.stack([image[i] for i in range(len(image))]),
    sliced=np.stack(list(image[3:11])),
    bulk=np.stack([frame for _, frame in bulk]),
    bulk_index=[index for index, _ in bulk],
    picked=np.stack([frame for _, frame in acquisition.frames([7, 0, 29])]),
    newest=detector.last_image,
    table=table,
)
print(json.dumps({{
    "master": str(detector.last_outcome.files["frame"]),
    "file": scan.scan_info["filename"],
    "files": [str(path) for path in acquisition.files()],
    "parameters": acquisition.acquisition_parameters,
}}))
detector.reset_settings()
detector.roi_counters.clear()
"""

COMPRESSIONS = """
for compression in ("none", "bshuf_lz4", "gzip", "zstd"):
    detector.saving.compression = compression
    loopscan(4, 0.002, detector.counters.image)
    print(json.dumps({{
        "compression": compression,
        "master": str(detector.last_outcome.files["frame"]),
        "files": [str(path) for path in detector.last_acquisition.files()],
        "parameters": detector.last_acquisition.acquisition_parameters,
    }}))
detector.reset_settings()
detector.roi_counters.clear()
"""


def made_by_detector(told: dict[str, Any], count: int) -> np.ndarray:
    """What the detector made, (frames, channels, height, width)."""
    parameters = SimulatorParameters.model_validate(told["parameters"])
    return np.stack([expected_frame(parameters, index) for index in range(count)])


def saved_frames(path: str | Path, dataset: str = "entry_0000/measurement/data") -> np.ndarray:
    """All frames of an HDF5 dataset."""
    with h5py.File(path, locking=False) as file:
        return np.asarray(file[dataset])


@pytest.mark.parametrize("name", DETECTORS)
def test_every_way_to_a_frame_gives_the_pixels_of_the_detector(
    run_bliss: Callable[..., str], tmp_path: Path, name: str
) -> None:
    printed = run_bliss((SETTINGS + SCAN).format(name=name, frames=FRAMES))
    told = json.loads(printed.splitlines()[-1])
    made = made_by_detector(told, FRAMES)
    assert [read_stamp(frame) for frame in made] == list(range(FRAMES))
    assert len({frame[:, 8:].tobytes() for frame in made}) == 7, "the frames must differ for their order to show"

    read = np.load(tmp_path / "read.npz")
    images = made[:, 0]
    np.testing.assert_array_equal(read["stream"], images)
    np.testing.assert_array_equal(read["sliced"], images[3:11])
    np.testing.assert_array_equal(read["bulk_index"], np.arange(FRAMES))
    np.testing.assert_array_equal(read["bulk"], made)
    np.testing.assert_array_equal(read["picked"], made[[7, 0, 29]])
    np.testing.assert_array_equal(read["newest"], images[-1])
    assert read["stream"].dtype == read["bulk"].dtype == made.dtype

    np.testing.assert_array_equal(saved_frames(told["master"]), images)
    check_receiver_files(told["files"], name, images)
    np.testing.assert_array_equal(saved_frames(told["file"], f"1.1/measurement/{name}"), images)

    table, box = read["table"], images[:, :50, :60].reshape(FRAMES, -1).astype(float)
    np.testing.assert_array_equal(table["frame_index"], np.arange(FRAMES))
    np.testing.assert_array_equal(table["sum"], box.sum(1))
    np.testing.assert_array_equal(table["min"], box.min(1))
    np.testing.assert_array_equal(table["max"], box.max(1))
    np.testing.assert_allclose(table["avg"], box.mean(1), rtol=1e-6)
    np.testing.assert_allclose(table["std"], box.std(1), rtol=1e-5)


def check_receiver_files(paths: list[str], name: str, images: np.ndarray) -> None:
    """Each receiver has the frames that are dispatched to it, in order, five to a file."""
    dispatch = RoundRobin(DETECTORS[name])
    for rank in range(dispatch.receivers):
        own = sorted(path for path in paths if Path(path).name.startswith(f"{name}_{rank}_"))
        frames = np.concatenate([saved_frames(path, f"entry_0000/instrument/{name}/data") for path in own])
        indices = [index for index in range(FRAMES) if dispatch.locate(index)[0] == rank]
        assert len(own) == -(-len(indices) // 5)
        np.testing.assert_array_equal(frames, images[indices])


def test_files_of_every_compression_hold_the_same_pixels(run_bliss: Callable[..., str]) -> None:
    printed = run_bliss((SETTINGS + COMPRESSIONS).format(name="simulator"))
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert [one["compression"] for one in told] == list(FILTERS)
    for one in told:
        np.testing.assert_array_equal(saved_frames(one["master"]), made_by_detector(one, 4)[:, 0])
        for path in one["files"]:
            with h5py.File(path) as file:
                data = file["entry_0000/instrument/simulator/data"]
                assert set(data._filters) == FILTERS[one["compression"]]
                assert data.chunks == (1, 256, 320)
