"""A hit-finding scan over two receivers: what it finds is what the simulated crystal gave, in streams and in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin
import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame, truth

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

FRAMES = 1000
IMAGES = 20
HIT_RATE = 0.3
LOST = [17, 402]
MIN_SPOTS = 10

SCAN = f"""
import contextlib, io, json
import numpy as np
from pathlib import Path
from lima2_bliss.contract import NotAvailableError
from lima2_bliss.publishing.readers import DetectorData
det = config.get("simulator")
det.reset_settings()
det.roi_counters.clear()
det.roi_profiles.clear()
made = {{
    "size": {{"x": 512, "y": 480}},
    "generator": {{"type": "diffraction", "diffraction": {{"hit_rate": {HIT_RATE}, "background_level": 60}}}},
}}
poni = Path(data_path) / "simulator.poni"
poni.write_text(det.command("poni", made))
det.detector.update({{
    "size.x": 512, "size.y": 480, "generator.type": "diffraction", "generator.diffraction.hit_rate": {HIT_RATE},
    "generator.diffraction.background_level": 60, "nb_prefetch_frames": {IMAGES}, "on_overrun": "wait",
    "faults.dropped_indices": {LOST},
}})
det.processing.pipeline = "smx"
det.smx.update({{
    "poni": str(poni), "bins": 300, "min_spots": {MIN_SPOTS}, "save_dense": "hits", "dense_every": 100,
    "accumulated_every": 250,
}})
det.saving.frames_per_file = 200
scan = det.take({FRAMES}, 0.001)
streams = {{name.split(":", 1)[1]: stream for name, stream in scan.streams.items() if name.startswith("simulator:")}}
one = ("nb_peaks", "is_hit", "nb_sparse", "hit_rate", "background_avg")
flat = ("spots_frame", "spots_y", "spots_x", "spots_intensity", "sparse_index", "sparse_intensity")
np.savez(data_path + "/streams.npz", **{{name: streams[name][:] for name in one + flat}})
status = det.last_outcome.status
reader = DetectorData(scan, "simulator")
try:
    reader.frame(1)
    refused = ""
except NotAvailableError as error:
    refused = error.what
np.savez(data_path + "/read.npz", frame=reader.frame(2), spots=reader.spots(0, 10)[2])
with contextlib.redirect_stdout(io.StringIO()) as tuned:
    det.tune(nb_frames=24, cutoff_peak=[4, 200], min_spots={MIN_SPOTS})
print(json.dumps({{
    "refused": refused,
    "tuned": tuned.getvalue(),
    "files": {{source: str(path) for source, path in det.last_outcome.files.items()}},
    "receivers": [receiver.counts.model_dump() for receiver in status.receivers],
    "published": det.publisher.status(det.last_outcome.uuid).rows,
    "report": det.__info__(),
    "parameters": det.last_acquisition.acquisition_parameters,
}}))
det.reset_settings()
"""


@pytest.fixture(scope="module")
def scanned(bliss_in: Callable[[Path], Callable[..., str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The scan: what it printed, and its streams by name."""
    place = tmp_path_factory.mktemp("smx")
    told = json.loads(bliss_in(place)(SCAN).splitlines()[-1])
    with np.load(place / "streams.npz") as arrays, np.load(place / "read.npz") as read:
        told |= dict(arrays) | {f"read_{name}": values for name, values in read.items()}
    told["parameters"] = SimulatorParameters.model_validate(told["parameters"])
    return told


@pytest.fixture(scope="module")
def true_hits(scanned: dict[str, Any]) -> np.ndarray:
    """Which frames hold a diffraction image; a frame that was lost holds none."""
    hits = np.array([truth(scanned["parameters"], index).hit for index in range(FRAMES)])
    assert hits.mean() == pytest.approx(HIT_RATE)
    hits[LOST] = False
    return hits


def spots_of(scanned: dict[str, Any], frame: int) -> np.ndarray:
    """(y, x) of the spots found in a frame."""
    mine = scanned["spots_frame"].ravel() == frame
    return np.column_stack([scanned["spots_y"].ravel()[mine], scanned["spots_x"].ravel()[mine]])


