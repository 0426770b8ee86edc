"""What a scan tells of its detector: in the scan file, in scan_info, in the master files, and to the data policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.stack import Stack

pytestmark = pytest.mark.stack

PONI = """\
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05, "orientation": 3}
Distance: 0.1
Poni1: 0.0012
Poni2: 0.0018
Rot1: 0.01
Rot2: 0.002
Rot3: 0.3
Wavelength: 1e-10
"""

#: A session with the ESRF data policy whose catalogue asks the detector.
POLICY = """\
- class: Session
  name: catalogued
  config-objects: [sim1]
  scan_saving:
    class: ESRFScanSaving
    beamline: id00
    inhouse_data_root: {data}/inhouse
    visitor_data_root: {data}/visitor
    tmp_data_root: {data}/tmp
  icat-metadata:
    default:
      detector01: $sim1
"""

TREES = """
def tree(group):
    "Values of a group by path, attributes as path@name; text and numbers as JSON has them."
    found = {}
    def visit(path, item):
        for name, value in item.attrs.items():
            if name in ("units", "NX_class"):
                found[f"{path}@{name}"] = str(value)
        if isinstance(item, h5py.Dataset) and item.ndim < 2 and item.shape is not None:
            value = item[()]
            found[path] = value.decode() if isinstance(value, bytes) else (
                [v.decode() if isinstance(v, bytes) else v for v in value.tolist()] if item.ndim else value.item())
    visit("", group)
    group.visititems(visit)
    return found

def in_scan_file(scan, name):
    with h5py.File(scan.scan_info["filename"]) as file:
        return tree(file[f"{int(scan.scan_number)}.1/instrument/{name}"])

def in_master(path, name):
    with h5py.File(path) as file:
        told = tree(file[f"entry_0000/instrument/{name}"])
        told["wavelength"] = float(file["entry_0000/instrument/beam/incident_wavelength"][()])
        return told
"""

ONE = (
    TREES
    + """
from lima2_bliss.controller import Lima2Detector
clean(simulator)
node = dict(config.get_config("sim3").to_dict(resolve_references=False))
def given(**metadata):
    return {**node, "metadata": metadata}
say(unknown=failure(lambda: Lima2Detector(given(energy="$mono", poni=3, data=1))))
det = Lima2Detector(given(
    energy={"value": "$robx", "units": "keV"}, poni=data_path + "/a.poni", sensor_material="CdTe",
    stage={"x": "$robx", "y": {"value": 4, "units": "mm"}, "@NX_class": "NXpositioner"}, reading="$diode"))
clean(det); det.metadata.clear()
open(data_path + "/a.poni", "w").write(PONI)
np.save(data_path + "/mask.npy", np.pad(np.ones((2, 3), "u1"), ((0, 62), (0, 93))))
det.detector.update({"size.x": 96, "size.y": 64})
det.mask = data_path + "/mask.npy"
det.image.update({"binning": (2, 1), "flip": "left_right", "rotation": 90})
det.processing.accumulation = 2
det.roi_counters.set("box", (1, 2, 3, 4))
robx.move(12.5); roby.move(0)
say(added=[failure(lambda: det.metadata.add(*words)) for words in (
    ("sample.temperature", 77.5, "K"), ("sample.name", "lysozyme"), ("roby", roby), ("nowhere", "$robz"), ("a/b", 1),
    ("counts", 1), ("distance", 150, "inch"), ("distance", 150, "mm"), ("thing", object()), ("list", [1, "a"]))])
say(kept=det.metadata.added, table=det.metadata.__info__(), names=dir(det.metadata))
scan = loopscan(4, 0.01, det)
say(file=in_scan_file(scan, "sim3"), info=scan.scan_info["devices"], robx=robx.position, roby=roby.position)
say(master=in_master(det.last_outcome.files["frame"], "sim3"))
det.metadata.remove("sample.name"); det.metadata.remove("distance")
say(left=det.metadata.added, missing=failure(lambda: det.metadata.remove("sample.name")))
say(again=Lima2Detector(given()).metadata.added)
det.metadata.clear()
say(cleared=det.metadata.added, table_after=det.metadata.__info__())
clean(det)
det.roi_counters.clear()
robx.move(0)
"""
)

SMX = (
    TREES
    + """
