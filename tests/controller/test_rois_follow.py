"""ROIs stay on the same detector pixels whatever the image settings: counters of scans against the saved images."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

IMAGES = 3
HEIGHT, WIDTH = 258, 321  # not divided by 2 and 3 alike: binning drops pixels
BOX, EDGE, RING = (60, 36, 48, 24), (300, 240, 21, 18), (150, 120, 20, 60, 30, 100)

#: Image settings in this order, and what is left out with them.
SETTINGS = [
    ({}, []),
    ({"binning": 2}, []),
    ({"flip": "left_right"}, []),
    ({"rotation": 90}, []),
    ({"binning": (3, 2), "rotation": 180}, ["ring"]),
    ({"binning": (1, 1), "flip": "up_down", "rotation": 270, "roi": (20, 10, 280, 230)}, ["edge"]),
    ({"binning": (3, 3), "flip": "both", "rotation": 90}, []),
    ({}, []),
]

PAGE = Path(__file__).resolve().parents[2] / "doc" / "how-to" / "rois.md"

SCRIPT = f"""
import contextlib, io
det = simulator; clean(det)
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    exec({chr(10).join(re.findall(r"<!-- run: bliss -->.```python.(.*?).```", PAGE.read_text(), re.S))!r})
say(page=printed.getvalue())
clean(det)
det.detector.update({{"size.x": {WIDTH}, "size.y": {HEIGHT}, "generator.type": "diffraction",
                     "nb_prefetch_frames": 4}})
det.roi_counters["box"] = {BOX}
det.roi_counters["edge"] = {EDGE}
det.roi_counters.set_arc("ring", {RING})
det.roi_profiles.set("rows", {BOX})
edge_sum = det.counters.edge_sum
scans = []
for changes, _ in {SETTINGS!r}:
    det.image.reset()
    det.image.update(changes)
    scan = loopscan({IMAGES}, 0.002, det)
    values = {{name.split(":")[-1]: stream[:].tolist() for name, stream in scan.streams.items()
              if name.endswith("_sum") or name.endswith(":rows")}}
    with h5py.File(scan.scan_info["filename"]) as file:
        told = list(file[f"{{int(scan.scan_number)}}.1/instrument/simulator/rois"])
    scans.append({{
        "values": values, "master": str(det.last_outcome.files["frame"]), "file": told,
        "where": {{name: roi.numbers() for name, roi in det.roi_counters.active().items()}},
        "profile": str(det.roi_profiles["rows"]), "left_out": list(det.roi_counters.left_out()),
    }})
    if "edge" in scans[-1]["left_out"]:
        asked_for = failure(lambda: loopscan(1, 0.002, edge_sum))
        shown = det.roi_counters.__info__()
say(scans=scans, asked_for=asked_for, shown=shown, warnings=Logged.lines,
    parameters=det.last_acquisition.acquisition_parameters)
clean(det)
"""


def in_ring(shape: tuple[int, int], ring: tuple[float, ...], mirrored: bool = False) -> np.ndarray:
    """Pixels whose centre is in the ring segment."""
    cx, cy, r1, r2, a1, a2 = ring
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(x - cx, y - cy)
    angle = (np.degrees(np.arctan2(y - cy, x - cx)) - a1) % 360
    within = (angle > 0) & (angle <= a2 - a1) if mirrored else angle < a2 - a1
    return (radius >= r1) & (radius < r2) & within


def cut(images: np.ndarray, box: list[int]) -> np.ndarray:
    x, y, width, height = map(int, box)
    return images[:, y : y + height, x : x + width]


def test_counters_are_sums_of_the_same_detector_pixels_in_every_image(bliss_values):
    said = bliss_values(SCRIPT)
    parameters = SimulatorParameters.model_validate(said["parameters"])
    raw = np.stack([expected_frame(parameters, index)[0] for index in range(IMAGES)]).astype(float)
    for (changes, left_out), scan in zip(SETTINGS, said["scans"], strict=True):
        values, where = scan["values"], scan["where"]
        assert scan["left_out"] == left_out
        assert set(values) == {f"{name}_sum" for name in {"box", "edge", "ring"} - set(left_out)} | {"rows"}
        assert set(scan["file"]) == {*where, "rows"}
        with h5py.File(scan["master"]) as file:
            images = file["entry_0000/measurement/data"][:].astype(float)
        # as the coordinates of now say, in the images of now
        for name in where.keys() - {"ring"}:
            np.testing.assert_array_equal(values[f"{name}_sum"], cut(images, where[name]).sum((1, 2)))
        # and as it was given, in the frames of the detector
        np.testing.assert_array_equal(values["box_sum"], cut(raw, BOX).sum((1, 2)))
        bin_x, bin_y = np.broadcast_to(changes.get("binning", 1), 2)
        whole = raw[:, : HEIGHT // bin_y * bin_y, : WIDTH // bin_x * bin_x]
        if "edge" in where:
            np.testing.assert_array_equal(values["edge_sum"], cut(whole, EDGE).sum((1, 2)))
        if "ring" in where:
            mirrored = changes.get("flip") in ("left_right", "up_down")
            mask = in_ring(images.shape[1:], where["ring"], mirrored)
            np.testing.assert_array_equal(values["ring_sum"], images[:, mask].sum(1))
            if bin_x == 1:
                np.testing.assert_array_equal(values["ring_sum"], raw[:, in_ring(raw.shape[1:], RING)].sum(1))
        turned = changes.get("rotation") in (90, 270)
        assert scan["profile"].endswith("horizontal" if turned else "vertical")
        assert np.sum(values["rows"]) == cut(raw, BOX).sum()
        if not changes:
            assert (where["box"], where["ring"]) == (list(BOX), list(RING))
            np.testing.assert_array_equal(values["rows"], cut(raw, BOX).sum(2))
    # what the page on ROIs shows
    assert said["page"] == "x=231 y=231 width=50 height=50\nx=462 y=462 width=100 height=100\n"
    # what is left out is told once, and its counters are refused
    warnings = "\n".join(said["warnings"])
    assert warnings.count("'edge'") == 1
    assert "no ring with binning (3, 2)" in warnings
    assert "(left out: not wholly on the image of 230 x 280 pixels" in said["shown"]
    kind, text, _ = said["asked_for"]
    assert kind == "ParameterError"
    assert "simulator: counter 'edge_sum' gives nothing, because ROI 'edge' is left out" in text
