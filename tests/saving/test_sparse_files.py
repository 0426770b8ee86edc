"""Sparse receiver files and their masters give every frame back, in order."""

from __future__ import annotations

import json
import shutil
import tempfile

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_frames import (
    NB_BINS,
    assert_same,
    info_of,
    job_of,
    meta_of,
    radius_of_pixels,
    random_frame,
    save_frames,
    saving_in,
)

from lima2_bliss.contract import FrameFlags, NotAvailableError, RoundRobin, SavingError, SparseFrame
from lima2_receivers.saving import appended_rows, make_writer, open_sparse, virtual, write_master

DETECTOR = "entry_0000/instrument/detector"
SPARSE = "entry_0000/sparse_frames"
PEAKS = "entry_0000/peaks"
VETOED = int(FrameFlags.VETOED)


@settings(max_examples=40, deadline=None)
@given(
    receivers=st.integers(1, 3),
    block=st.sampled_from([1, 1, 1, 2, 3]),
    frames_per_file=st.integers(1, 9),
    seeds=st.lists(st.one_of(st.none(), st.integers(0, 999)), max_size=25),
    chunk_bytes=st.sampled_from([64, 300, 262144]),
    pieces=st.integers(1, 5),
    single=st.sampled_from([0, 10]),
    dtype=st.sampled_from(["u2", "i4", "f4"]),
    compression=st.sampled_from(["none", "bshuf_lz4", "gzip", "zstd"]),
)
def test_a_master_gives_every_frame_back_in_order(
    receivers, block, frames_per_file, seeds, chunk_bytes, pieces, dtype, compression, single
):
    """Whatever the sizes of files, chunks and mappings; None is a vetoed frame."""
    frames = [None if seed is None else random_frame(seed, dtype) for seed in seeds]
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(appended_rows, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(virtual, "PIECES_OF_MAPPING", pieces)
        patch.setattr(virtual, "SINGLE_PIECES", single)
        saving = saving_in(directory, frames_per_file, compression=compression)
        counts = save_frames(saving, frames, RoundRobin(receivers, block), info_of(dtype))
        path = write_master(job_of(saving, counts, dtype, block=block))
        if not frames:
            return
        with open_sparse(path) as got:
            assert len(got) == len(frames)
            for frame, expected in zip(got, frames, strict=True):
                assert_same(frame, expected)
            assert got.frame_index.tolist() == list(range(len(frames)))
            assert got.flags.tolist() == [VETOED * (frame is None) for frame in frames]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), receivers=st.integers(1, 3), frames_per_file=st.integers(1, 6))
def test_frames_that_a_receiver_did_not_save_are_marked_and_the_rest_is_exact(data, receivers, frames_per_file):
    dispatch = RoundRobin(receivers)
    announced = data.draw(st.lists(st.integers(0, 9), min_size=receivers, max_size=receivers))
    saved = [data.draw(st.integers(0, count)) for count in announced]
    with tempfile.TemporaryDirectory() as directory:
        saving = saving_in(directory, frames_per_file)
        for rank, count in enumerate(saved):
            writer = make_writer(saving, info_of(), rank, {}, safety_bytes=0)
            for local in range(count):
                index = dispatch.global_index(rank, local)
                writer.write(random_frame(index), meta_of(index, local, random_frame(index)))
            writer.close()
        there = {dispatch.global_index(rank, local) for rank, count in enumerate(saved) for local in range(count)}
        path = write_master(job_of(saving, announced))
        if not there:
            return
        with open_sparse(path) as got:
            for place, frame in enumerate(got):
                assert_same(frame, random_frame(place) if place in there else None)
                assert got.flags[place] == (0 if place in there else FrameFlags.LOST)
        with h5py.File(path) as file:
            counts = file[f"{DETECTOR}/counts"]
            assert counts["nb_mapped"][()] == len(there)
            assert counts["nb_holes"][()] == len(got) - len(there)
            lost = [place for place in range(len(got)) if place not in there]
            assert np.isnan(file[f"{SPARSE}/background_avg"][:][lost]).all()


