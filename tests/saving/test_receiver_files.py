"""Files of one receiver: names, extents, tree, holes, counts."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import FrameFlags, FrameMeta, SavingError, StateError

DETECTOR = "entry_0000/instrument/detector"
PIXELS = np.arange(30, dtype="uint16").reshape(1, 6, 5)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write(writer, count: int, first: int = 0) -> None:
    for local in range(first, first + count):
        writer.write(PIXELS + np.uint16(local), FrameMeta(2 * local, local, 1000 + local))


def test_every_file_is_full_but_the_last(saving, writer_of, tmp_path):
    writer = writer_of(saving, rank=3)
    write(writer, 10)
    writer.close()
    assert names(tmp_path) == ["scan_3_00000.h5", "scan_3_00001.h5", "scan_3_00002.h5"]
    lengths = []
    for number in range(3):
        with h5py.File(tmp_path / f"scan_3_{number:05d}.h5") as file:
            data = file[f"{DETECTOR}/data"]
            lengths.append(len(data))
            for place, pixels in enumerate(data):
                np.testing.assert_array_equal(pixels, PIXELS[0] + 4 * number + place)
    assert lengths == [4, 4, 2]
    assert (writer.saved, writer.complete) == (10, (3, 10))


def test_a_file_is_hidden_until_it_is_complete(saving, writer_of, tmp_path):
    writer = writer_of(saving)
    write(writer, 3)
    assert not list(tmp_path.glob("*.h5"))
    assert (writer.saved, writer.complete) == (3, (0, 0))
    write(writer, 1, first=3)
    assert names(tmp_path) == ["scan_0_00000.h5"]
    assert writer.complete == (1, 4)


def test_a_writer_without_frames_leaves_nothing(saving, writer_of, tmp_path):
    writer_of(saving).close()
    assert names(tmp_path) == []


def test_closing_twice_is_harmless_and_writing_after_it_is_refused(saving, writer_of):
    writer = writer_of(saving)
    write(writer, 1)
    writer.close()
    writer.close()
    with pytest.raises(StateError, match="closed"):
        write(writer, 1, first=1)


def test_a_hole_is_an_unwritten_chunk_with_a_flag(saving, writer_of, tmp_path):
    writer = writer_of(saving)
    write(writer, 1)
    writer.write(None, FrameMeta(2, 1, 0, FrameFlags.LOST | FrameFlags.OVERRUN))
    write(writer, 1, first=2)
    writer.close()
    assert writer.saved == 3
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        detector = file[DETECTOR]
        assert detector["data"].id.get_num_chunks() == 2
        assert detector["data"][1].max() == 0
        np.testing.assert_array_equal(detector["data"][2], PIXELS[0] + 2)
        assert detector["frame_flags"][:].tolist() == [0, 9, 0]
        assert detector["frame_index"][:].tolist() == [0, 2, 4]
        assert detector["timestamp"][:].tolist() == [1000, 0, 1002]
        assert detector["counts/nb_holes"][()] == 1
        assert [detector[name].dtype for name in ("frame_flags", "frame_index", "timestamp")] == ["u4", "i8", "i8"]


def test_a_file_of_holes_only_is_readable(saving, writer_of, tmp_path):
    writer = writer_of(saving)
    for local in range(2):
        writer.write(None, FrameMeta(local, local, 0, FrameFlags.LOST))
    writer.close()
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        assert file[f"{DETECTOR}/data"][:].tolist() == np.zeros((2, 6, 5)).tolist()


@pytest.mark.parametrize(
    ("channels", "dimensions", "shape"),
    [(1, "dim_3d_or_4d", (2, 6, 5)), (1, "dim_4d", (2, 1, 6, 5)), (3, "dim_3d_or_4d", (2, 3, 6, 5))],
)
def test_data_has_three_or_four_dimensions(saving, writer_of, tmp_path, channels, dimensions, shape):
    saving.nb_dimensions = dimensions
    frames = np.random.default_rng(0).integers(0, 9, (2, channels, 6, 5), dtype="int32")
    writer = writer_of(saving, (channels, 6, 5), "int32")
    for local, frame in enumerate(frames):
        writer.write(frame, FrameMeta(local, local))
    writer.close()
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        data = file["entry_0000/measurement/data"]
        assert (data.shape, data.chunks) == (shape, (1, *shape[1:]))
        np.testing.assert_array_equal(data[:], frames.reshape(shape))


@pytest.mark.parametrize("compression", ["none", "bshuf_lz4", "gzip", "zstd"])
def test_frames_that_are_views_are_saved_as_they_look(saving, writer_of, tmp_path, compression):
    saving.compression = compression
    turned = np.arange(30, dtype="uint16").reshape(1, 5, 6).transpose(0, 2, 1)
    writer = writer_of(saving, nb_compression_threads=2)
    writer.write(turned, FrameMeta(0, 0))
    writer.close()
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        np.testing.assert_array_equal(file[f"{DETECTOR}/data"][0], turned[0])


def test_the_tree_is_nexus_with_default_attributes(saving, writer_of, tmp_path):
    saving.nx_entry_name, saving.nx_instrument_name, saving.nx_detector_name = "e", "i", "d"
    writer = writer_of(saving)
    write(writer, 1)
    writer.close()
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        classes = {
            path: file[path].attrs["NX_class"] for path in ("/", "e", "e/i", "e/i/d", "e/i/d/plot", "e/measurement")
        }
        assert list(classes.values()) == ["NXroot", "NXentry", "NXinstrument", "NXdetector", "NXdata", "NXcollection"]
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        assert plot[plot.attrs["signal"]] == entry["measurement/data"] == file["e/i/d/data"]
        assert file["e/i/d/data"].attrs["interpretation"] == "image"
        assert file.attrs["file_name"] == "scan_0_00000.h5"


def test_a_file_tells_its_parameters_geometry_counts_and_software(saving, writer_of, tmp_path):
    writer = writer_of(saving, rank=2)
    write(writer, 6)
    writer.close()
    with h5py.File(tmp_path / "scan_2_00001.h5") as file:
        detector = file[DETECTOR]
        assert detector["params/acquisition/acq/expo_time"][()] == 1000
        assert json.loads(detector["params/processing_json"].asstr()[()])["statistics"]["rect_rois"][1] == {"x": 2}
        assert detector["params/processing/statistics/rect_rois/1/x"][()] == 2
        assert detector["transform/detector_shape"][:].tolist() == [6, 5]
        assert {name: value[()] for name, value in detector["counts"].items()} == {
            "file_number": 1,
            "first_local_frame": 4,
            "nb_frames": 2,
            "nb_holes": 0,
        }
        assert detector["receiver"][()] == 2
        assert detector["software/compression"].asstr()[()] == "bshuf_lz4"
        assert {"lima2_bliss", "h5py", "hdf5", "host", "created"} <= set(detector["software"])


def test_frame_index_can_be_left_out(saving, writer_of, tmp_path):
    saving.include_frame_idx = False
    writer = writer_of(saving)
    write(writer, 1)
    writer.close()
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        assert "frame_index" not in file[DETECTOR]


def test_a_frame_of_another_shape_or_type_is_refused(saving, writer_of):
    writer = writer_of(saving)
    with pytest.raises(SavingError, match=r"\(1, 2, 2\) uint16, but .* \(1, 6, 5\) uint16"):
        writer.write(np.zeros((1, 2, 2), "u2"), FrameMeta(0, 0))
    with pytest.raises(SavingError, match="float32"):
        writer.write(PIXELS.astype("f4"), FrameMeta(0, 0))


def test_a_frame_out_of_order_is_refused(saving, writer_of):
    writer = writer_of(saving)
    write(writer, 1)
    with pytest.raises(SavingError, match="local index 5, but 1 is the next"):
        writer.write(PIXELS, FrameMeta(5, 5))