def test_every_hit_is_found_and_nothing_else(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    np.testing.assert_array_equal(scanned["is_hit"].astype(bool), true_hits)
    peaks = scanned["nb_peaks"]
    assert peaks[true_hits].min() >= 1.5 * MIN_SPOTS  # no border case: every hit has clearly enough spots,
    assert peaks[~true_hits].max() <= MIN_SPOTS // 3  # and no other frame has more than a few


def test_counts_of_the_receivers_add_up(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    assert scanned["published"] == FRAMES
    receivers = scanned["receivers"]
    assert sum(counts["received"] for counts in receivers) == FRAMES - len(LOST)
    assert sum(counts["lost"] for counts in receivers) == len(LOST)
    kept = true_hits | (np.arange(FRAMES) % 100 == 0)
    assert sum(counts["vetoed"] for counts in receivers) == FRAMES - len(LOST) - kept.sum()
    for counts in receivers:
        assert counts["saved"] == counts["processed"] + counts["invalid"] == FRAMES / 2
        assert counts["overrun"] == counts["waiting"] == 0


def test_streams_have_the_rows_that_their_counts_say(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    frames = scanned["spots_frame"].ravel()
    np.testing.assert_array_equal(np.bincount(frames, minlength=FRAMES), scanned["nb_peaks"])
    assert (np.diff(frames) >= 0).all()
    assert scanned["sparse_index"].size == scanned["sparse_intensity"].size == scanned["nb_sparse"].sum()
    good = np.delete(true_hits, LOST)
    assert scanned["hit_rate"][-1] == pytest.approx(good[-100:].mean(), abs=0.011)
    assert np.isnan(scanned["background_avg"][LOST[0]]).all()


def test_spots_are_where_the_crystal_put_them(scanned: dict[str, Any]) -> None:
    strong = found = wrong = total = 0
    for frame in range(IMAGES):
        made = truth(scanned["parameters"], frame).spots
        spots = spots_of(scanned, frame)
        total += len(spots)
        if not len(made):
            continue
        places = np.column_stack([made["y"], made["x"]])
        distance = np.hypot(*(places[:, None] - spots[None]).transpose(2, 0, 1))
        inside = (places > 3).all(axis=1) & (places < np.array([476, 508])).all(axis=1)
        bright = inside & (made["intensity"] > 400)
        strong += bright.sum()
        found += (distance[bright].min(axis=1) < 1.0).sum()
        wrong += (distance.min(axis=0) > 2.0).sum()
    assert strong > 100
    assert found / strong > 0.97
    assert wrong / total < 0.02


def test_the_dense_master_holds_the_hits_at_their_places(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    kept = true_hits | (np.arange(FRAMES) % 100 == 0)
    with h5py.File(scanned["files"]["frame"]) as file:
        detector = file["entry_0000/instrument/simulator"]
        flags = detector["frame_flags"][()]
        np.testing.assert_array_equal(flags == 0, kept)
        np.testing.assert_array_equal(np.flatnonzero(flags & FrameFlags.LOST), LOST)
        np.testing.assert_array_equal(detector["is_hit"][()].astype(bool), true_hits)
        hits = file["entry_0000/hits"]
        np.testing.assert_array_equal(hits["frame_index"][()], np.flatnonzero(true_hits))
        for place in (0, 1, len(hits["data"]) - 1):
            frame = int(hits["frame_index"][place])
            expected = expected_frame(scanned["parameters"], frame)[0]
            np.testing.assert_array_equal(hits["data"][place], expected)
            np.testing.assert_array_equal(detector["data"][frame], expected)
        np.testing.assert_array_equal(file["entry_0000/peaks/nPeaks"][()], scanned["nb_peaks"])


def test_the_sparse_master_gives_the_frames_back(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    with fabio.open(scanned["files"]["sparse_frame"]) as sparse:
        assert sparse.nframes == FRAMES
        ends = np.cumsum(scanned["nb_sparse"])
        for frame in np.flatnonzero(true_hits)[[0, 1, -1]]:
            dense = sparse.getframe(int(frame)).data
            expected = expected_frame(scanned["parameters"], int(frame))[0]
            places = scanned["sparse_index"].ravel()[ends[frame - 1] if frame else 0 : ends[frame]]
            np.testing.assert_array_equal(dense.ravel()[places], expected.ravel()[places])
            rest = np.delete(np.arange(dense.size), places)
            difference = expected.ravel()[rest].astype(float) - dense.ravel()[rest]
            assert abs(difference.mean()) < 0.2
    with h5py.File(scanned["files"]["sparse_frame"]) as file:
        x = file["entry_0000/peaks/peakXPosRaw"][2]
        np.testing.assert_allclose(x[: scanned["nb_peaks"][2]], spots_of(scanned, 2)[:, 1])


def test_readers_tell_a_frame_that_was_not_saved_from_one_without_counts(scanned: dict[str, Any]) -> None:
    assert "frame 1 of simulator has no pixels (VETOED)" in scanned["refused"]
    np.testing.assert_array_equal(scanned["read_frame"], expected_frame(scanned["parameters"], 2)[0])
    np.testing.assert_allclose(scanned["read_spots"]["x"], spots_of(scanned, 2)[:, 1])


def test_the_session_can_try_other_thresholds_on_the_last_scan(scanned: dict[str, Any]) -> None:
    rows = [line.split() for line in scanned["tuned"].splitlines()]
    tried = {row[0]: row for row in rows if row and row[0] in ("4", "200")}
    assert int(tried["4"][2]) >= 20  # of 24 frames: the file has the hits and a few others
    assert tried["200"][2] == "0"


def test_accumulated_images_hold_all_frames(scanned: dict[str, Any]) -> None:
    with h5py.File(scanned["files"]["acc_peaks"]) as file:
        images = file["entry_0000/measurement/data"][()]
    assert images.shape == (8, 480, 512)  # every 250 frames of the detector: 125 of each receiver
    assert images[-2:].sum() == scanned["nb_peaks"].sum()
    with h5py.File(scanned["files"]["acc_corrected"]) as file:
        mean = file["entry_0000/measurement/data"][-2:].mean(axis=0)
    expected = np.mean([expected_frame(scanned["parameters"], index)[0] for index in range(IMAGES)], axis=0)
    assert np.abs(mean - expected).mean() < 0.02


def test_the_report_tells_hits_and_reduction(scanned: dict[str, Any], true_hits: np.ndarray) -> None:
    report = scanned["report"]
    assert f"{true_hits.sum()} hits" in report
    assert "times smaller" in report