def test_a_receiver_file_has_the_layout_of_sparse_files(tmp_path):
    frames = [random_frame(seed) for seed in range(3)]
    normalization = np.full(radius_of_pixels().shape, 2, "f4")
    info = info_of(normalization=normalization, dummy=7)
    save_frames(saving_in(tmp_path, 10), frames, RoundRobin(), info)
    with h5py.File(tmp_path / "sparse_0_00000.h5") as file:
        group = file[SPARSE]
        types = {name: group[name].dtype for name in ("index", "intensity", "radius", "mask", "background_avg")}
        assert types == {"index": "u4", "intensity": "u2", "radius": "f4", "mask": "f4", "background_avg": "f4"}
        lengths = [len(frame.index) for frame in frames]
        assert group["frame_ptr"][:].tolist() == np.cumsum([0, *lengths]).tolist()
        assert len(group["index"]) == sum(lengths)
        np.testing.assert_array_equal(group["mask"][:], radius_of_pixels())
        np.testing.assert_array_equal(group["normalization"][:], normalization)
        assert group["errors"] == group["background_std"]
        assert (group["dummy"][()], group["radius"].attrs["unit"]) == (7, "r_m")
        assert file["entry_0000"].attrs["default"] == "sparse_frames"
        assert json.loads(file["entry_0000/sparsify/configuration/data"].asstr()[()])["sparsify"]["peaks"]
        detector = file[DETECTOR]
        assert detector["is_hit"][:].tolist() == [0, 1, 1]
        assert detector["is_hit"].dtype == "u1"
        assert {name: value[()] for name, value in detector["counts"].items()} == {
            "file_number": 0,
            "first_local_frame": 0,
            "nb_frames": 3,
            "nb_hits": 2,
            "nb_holes": 0,
            "nb_vetoed": 0,
        }


def test_a_hit_is_taken_from_the_frame_when_its_description_does_not_tell(tmp_path):
    writer = make_writer(saving_in(tmp_path), info_of(), 0, {}, safety_bytes=0)
    meta = meta_of(0, 0, None)
    writer.write(random_frame(1), meta)
    writer.close()
    with open_sparse(tmp_path / "sparse_0_00000.h5") as frames:
        assert frames.is_hit.tolist() == [1]


def test_a_vetoed_frame_is_an_empty_row_and_never_looks_like_zeros(tmp_path):
    frames = [random_frame(1), None, random_frame(2)]
    save_frames(saving_in(tmp_path), frames, RoundRobin(), info_of())
    with h5py.File(tmp_path / "sparse_0_00000.h5") as file:
        group = file[SPARSE]
        assert np.diff(group["frame_ptr"][:])[1] == 0
        assert np.isnan(group["background_avg"][1]).all()
        assert np.isnan(group["background_std"][1]).all()
        assert file[f"{PEAKS}/nPeaks"][1] == 0
        assert file[f"{DETECTOR}/frame_flags"][:].tolist() == [0, VETOED, 0]
        assert file[f"{DETECTOR}/counts/nb_vetoed"][()] == file[f"{DETECTOR}/counts/nb_holes"][()] == 1


def test_a_file_is_hidden_until_it_is_complete_and_counts_go_with_it(tmp_path):
    writer = make_writer(saving_in(tmp_path), info_of(), 0, {}, safety_bytes=0)
    for local in range(6):
        writer.write(random_frame(local), meta_of(local, local, random_frame(local)))
        assert len(list(tmp_path.glob("*.h5"))) == writer.complete[0] == (local + 1) // 4
    writer.close()
    assert (writer.saved, writer.complete) == (6, (2, 6))
    assert 0 < writer.compress_s < writer.busy_s
    assert writer.bytes_written