det = sim1; clean(det)
det.detector.update({"size.x": 128, "size.y": 96, "generator.type": "diffraction", "nb_prefetch_frames": 4})
open(data_path + "/a.poni", "w").write(PONI)
det.processing.pipeline = "smx"
det.smx.update({"poni": data_path + "/a.poni", "bins": 20})
det.saving.file_exists_policy = "append"
scan = loopscan(5, 0.01, det)
say(file=in_scan_file(scan, "sim1"), files=sorted(det.last_outcome.files))
say(frame=in_master(det.last_outcome.files["frame"], "sim1"))
say(sparse=in_master(det.last_outcome.files["sparse_frame"], "sim1"))
# the data policy
det.roi_counters.set("box", (1, 2, 3, 4))
catalogued = config.get("catalogued")
catalogued.setup()
say(asked=catalogued.icat_metadata.get_metadata(), policy=catalogued.scan_saving.data_policy)
det.roi_counters.clear()
clean(det)
"""
)


def page() -> str:
    """What the page on metadata has one type."""
    text = (Path(__file__).parents[2] / "doc/how-to/metadata.md").read_text()
    (block,) = re.findall(r"<!-- run: bliss -->\n```python\n(.*?)```", text, re.S)
    return f"clean(simulator); simulator.metadata.clear()\n{block}\nsay(page=in_scan_file(scan, 'simulator'))\n"


@pytest.fixture(scope="module")
def policy_session(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The configuration has the session `catalogued`."""
    file = stack.config_dir / "sessions" / "catalogued.yml"
    file.write_text(POLICY.format(data=tmp_path_factory.mktemp("policy")))
    yield
    file.unlink()


def expected_centre() -> tuple[float, float]:
    """Where the beam meets the image of the first scan: column, row of the pixel."""
    raw = np.zeros((64, 96))
    column = (0.0018 - 0.1 * np.tan(0.01)) / 75e-6
    row = (0.0012 + 0.1 * np.tan(0.002) / np.cos(0.01)) / 75e-6
    raw[int(row), int(column)] = 1
    image = np.rot90(np.fliplr(raw.reshape(64, 48, 2).sum(2)), -1)
    ((row, column),) = np.argwhere(image)
    return int(column), int(row)


