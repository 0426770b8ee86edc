"""Correction maps from files, and what a user reads when a file is not a map."""

import os

import fabio
import h5py
import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_receivers.pipelines.maps import load_map

PIXELS = np.arange(12, dtype="u2").reshape(3, 4)
INFO = FrameInfo(1, 3, 4, np.dtype("u2"))


def refused(source, info=INFO) -> str:
    with pytest.raises(ParameterError) as caught:
        load_map(str(source), info, "mask.path")
    return caught.value.what


@pytest.fixture
def two_images(tmp_path):
    path = tmp_path / "maps.h5"
    with h5py.File(path, "w") as file:
        file["entry/mask"] = PIXELS
        file["entry/flat"] = PIXELS.astype("f4")
        file["entry/number"] = 1.0
        file["entry/text"] = "mask"
    return path


def test_hdf5_with_a_path(two_images):
    np.testing.assert_array_equal(load_map(f"{two_images}::/entry/mask", INFO, "mask"), PIXELS[None])


def test_hdf5_with_one_image_needs_no_path(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["deep/in/it"] = PIXELS
        file["text"] = "other"
    np.testing.assert_array_equal(load_map(str(tmp_path / "one.h5"), INFO, "mask"), PIXELS[None])


def test_hdf5_with_several_images_asks_for_a_path(two_images):
    text = refused(two_images)
    assert "maps.h5::/entry/" in text
    assert "2 image datasets" in text


def test_a_missing_dataset_lists_those_that_are_there(two_images):
    text = refused(f"{two_images}::/entry/dark")
    assert "no dataset /entry/dark" in text
    assert "/entry/mask" in text
    assert "no dataset /entry;" in refused(f"{two_images}::/entry")


@pytest.mark.parametrize("suffix", ["npy", "edf", "tif"])
def test_other_formats(tmp_path, suffix):
    path = tmp_path / f"map.{suffix}"
    if suffix == "npy":
        np.save(path, PIXELS)
    else:
        image = fabio.edfimage.EdfImage(PIXELS) if suffix == "edf" else fabio.tifimage.TifImage(PIXELS)
        image.write(str(path))
    np.testing.assert_array_equal(load_map(str(path), INFO, "flat"), PIXELS[None])
    assert "leave it out" in refused(f"{path}::/entry")


def test_a_missing_file_and_an_unknown_type_are_named(tmp_path):
    assert f"mask.path: there is no file {tmp_path}/none.h5" in refused(tmp_path / "none.h5")
    (tmp_path / "map.jpg").write_bytes(b"x")
    assert "unknown file type '.jpg'" in refused(tmp_path / "map.jpg")


@pytest.mark.parametrize("suffix", ["h5", "npy", "edf", "tif"])
@pytest.mark.parametrize("content", [b"", b"not a map at all"], ids=["empty", "text"])
def test_a_damaged_file_is_a_clear_error(tmp_path, suffix, content):
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    assert f"mask.path: {path}" in refused(path)


def test_a_directory_is_no_map(tmp_path):
    (tmp_path / "folder.h5").mkdir()
    assert "folder.h5" in refused(tmp_path / "folder.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "map.npy"
    np.save(path, PIXELS)
    path.chmod(0)
    assert "no permission" in refused(path)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "objects.npy" in refused(path)


@pytest.mark.parametrize("dtype", ["c8", "U3"])
def test_a_map_is_numbers(tmp_path, dtype):
    np.save(tmp_path / "map.npy", np.zeros((3, 4), dtype))
    assert "a map holds integers, floats or booleans" in refused(tmp_path / "map.npy")


def test_shapes_that_do_not_fit_are_named(tmp_path):
    np.save(tmp_path / "map.npy", np.zeros((4, 3)))
    text = refused(tmp_path / "map.npy")
    assert "(4, 3)" in text
    assert "(3, 4)" in text
    np.save(tmp_path / "line.npy", np.zeros(12))
    assert "(12,)" in refused(tmp_path / "line.npy")


def test_several_channels_take_one_map_for_all_or_one_each(tmp_path):
    info = FrameInfo(2, 3, 4, np.dtype("u2"))
    np.save(tmp_path / "one.npy", PIXELS)
    np.save(tmp_path / "each.npy", np.stack([PIXELS, PIXELS]))
    np.save(tmp_path / "three.npy", np.stack([PIXELS] * 3))
    assert load_map(str(tmp_path / "one.npy"), info, "dark").shape == (1, 3, 4)
    assert load_map(str(tmp_path / "each.npy"), info, "dark").shape == (2, 3, 4)
    assert "(2, 3, 4)" in refused(tmp_path / "three.npy", info)


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "map.npy"
    np.save(path, PIXELS)
    first = load_map(str(path), INFO, "dark")
    assert load_map(str(path), INFO, "dark").base is first.base
    np.save(path, PIXELS + 1)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(load_map(str(path), INFO, "dark"), PIXELS[None] + 1)
