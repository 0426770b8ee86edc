"""A simulated Jungfrau-4M over two receivers: images with gaps, regions, what is published and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_receivers.detectors.jungfrau import JungfrauParameters, JungfrauSettings
from lima2_receivers.detectors.jungfrau.beam import gaps, mean_photons, wire_layout
from lima2_receivers.detectors.jungfrau.wire.content import cut_modules

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

DETECTOR = "jf4m"
FRAMES = 20
#: Packets of a frame.
PACKETS = 8 * 128
ROIS = {"left": (10, 20, 200, 100), "over_a_gap": (900, 400, 300, 200)}

WHOLE = f"""
det = fresh()
det.detector.update({{
    "geometry.module_rows": 4, "geometry.module_columns": 2, "interfaces": 2, "beam.images": 2, "beam.noise": False,
    "receiving.window": 4,
}})
said = {{"shape": det.image_shape(), "place": data_path}}
det.processing.update({{"nb_frames_buffer": {FRAMES}, "nb_fifo_frames": {FRAMES}, "nb_input_frames_buffer": 2}})
try:
    det.roi_counters["out"] = (2000, 2100, 100, 65)
    said["refused"] = ""
except Exception as error:
    said["refused"] = str(error)
for name, numbers in {ROIS}.items():
    det.roi_counters[name] = numbers
wanted = {{"path": data_path + "/exact.h5", "det": det.settings_now().detector}}
state = det.command("simulated_calibration", wanted)
with gevent.Timeout(60):
    while state["state"] == "running":
        gevent.sleep(0.1)
        state = det.command("calibrate_state")
det.calibration.file = state["path"]
scan = det.take({FRAMES}, 1e-3, latency_time=0.1)
said |= counted(det) | {{"files": files(det), "det": det.last_acquisition.acquisition_parameters["det"]}}
sums = {{f"sum_{{name}}": scan.streams[f"jf4m:{{name}}_sum"][:] for name in {list(ROIS)}}}
np.savez(data_path + "/published.npz", last=scan.streams["jf4m:image"][-1], memory=det.get_image(3), **sums)
print("JSON " + json.dumps(said))
det.roi_counters.clear()
det.reset_settings()
"""


@pytest.fixture(scope="module")
def whole(jungfrau: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The 4M over two receivers: what was said, published, and saved."""
    said = jungfrau(WHOLE)
    with np.load(Path(said["place"]) / "published.npz") as arrays, h5py.File(said["files"]["frame"]) as file:
        return {**said, **arrays, "frames": file["entry_0000/measurement/data"][()]}


def settings(said: dict[str, Any]) -> JungfrauSettings:
    return JungfrauParameters.model_validate({"det": said["det"]}).det


def test_the_size_of_the_image_is_known_before_the_first_scan(whole: dict[str, Any]) -> None:
    assert whole["shape"] == [2164, 2068]
    assert "out" in whole["refused"]
    assert "2068 x 2164" in whole["refused"]


def test_images_of_the_4m_are_assembled_with_gaps(whole: dict[str, Any]) -> None:
    frames, det = whole["frames"], settings(whole)
    assert frames.shape == (FRAMES, 2164, 2068)
    empty = np.zeros(frames.shape[1:], bool)
    for row in range(3):
        empty[514 + 550 * row : 550 + 550 * row] = True
    empty[:, 1030:1038] = True
    for frame in (frames[0], frames[-1]):
        np.testing.assert_array_equal(np.isnan(frame), empty)
    layout = wire_layout(det)
    for index in range(2):
        found = cut_modules(frames[index], layout, gaps(det))
        true = cut_modules(mean_photons(det, index), layout, gaps(det))
        # half a step of the ADC: 1/500 photon in G0, a third in G2
        assert np.abs(found - true)[true < 20].max() < 0.002
        assert np.abs(found - true).max() < 0.5


def test_what_is_published_is_what_is_saved(whole: dict[str, Any]) -> None:
    np.testing.assert_array_equal(whole["last"], whole["frames"][-1])
    np.testing.assert_array_equal(whole["memory"], whole["frames"][3])
    for name, (x, y, width, height) in ROIS.items():
        sums = np.nansum(whole["frames"][:, y : y + height, x : x + width], axis=(1, 2), dtype=float)
        np.testing.assert_allclose(whole[f"sum_{name}"], sums, rtol=1e-6)
    assert whole["intake"]["packets_placed"] == FRAMES * PACKETS
    assert sum(counts["saved"] for counts in whole["receivers"]) == FRAMES
