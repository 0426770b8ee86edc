"""A master file shows the frames of all receivers in global order, whatever each of them saved."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import FrameInfo, FrameMeta, RoundRobin, SavingError
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer, write_master
from lima2_receivers.saving.master_runs import file_runs

DETECTOR = "entry_0000/instrument/detector"
LOST = 1


def frame_of(index: int, shape: tuple[int, int, int] = (1, 3, 4)) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype="uint16").reshape(shape) + 7 * index + 1).astype("uint16")


def save_receiver(saving: Saving, rank: int, count: int, dispatch: RoundRobin, shape=(1, 3, 4)) -> None:
    writer = make_writer(saving, FrameInfo(*shape, np.dtype("u2")), rank, {}, safety_bytes=0)
    for local in range(count):
        index = dispatch.global_index(rank, local)
        writer.write(frame_of(index, shape), FrameMeta(index, local, 1000 + index))
    writer.close()


def job_of(saving: Saving, counts: list[int], block: int = 1, shape=(1, 3, 4), **more) -> MasterJob:
    return MasterJob(saving=saving, counts=counts, block=block, shape=shape, dtype="uint16", **more)


def saving_in(directory: str | Path, frames_per_file: int = 4, **more) -> Saving:
    return Saving(
        enabled=True, base_path=str(directory), filename_prefix="scan", nb_frames_per_file=frames_per_file, **more
    )


@settings(max_examples=60, deadline=None)
@given(
    receivers=st.integers(1, 4),
    block=st.sampled_from([1, 1, 2, 3, 5]),
    total=st.integers(0, 45),
    frames_per_file=st.integers(1, 12),
)
def test_frame_i_of_the_master_is_frame_i_of_the_acquisition(receivers, block, total, frames_per_file):
    dispatch = RoundRobin(receivers, block)
    counts = [dispatch.count(rank, total) for rank in range(receivers)]
    with tempfile.TemporaryDirectory() as directory:
        saving = saving_in(directory, frames_per_file)
        for rank, count in enumerate(counts):
            save_receiver(saving, rank, count, dispatch)
        with h5py.File(write_master(job_of(saving, counts, block))) as file:
            detector = file[DETECTOR]
            assert detector["data"].shape == (total, 3, 4)
            expected = np.array([frame_of(index)[0] for index in range(total)], "uint16").reshape(total, 3, 4)
            np.testing.assert_array_equal(detector["data"][:], expected)
            assert detector["frame_index"][:].tolist() == list(range(total))
            assert detector["timestamp"][:].tolist() == [1000 + index for index in range(total)]
            assert not detector["frame_flags"][:].any()


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    receivers=st.integers(1, 4),
    block=st.sampled_from([1, 1, 2, 3]),
    frames_per_file=st.integers(1, 8),
)
def test_frames_that_a_receiver_did_not_save_are_holes_and_the_rest_is_exact(data, receivers, block, frames_per_file):
    """Whatever was announced (counts) and whatever is on disk (saved): never unreadable."""
    dispatch = RoundRobin(receivers, block)
    counts = data.draw(st.lists(st.integers(0, 15), min_size=receivers, max_size=receivers))
    saved = [data.draw(st.integers(0, count)) for count in counts]
    with tempfile.TemporaryDirectory() as directory:
        saving = saving_in(directory, frames_per_file)
        for rank, count in enumerate(saved):
            save_receiver(saving, rank, count, dispatch)
        there = {dispatch.global_index(rank, local) for rank, count in enumerate(saved) for local in range(count)}
        total = max(
            (dispatch.global_index(rank, count - 1) + 1 for rank, count in enumerate(counts) if count), default=0
        )
        with h5py.File(write_master(job_of(saving, counts, block))) as file:
            detector = file[DETECTOR]
            frames, flags, index = (detector[name][:] for name in ("data", "frame_flags", "frame_index"))
            assert len(frames) == len(flags) == len(index) == total
            for place in range(total):
                if place in there:
                    np.testing.assert_array_equal(frames[place], frame_of(place)[0])
                    assert (flags[place], index[place]) == (0, place)
                else:
                    assert (frames[place].max(), flags[place], index[place]) == (0, LOST, -1)


@given(
    receivers=st.integers(1, 5),
    block=st.integers(1, 6),
    begin=st.integers(0, 40),
    length=st.integers(0, 40),
    data=st.data(),
)
def test_runs_cover_each_frame_of_a_file_once(receivers, block, begin, length, data):
    dispatch = RoundRobin(receivers, block)
    rank = data.draw(st.integers(0, receivers - 1))
    runs = list(file_runs(dispatch, rank, begin, begin + length))
    covered = [
        (local + group * size + within, target + group * stride + within)
        for local, target, count, stride, size in runs
        for group in range(count)
        for within in range(size)
    ]
    assert covered == [(local, dispatch.global_index(rank, local)) for local in range(begin, begin + length)]
    assert len(runs) <= (1 if block == 1 else 3)


def test_there_is_one_mapping_for_each_receiver_file(tmp_path):
    saving = saving_in(tmp_path, 10)
    for rank in range(2):
        save_receiver(saving, rank, 25, RoundRobin(2))
    with h5py.File(write_master(job_of(saving, [25, 25]))) as file:
        sources = file[f"{DETECTOR}/data"].virtual_sources()
        assert [source.file_name for source in sources] == [
            f"scan_{rank}_0000{n}.h5" for rank in (0, 1) for n in range(3)
        ]


def test_the_files_may_be_moved_together(tmp_path):
    (tmp_path / "here").mkdir()
    saving = saving_in(tmp_path / "here")
    save_receiver(saving, 0, 6, RoundRobin())
    path = write_master(job_of(saving, [6]))
    (tmp_path / "here").rename(tmp_path / "there")
    with h5py.File(tmp_path / "there" / path.name) as file:
        np.testing.assert_array_equal(file[f"{DETECTOR}/data"][5], frame_of(5)[0])


@pytest.mark.parametrize(
    ("channels", "dimensions", "ndim"), [(1, "dim_3d_or_4d", 3), (1, "dim_4d", 4), (2, "dim_3d_or_4d", 4)]
)
def test_the_master_has_the_dimensions_of_its_files(tmp_path, channels, dimensions, ndim):
    saving, shape = saving_in(tmp_path, nb_dimensions=dimensions), (channels, 3, 4)
    for rank in range(2):
        save_receiver(saving, rank, 5, RoundRobin(2), shape)
    with h5py.File(write_master(job_of(saving, [5, 5], shape=shape))) as file:
        data = file["entry_0000/measurement/data"]
        assert data.ndim == ndim
        for index in range(10):
            np.testing.assert_array_equal(data[index].reshape(shape), frame_of(index, shape))


def test_frames_are_linked_where_plots_and_lima_clients_look(tmp_path):
    saving = saving_in(tmp_path)
    save_receiver(saving, 0, 5, RoundRobin())
    metadata = {
        "acquisition": {"acq": {"nb_frames": 5}},
        "detector_information": {"plugin": "simulator", "nothing": None, "pixel_size": [1e-4, 1e-4]},
        "mask": np.eye(3),
        "params": {"calibration": {"wavelength": 1e-10}},
    }
    with h5py.File(write_master(job_of(saving, [5], metadata=metadata))) as file:
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        detector = file[DETECTOR]
        assert plot[plot.attrs["signal"]] == entry["measurement/data"] == detector["data"]
        assert detector["data"].attrs["interpretation"] == "image"
        assert [item.attrs["NX_class"] for item in (file, entry, detector.parent, detector, plot)] == [
            "NXroot",
            "NXentry",
            "NXinstrument",
            "NXdetector",
            "NXdata",
        ]
        assert detector["params/acquisition/acq/nb_frames"][()] == 5
        assert detector["params/calibration/wavelength"][()] == 1e-10
        assert detector["detector_information/nothing"].shape is None
        np.testing.assert_array_equal(detector["mask"][:], np.eye(3))
        assert detector["counts/contiguous"][()] == 5
        assert detector["dispatch/topology"].asstr()[()] == "single"


def test_an_unreadable_receiver_file_is_left_out(tmp_path):
    saving = saving_in(tmp_path)
    for rank in range(2):
        save_receiver(saving, rank, 3, RoundRobin(2))
    (tmp_path / "scan_1_00000.h5").write_bytes(b"broken")
    with h5py.File(write_master(job_of(saving, [3, 3]))) as file:
        assert file[f"{DETECTOR}/frame_flags"][:].tolist() == [0, LOST, 0, LOST, 0, LOST]
        np.testing.assert_array_equal(file[f"{DETECTOR}/data"][4], frame_of(4)[0])


def test_a_master_is_replaced_only_by_policy_overwrite(tmp_path):
    saving = saving_in(tmp_path)
    save_receiver(saving, 0, 2, RoundRobin())
    path = write_master(job_of(saving, [2]))
    with pytest.raises(SavingError, match=r"scan_master\.h5 exists already"):
        write_master(job_of(saving, [2]))
    again = saving.model_copy(update={"file_exists_policy": "overwrite"})
    assert write_master(job_of(again, [1])) == path
    with h5py.File(path) as file:
        assert len(file[f"{DETECTOR}/data"]) == 1
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


def test_a_master_of_a_missing_directory_is_a_clear_error(tmp_path):
    with pytest.raises(SavingError, match="does not exist"):
        write_master(job_of(saving_in(tmp_path / "nowhere"), [2]))