@pytest.mark.parametrize(
    "change", [{"intensity": np.zeros(3, "f4")}, {"index": np.zeros(2, "i4")}, {"background_std": np.zeros(3, "f4")}]
)
def test_a_frame_of_another_kind_is_refused(tmp_path, change):
    content = {"index": np.arange(3, dtype="i4"), "intensity": np.ones(3, "u2")}
    content |= {"background_avg": np.zeros(NB_BINS, "f4"), "background_std": np.zeros(NB_BINS, "f4")}
    writer = make_writer(saving_in(tmp_path), info_of(), 0, {}, safety_bytes=0)
    with pytest.raises(SavingError, match=r"sparse frame 4 has .* prepared for .* uint16 and 8 bins"):
        writer.write(SparseFrame(**(content | change)), meta_of(4, 0, None))
    writer.close()


def test_spots_of_many_frames_and_of_wide_ones_come_back(tmp_path):
    """More frames than rows of a chunk, more spots than columns of one."""
    frames = [random_frame(seed, max_pixels=3, max_spots=200 if seed == 70 else 2) for seed in range(140)]
    saving = saving_in(tmp_path, 90)
    counts = save_frames(saving, frames, RoundRobin(), info_of())
    with h5py.File(tmp_path / "sparse_0_00001.h5") as file:
        assert file[f"{PEAKS}/peakXPosRaw"].shape == (50, 2)
    path = write_master(job_of(saving, counts))
    with open_sparse(path) as got:
        for frame, expected in zip(got, frames, strict=True):
            assert_same(frame, expected)
    with h5py.File(path) as file:
        assert file[f"{PEAKS}/peakXPosRaw"].shape == (140, len(frames[70].spots))


def test_a_master_maps_many_frames_at_once(tmp_path):
    frames = [random_frame(seed, max_pixels=9) for seed in range(1200)]
    assert sum(len(frame.index) > 0 for frame in frames) > 2 * 512
    saving = saving_in(tmp_path, 1000)
    counts = save_frames(saving, frames, RoundRobin(2), info_of())
    with h5py.File(write_master(job_of(saving, counts))) as file:
        assert len(file[f"{SPARSE}/index"].virtual_sources()) == 6
    counts = save_frames(saving_in(tmp_path, 1000, filename_prefix="one"), frames, RoundRobin(), info_of())
    with h5py.File(write_master(job_of(saving_in(tmp_path, 1000, filename_prefix="one"), counts))) as file:
        assert len(file[f"{SPARSE}/index"].virtual_sources()) == 2, "whole files"


def test_sparse_files_may_be_moved_together(tmp_path):
    (tmp_path / "here").mkdir()
    saving = saving_in(tmp_path / "here")
    frames = [random_frame(seed) for seed in range(5)]
    path = write_master(job_of(saving, save_frames(saving, frames, RoundRobin(2), info_of())))
    shutil.move(tmp_path / "here", tmp_path / "there")
    with open_sparse(tmp_path / "there" / path.name) as got:
        assert_same(got[-1], frames[4])
        assert [frame.is_hit for frame in got[1:3]] == [True, True]


def test_an_unreadable_sparse_file_is_left_out(tmp_path):
    saving = saving_in(tmp_path)
    frames = [random_frame(seed) for seed in range(6)]
    counts = save_frames(saving, frames, RoundRobin(2), info_of())
    (tmp_path / "sparse_1_00000.h5").write_bytes(b"broken")
    with open_sparse(write_master(job_of(saving, counts))) as got:
        assert got.flags.tolist() == [0, 1, 0, 1, 0, 1]
        assert_same(got[4], frames[4])


def test_reading_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(NotAvailableError, match="cannot be read"):
        open_sparse(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(NotAvailableError, match="no sparse frames"):
        open_sparse(tmp_path / "other.h5")


def test_what_all_frames_have_in_common_is_read_back(tmp_path):
    info = info_of("f4", normalization=np.ones((20, 30), "f4"), dummy=-1, unit="q_A^-1")
    saving = saving_in(tmp_path)
    counts = save_frames(saving, [random_frame(3, "f4")], RoundRobin(), info)
    with open_sparse(write_master(job_of(saving, counts, "float32"))) as frames:
        got = frames.info()
    for name in ("radius", "mask", "normalization"):
        np.testing.assert_array_equal(getattr(got, name), getattr(info, name))
    assert (got.shape, got.dtype, got.unit, got.dummy) == (info.shape, info.dtype, info.unit, info.dummy)
