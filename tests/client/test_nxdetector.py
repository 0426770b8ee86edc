"""NXdetector fields that follow from parameters, and what of them stands in image files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.client.nxdetector import detector_fields, for_files, identity, timing
from lima2_bliss.contract import FileLayout
from lima2_receivers.saving.nexus import create_tree

INFO = {"plugin": "X", "model": "1M", "sn": "7", "pixel_size": {"x": 1e-4, "y": 2e-4}, "dimensions": {"x": 40, "y": 30}}
PONI = "Distance: 0.2\nPoni1: {y}\nPoni2: {x}\nRot1: 0\nRot2: 0\nRot3: 0\nWavelength: 2e-10\n"


def fields(directory: Path, column: float, row: float, **image: object) -> dict:
    path = directory / "a.poni"
    path.write_text(PONI.format(x=column * 1e-4, y=row * 2e-4))
    return detector_fields({"img": image}, {"fai": {"poni_path": str(path)}}, INFO)


@given(
    column=st.integers(0, 39),
    row=st.integers(0, 29),
    binning=st.sampled_from([(1, 1), (2, 1), (4, 3)]),
    flip=st.sampled_from(["none", "left_right", "up_down", "both"]),
    rotation=st.sampled_from(["none", "90cw", "180", "90ccw"]),
)
def test_the_beam_centre_follows_binning_flip_and_rotation(
    tmp_path_factory: pytest.TempPathFactory, column: int, row: int, binning: tuple, flip: str, rotation: str
) -> None:
    told = fields(
        tmp_path_factory.getbasetemp(),
        column + 0.5,
        row + 0.5,
        binning={"x": binning[0], "y": binning[1]},
        flip=flip,
        rotation=rotation,
    )
    image = np.zeros((30, 40))
    image[row, column] = 1
    image = image.reshape(30 // binning[1], binning[1], 40 // binning[0], binning[0]).sum((1, 3))
    image = np.fliplr(image) if flip in ("left_right", "both") else image
    image = np.flipud(image) if flip in ("up_down", "both") else image
    image = np.rot90(image, {"none": 0, "90cw": -1, "180": 2, "90ccw": 1}[rotation])
    ((y, x),) = np.argwhere(image)
    assert (int(told["beam_center_x"]), int(told["beam_center_y"])) == (x, y)
    sides = (1e-4 * binning[0], 2e-4 * binning[1])
    assert (told["x_pixel_size"], told["y_pixel_size"]) == pytest.approx(
        sides[::-1] if rotation.startswith("90") else sides
    )


def test_a_roi_moves_the_beam_centre(tmp_path: Path) -> None:
    told = fields(tmp_path, 20, 10, roi={"topleft": {"x": 5, "y": 4}, "dimensions": {"x": 10, "y": 8}})
    assert (told["beam_center_x"], told["beam_center_y"]) == pytest.approx((15, 6))
    assert told["beam"]["incident_energy"] == pytest.approx(12.398419843 / 2)


@pytest.mark.parametrize(
    ("trigger", "depth", "mode", "frame_time"),
    [
        ("internal", 1, None, 0.3),
        ("internal", 4, "summed", 1.2),
        ("external", 1, "triggered", None),
        ("gate", 1, "gated", None),
    ],
)
def test_times_are_those_of_an_image(trigger: str, depth: int, mode: str | None, frame_time: float | None) -> None:
    acq = {
        "expo_time": 200_000,
        "latency_time": 100_000,
        "trigger_mode": trigger,
        "nb_frames_per_trigger": 2 * depth,
    }
    told = timing(acq, depth)
    assert told["count_time"] == pytest.approx(0.2 * depth)
    assert told["number_of_cycles"] == depth
    assert told.get("acquisition_mode") == mode
    assert told.get("frame_time") == (None if frame_time is None else pytest.approx(frame_time))
    assert told.get("frames_per_trigger") == (None if trigger == "internal" else 2)


def test_a_detector_tells_more_of_itself() -> None:
    told = identity(INFO | {"nexus": {"sensor_material": "Si"}})
    assert told == {"description": "X 1M", "layout": "area", "serial_number": "7", "sensor_material": "Si"}
    assert identity({})["description"] == "unknown"


def test_raw_frames_have_no_beam_centre_and_nothing_stands_over_what_was_measured() -> None:
    told = {"@NX_class": "NXdetector", "beam_center_x": 1, "beam_center_x@units": "pixel", "data": 1, "type": "lima"}
    assert for_files(told) == {"beam_center_x": 1, "beam_center_x@units": "pixel"}
    assert for_files(told, raw=True) == {}


def test_units_and_classes_are_attributes_in_files(tmp_path: Path) -> None:
    tree = {
        "distance": 0.1,
        "distance@units": "m",
        "gone@units": "m",
        "beam": {"@NX_class": "NXbeam", "incident_energy": 12.4, "incident_energy@units": "keV"},
        "names": ["a", "b"],
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        detector = create_tree(file, FileLayout(tmp_path, "a", 1), "test", tree, {})
        assert detector["distance"].attrs["units"] == "m"
        assert detector["beam"].attrs["NX_class"] == "NXbeam"
        assert detector.parent["beam/incident_energy"].attrs["units"] == "keV"
        assert [name.decode() for name in detector["names"]] == ["a", "b"]
        assert "gone" not in detector