def test_a_scan_tells_all_that_is_known_of_its_detector(bliss_values: Callable[..., dict]) -> None:
    said = bliss_values(f"PONI = {PONI!r}\n{ONE}")
    assert said["unknown"][0] == "ParameterError"
    for words in ("'$mono': there is no object mono", "poni = 3 is no path", "data is written by the detector itself"):
        assert words in said["unknown"][1]

    # what a session can add
    faults = [(kind, text) for kind, text, _ in said["added"]]
    assert [kind for kind, _ in faults] == ["none"] * 3 + ["ParameterError"] * 4 + ["none"] + ["ParameterError"] * 2
    for place, words in (
        (3, "there is no object robz; like it: roby"),
        (4, "'a/b' is no name"),
        (5, "counts is written by the detector itself"),
        (6, "units 'inch' are not known; allowed: m, mm, cm"),
        (8, "without a name in this session"),
        (9, "give a text, a number, a list of these"),
    ):
        assert words in faults[place][1]
    assert said["kept"] == {
        "sample": {"temperature": {"value": 77.5, "units": "K"}, "name": "lysozyme"},
        "roby": "$roby",
        "distance": {"value": 150, "units": "mm"},
    }
    left = {"sample": {"temperature": {"value": 77.5, "units": "K"}}, "roby": "$roby"}
    assert said["left"] == said["again"] == left
    assert said["missing"][:2] == [
        "NotAvailableError",
        "sim3.metadata: 'sample.name' was not added; added are: roby, sample",
    ]
    assert said["cleared"] == {}

    # the table of the next scan
    table = {line.split()[0]: line.split()[1:] for line in said["table"].splitlines()[2:]}
    assert table["beam.incident_energy"] == ["12.5", "keV"]
    assert table["stage.x"] == ["12.5", "mm", "$robx"]
    assert table["distance"] == ["0.15", "m"]
    assert table["mask.masked_pixels"] == ["6"]
    assert "sample.temperature" not in said["table_after"]
    assert {"add", "added", "clear", "remove"} <= set(said["names"])

    # scan file, scan_info and master file say the same
    file, master = said["file"], said["master"]
    (info,) = [each["metadata"] for each in said["info"].values() if each["name"] == "sim3"]
    expected = {
        "description": "Simulator",
        "serial_number": "SIM-0001",
        "layout": "area",
        "sensor_material": "CdTe",
        "bit_depth_readout": 16,
        "saturation_value": 65535,
        "x_pixel_size": 75e-6,
        "y_pixel_size": 150e-6,
        "y_pixel_size@units": "m",
        "distance": 0.15,
        "distance@units": "m",
        "count_time": 0.01,
        "count_time@units": "s",
        "sub_exposure_time": 0.005,
        "number_of_cycles": 2,
        "acquisition_mode": "summed",
        "trigger_mode": "software",
        "frames_per_trigger": 1,
        "pixel_mask_applied": True,
        "flatfield_applied": False,
        "energy": 12.5,
        "energy@units": "keV",
        "roby": 0,
    }
    assert {key: info[key] for key in expected} == pytest.approx(expected)
    below = {
        "@NX_class": "NXdetector",
        "beam@NX_class": "NXbeam",
        "beam/incident_energy": 12.5,
        "beam/incident_energy@units": "keV",
        "beam/incident_wavelength@units": "m",
        "poni/rot3": 0.3,
        "poni/rot3@units": "rad",
        "poni/poni1": 0.0012,
        "mask/masked_pixels": 6,
        "stage@NX_class": "NXpositioner",
        "stage/x": said["robx"],
        "stage/x@units": "mm",
        "stage/y": 4,
        "sample/temperature": 77.5,
        "sample/temperature@units": "K",
        "sample/name": "lysozyme",
        "conditions/temperature@units": "degC",
    }
    for told in (file, master):
        assert {key: told[key] for key in expected | below} == pytest.approx(expected | below)
        assert (int(told["beam_center_x"]), int(told["beam_center_y"])) == expected_centre()
        assert told["beam_center_x@units"] == "pixel"
        assert isinstance(told["reading"], float)
    assert said["master"]["wavelength"] == pytest.approx(12.398419843e-10 / 12.5)
    assert file["geometry/rotation"] == master["image_transform/rotation"] == "90cw"
    assert file["software/bliss"].startswith("2.")
    assert master["software/lima2_bliss"]

    # exact counts of each receiver
    counts = {"received": [4, 2, 2], "processed": [2, 1, 1], "saved": [2, 1, 1], "lost": [0] * 3, "invalid": [0] * 3}
    for told, prefix in ((file, "acquisition/receivers"), (master, "receivers")):
        assert {name: told[f"{prefix}/{name}"] for name in counts} == counts
        assert told[f"{prefix}/name"][0].startswith("id00/limareceiver/sim3")
    assert file["acquisition/receivers/published"] == [2, 1, 1]
    assert file["acquisition/images_published"] == 4


def test_geometry_is_in_every_master_and_in_the_catalogue_of_the_data_policy(
    bliss_values: Callable[..., dict], policy_session: None
) -> None:
    said = bliss_values(f"PONI = {PONI!r}\n{SMX.replace('# the data policy', page())}")
    assert said["page"]["sample/temperature@units"] == "K"
    assert said["page"]["detector_stage/x@units"] == "mm"
    assert said["page"]["beam/incident_energy"] == pytest.approx(12.4)
    distance = 0.1 / (np.cos(0.01) * np.cos(0.002))
    assert set(said["files"]) == {"acc_corrected", "acc_peaks", "frame", "sparse_frame"}
    for told in (said["file"], said["frame"], said["sparse"]):
        assert told["distance"] == pytest.approx(distance)
        assert told["beam_center_x"] == pytest.approx((0.0018 - 0.1 * np.tan(0.01)) / 75e-6)
        assert told["beam/incident_wavelength"] == 1e-10
        assert told["poni/file"].endswith("/a.poni")
    assert said["frame"]["wavelength"] == said["sparse"]["wavelength"] == 1e-10
    assert said["file"]["hit_finding/min_spots"] > 0
    # units and names are those of the catalogue
    asked = {name.removeprefix("InstrumentDetector01"): value for name, value in said["asked"].items()}
    expected = {
        "_name": "sim1",
        "_description": "Simulator",
        "_layout": "area",
        "_x_pixel_size": 75,
        "_distance": distance,
        "_beam_center_x": 0.0018 - 0.1 * np.tan(0.01),
        "_saturation_value": 65535,
        "_pixel_mask_applied": False,
        "_preset_time": 0.01,
        "Rois_name": "box",
        "Rois_value": "box=1,2,3,4",
    }
    assert {key: asked[key] for key in expected} == pytest.approx(expected)
    assert said["policy"] == "ESRF"
