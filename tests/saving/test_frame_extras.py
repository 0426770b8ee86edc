"""What a source has of each frame beside the pixels stands in the files, row by row."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin, SavingError
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer, write_master

DETECTOR = "entry_0000/instrument/detector"
HEADER = np.dtype([("number", "<u8"), ("place", "<u2", 2), ("kind", "u1")])
INFO = FrameInfo(
    1,
    3,
    4,
    np.dtype("u2"),
    extras=(("header", HEADER, (2,)), ("mask", np.dtype("u1"), (2, 3)), ("count", np.dtype("<f4"), ())),
    notes=(("data", "as it came"), ("mask", "what came")),
)


def extras_of(index: int) -> dict[str, np.ndarray]:
    header = np.zeros(2, HEADER)
    header["number"] = [index + 1, index + 2]
    header["place"][1] = index, 7
    return {"header": header, "mask": np.full((2, 3), index % 255 + 1, "u1"), "count": np.array(index + 0.5, "f4")}


def pixels_of(index: int) -> np.ndarray:
    return np.full(INFO.shape, index + 1, "u2")


def save(saving: Saving, indices: list[int], rank: int = 0, holes=(), unseen=()) -> None:
    writer = make_writer(saving, INFO, rank, {}, safety_bytes=0)
    for local, index in enumerate(indices):
        flags = FrameFlags.VETOED if index in holes else FrameFlags.GOOD
        meta = FrameMeta(index, local, flags=flags, extras=None if index in unseen else extras_of(index))
        writer.write(None if index in holes else pixels_of(index), meta)
    writer.close()


@pytest.fixture
def saving(tmp_path: Path) -> Saving:
    return Saving(enabled=True, base_path=str(tmp_path), filename_prefix="scan", nb_frames_per_file=4)


def test_each_extra_is_a_dataset_with_a_row_per_frame_and_zeros_for_holes(saving, tmp_path):
    save(saving, [0, 1, 2, 3], holes={1}, unseen={2})
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        detector = file[DETECTOR]
        assert detector["header"].shape == (4, 2)
        assert detector["header"].dtype == HEADER
        assert detector["mask"].shape == (4, 2, 3)
        assert detector["count"].shape == (4,)
        for row in (0, 3):
            for name, value in extras_of(row).items():
                np.testing.assert_array_equal(detector[name][row], value)
        assert detector["header"][1:3].tobytes() == bytes(2 * 2 * HEADER.itemsize)
        assert not detector["mask"][1:3].any()
        assert list(detector.attrs["frame_extras"]) == ["header", "mask", "count"]
        assert detector["data"].attrs["description"] == "as it came"
        assert detector["mask"].attrs["description"] == "what came"
        assert "description" not in detector["header"].attrs


@settings(max_examples=30, deadline=None)
@given(receivers=st.integers(1, 3), block=st.sampled_from([1, 2, 3]), total=st.integers(1, 25), lost=st.integers(0, 3))
def test_a_master_has_the_extras_of_all_receivers_in_global_order(receivers, block, total, lost):
    dispatch = RoundRobin(receivers, block)
    counts = [dispatch.count(rank, total) for rank in range(receivers)]
    saved = [max(count - (rank == 0) * lost, 0) for rank, count in enumerate(counts)]
    with tempfile.TemporaryDirectory() as directory:
        saving = Saving(enabled=True, base_path=directory, filename_prefix="scan", nb_frames_per_file=4)
        for rank, count in enumerate(saved):
            save(saving, [dispatch.global_index(rank, local) for local in range(count)], rank)
        there = {dispatch.global_index(rank, local) for rank, count in enumerate(saved) for local in range(count)}
        path = write_master(MasterJob(saving=saving, counts=counts, block=block, shape=INFO.shape, dtype="uint16"))
        with h5py.File(path) as file:
            detector = file[DETECTOR]
            assert ("frame_extras" in detector.attrs) == bool(there)
            for name, *_ in INFO.extras if there else ():
                assert len(detector[name]) == total
                for index, row in enumerate(detector[name]):
                    expected = extras_of(index)[name].tobytes() if index in there else bytes(np.asarray(row).nbytes)
                    assert np.asarray(row).tobytes() == expected
            if there:
                assert detector["data"].attrs["description"] == "as it came"
                assert detector["mask"].attrs["description"] == "what came"


def test_long_tables_are_compressed_without_a_plugin(tmp_path):
    saving = Saving(enabled=True, base_path=str(tmp_path), filename_prefix="scan", nb_frames_per_file=10_000)
    save(saving, list(range(7000)))
    with h5py.File(tmp_path / "scan_0_00000.h5") as file:
        header, mask = file[DETECTOR]["header"], file[DETECTOR]["mask"]
        assert (header.compression, header.shuffle, mask.compression) == ("gzip", True, None)
        assert header.id.get_storage_size() < header.nbytes / 5
        np.testing.assert_array_equal(header["number"][:, 0], np.arange(7000) + 1)


def test_extras_other_than_announced_are_refused_by_name(saving):
    writer = make_writer(saving, INFO, 0, {}, safety_bytes=0)
    for wrong in ({}, {"mask": np.zeros((2, 4), "u1")}, {"mask": np.zeros((2, 3), "i1")}):
        others = {name: value for name, value in extras_of(0).items() if name != "mask"}
        with pytest.raises(SavingError, match="mask of frame 0"):
            writer.write(pixels_of(0), FrameMeta(0, 0, extras=others | wrong))
    writer.close()


def test_what_was_written_before_a_disk_was_full_keeps_its_extras(saving, small_disk):
    saving.base_path, saving.nb_frames_per_file, saving.compression = str(small_disk), 5000, "none"
    info = FrameInfo(1, 32, 32, np.dtype("u2"), INFO.extras)
    writer = make_writer(saving, info, 0, {}, safety_bytes=0)

    def write_all():
        for local in range(5000):
            writer.write(np.zeros(info.shape, "u2"), FrameMeta(local, local, extras=extras_of(local)))

    with pytest.raises(SavingError, match="No space left"):
        write_all()
    writer.close()
    with h5py.File(small_disk / "scan_0_00000.h5") as file:
        assert 1000 < writer.saved == len(file[DETECTOR]["header"])
        np.testing.assert_array_equal(file[DETECTOR]["header"]["number"][:, 0], np.arange(writer.saved) + 1)
