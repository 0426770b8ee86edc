"""Scans with the SMX pipeline: hits as the simulator made them, spots, files, and what is refused beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_receivers.detectors.simulator import SimulatorParameters, truth

pytestmark = pytest.mark.stack

FRAMES = 40
SIDE = 512
DETECTOR = {
    "size": {"x": SIDE, "y": SIDE},
    "nb_prefetch_frames": 20,
    "generator": {"type": "diffraction", "diffraction": {"hit_rate": 0.4}},
}
#: The simulator's beam is in the middle, its pixels are 75 um wide; pyFAI counts from the pixels' edges.
PONI = """\
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05, "max_shape": [512, 512], "orientation": 3}
Distance: 0.1
Poni1: 0.0192
Poni2: 0.0192
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 1e-10
"""

#: A detector that diffracts, and its geometry; `read(scan, name)` is a stream of the detector.
SETUP = f"""
det = simulator; clean(det); clean(sim1)
det.detector.update({{"size.x": {SIDE}, "size.y": {SIDE}, "nb_prefetch_frames": 20,
                      "generator.type": "diffraction", "generator.diffraction.hit_rate": 0.4}})
poni = data_path + "/geometry.poni"
with open(poni, "w") as file:
    file.write({PONI!r})
det.processing.pipeline = "smx"
det.smx.update({{"poni": poni, "bins": 200, "backend": "cpu", "accumulated_every": 10}})

def read(scan, name):
    return scan.streams["simulator:" + name][:]
"""


def hits(frames: int = FRAMES) -> list[bool]:
    parameters = SimulatorParameters.model_validate({"det": DETECTOR})
    return [truth(parameters, index).hit for index in range(frames)]


def test_a_scan_finds_the_hits_that_are_there(bliss_values):
    said = bliss_values(
        SETUP
        + f"""
det.roi_counters.set("middle", (200, 200, 100, 100))
ct(0.01, det)
scan = det.take({FRAMES}, 0.01)
counts, spots = read(scan, "nb_peaks"), read(scan, "spots_frame").reshape(-1)
say(is_hit=read(scan, "is_hit").tolist(), nb_peaks=counts.tolist(), nb_sparse=read(scan, "nb_sparse").tolist(),
    counted=bool((np.bincount(spots, minlength={FRAMES}) == counts).all()),
    pixels=len(scan.streams["simulator:sparse_index"]), background=list(read(scan, "background_avg").shape),
    deviation=len(scan.streams["simulator:background_std"]), rate=float(read(scan, "hit_rate")[-1]),
    peaks=float(read(scan, "acc_peaks")[-1].sum()), middle=len(scan.streams["simulator:middle_sum"]),
    measured=measurement(scan), files={{name: str(path) for name, path in det.last_outcome.files.items()}},
    hits=det.last_outcome.hits.hits, info=det.__info__())
with h5py.File(scan.scan_info["filename"]) as file:
    group = file[f"{{int(scan.scan_number)}}.1/instrument/simulator"]
    say(beam=[float(group["beam_center_x"][()]), float(group["distance"][()])],
        min_spots=int(group["hit_finding/min_spots"][()]))
det.processing.pipeline = "legacy"
scan = loopscan(3, 0.01, det)
say(legacy=sorted(streams(scan)))
clean(det)
""",
        timeout_s=180,
    )
    wanted = hits()
    assert [bool(hit) for hit in said["is_hit"]] == wanted
    assert all((count >= 10) == hit for count, hit in zip(said["nb_peaks"], wanted, strict=True))
    assert said["hits"] == sum(wanted)
    assert said["counted"]
    assert said["pixels"] == sum(said["nb_sparse"])
    assert said["background"] == [FRAMES, 200]
    assert said["deviation"] == said["middle"] == FRAMES
    assert said["peaks"] == sum(said["nb_peaks"])
    assert 0.2 < said["rate"] < 0.6
    # one value per frame in the file; neither spots nor pixels nor previews
    measured = said["measured"]
    assert measured["simulator"] == [FRAMES, SIDE, SIDE]
    assert measured["simulator_background_avg"] == [FRAMES, 200]
    assert measured["simulator_nb_peaks"] == [FRAMES]
    unseen = {"background_std", "spots_x", "sparse_index", "acc_peaks", "acc_corrected", "preview"}
    assert not {f"simulator_{name}" for name in unseen} & set(measured)
    assert set(said["files"]) == {"frame", "sparse_frame", "acc_corrected", "acc_peaks"}
    assert all(path.endswith(f"simulator_{name}_master.h5") for name, path in said["files"].items())
    assert f"{sum(wanted)} hits (40.0%)" in said["info"]
    assert "pipeline smx" in said["info"]
    assert said["beam"] == pytest.approx([256, 0.1])
    assert said["min_spots"] == 10
    assert not {"simulator:nb_peaks", "simulator:acc_peaks"} & set(said["legacy"])
    assert "simulator:middle_sum" in said["legacy"]


def test_frames_without_hit_are_holes_and_the_others_keep_their_places(bliss_values):
    said = bliss_values(
        SETUP
        + f"""
from pathlib import Path
det.smx.update({{"save_dense": "hits", "save_accumulated": False}})
scan = det.take({FRAMES}, 0.01)
with h5py.File(det.last_outcome.files["frame"]) as file:
    group = file["entry_0000/instrument/simulator"]
    said = group["data"][:].reshape({FRAMES}, -1).sum(axis=1)
    say(flags=group["frame_flags"][:].tolist(), is_hit=group["is_hit"][:].tolist(),
        written=[bool(total) for total in said])
with h5py.File(scan.scan_info["filename"]) as file:
    images = file[f"{{int(scan.scan_number)}}.1/instrument/simulator/image"][:]
say(image=list(images.shape), sums=bool((images.reshape({FRAMES}, -1).sum(axis=1) == said).all()))
say(files=sorted(det.last_outcome.files), info=det.__info__())

before = {{path for path in Path(data_path).rglob("*.h5")}}
scan = loopscan(4, 0.01, det, save=False)
say(new=[str(path) for path in set(Path(data_path).rglob("*.h5")) - before], step=len(read(scan, "is_hit")))
clean(det)
""",
        timeout_s=180,
    )
    wanted = hits()
    assert said["written"] == wanted
    assert [bool(hit) for hit in said["is_hit"]] == wanted
    assert [flag == 16 for flag in said["flags"]] == [not hit for hit in wanted]
    assert said["image"] == [FRAMES, SIDE, SIDE]
    assert said["sums"]
    assert said["files"] == ["frame", "sparse_frame"]
    assert f"not to be saved: {wanted.count(False)} of frame" in said["info"]
    assert said["new"] == []
    assert said["step"] == 4


def test_what_cannot_be_processed_is_told_before_the_scan_starts(bliss_values):
    said = bliss_values(
        SETUP
        + """
def numbered():
    return session.scans[-1].scan_number if session.scans else None

det.image.binning = 2
det.processing.accumulation = 3
say(image=failure(lambda: det.take(2, 0.01)))
det.image.reset(); det.processing.accumulation = 1
det.smx.poni = None
say(geometry=failure(lambda: loopscan(2, 0.01, det)))
other = data_path + "/other.poni"
with open(poni) as file, open(other, "w") as copy:
    copy.write(file.read().replace("[512, 512]", "[300, 400]"))
det.smx.poni = other
say(size=failure(lambda: det.take(2, 0.01)))
det.smx.poni = data_path + "/missing.poni"
say(missing=failure(lambda: det.take(2, 0.01)), started=str(numbered()))
det.smx.poni = poni
det.detector["size.x"] = 256
say(smaller=failure(lambda: det.take(2, 0.01)), states=[state.name for state in det.device_states().values()])
det.detector["size.x"] = 512
say(after=len(read(det.take(2, 0.01, save=False), "is_hit")))
clean(det)
""",
        timeout_s=120,
    )
    assert said["image"][:2] == [
        "ParameterError",
        "simulator: image.binning = (2, 2), processing.accumulation = 3 cannot be used with pipeline smx, which works"
        " on each full raw frame; set back or choose processing.pipeline = 'legacy'",
    ]
    assert "smx.poni is not set" in said["geometry"][1]
    for word, name in (("size", "300"), ("missing", "missing.poni"), ("smaller", "256")):
        kind, text, seconds = said[word]
        assert kind == "ParameterError"
        assert name in text
        assert seconds < 5
    assert said["started"] == "None"
    assert set(said["states"]) == {"IDLE"}
    assert said["after"] == 2


def test_ready_arrays_give_the_same_hits_as_the_poni_file(bliss_values, tmp_path):
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    radius = np.hypot(x, y) * 75e-6
    edges = np.linspace(0, radius.max() * (1 + 1e-6), 101)
    bins = np.clip(np.searchsorted(edges, radius.reshape(-1), side="right") - 1, 0, 99)
    order = np.argsort(bins, kind="stable")
    np.save(tmp_path / "radius2d.npy", radius.astype(np.float32))
    np.save(tmp_path / "radius1d.npy", ((edges[1:] + edges[:-1]) / 2).astype(np.float32))
    np.savez(tmp_path / "csr.npz", order=order, counts=np.bincount(bins, minlength=100))
    said = bliss_values(
        SETUP
        + """
made = np.load(data_path + "/csr.npz")
with h5py.File(data_path + "/csr.h5", "w") as file:
    file["data"] = np.ones(len(made["order"]), "f4")
    file["indices"] = made["order"].astype("i4")
    file["indptr"] = np.concatenate([[0], np.cumsum(made["counts"])]).astype("i4")
arrays = {"csr": data_path + "/csr.h5"}
arrays |= {name: f"{data_path}/{name}.npy" for name in ("radius1d", "radius2d")}
det.smx.update({"poni": None, "arrays": arrays})
scan = det.take(20, 0.01, save=False)
say(is_hit=read(scan, "is_hit").tolist(), background=list(read(scan, "background_avg").shape))
clean(det)
""",
        timeout_s=120,
    )
    assert [bool(hit) for hit in said["is_hit"]] == hits(20)
    assert said["background"] == [20, 100]
