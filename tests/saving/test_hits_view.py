"""A dense master of a pipeline that looks for hits shows them alone, with their spots, in global order."""

from __future__ import annotations

import tempfile

import h5py
import numpy as np
import pytest
import silx.io
from hypothesis import given, settings
from hypothesis import strategies as st
from silx.io import nxdata
from sparse_frames import SHAPE, info_of, job_of, random_frame, save_frames, saving_in

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import hits_view, make_writer, virtual, write_master

DETECTOR = "entry_0000/instrument/detector"
HITS = "entry_0000/hits"
PEAKS = "entry_0000/peaks"
VETOED = int(FrameFlags.VETOED)


def image_of(index: int) -> np.ndarray:
    return np.full((1, *SHAPE), index + 1, "u2")


def save_dense(saving: Saving, hits: list[bool | None], vetoed: set[int], dispatch: RoundRobin) -> list[int]:
    """Frames with these hit flags; returns the local counts."""
    counts = [dispatch.count(rank, len(hits)) for rank in range(dispatch.receivers)]
    for rank, count in enumerate(counts):
        writer = make_writer(saving, FrameInfo(1, *SHAPE, np.dtype("u2")), rank, {}, safety_bytes=0)
        for local in range(count):
            index = dispatch.global_index(rank, local)
            flags = FrameFlags.VETOED if index in vetoed else FrameFlags.GOOD
            meta = FrameMeta(index, local, 1000 + index, flags, hits[index])
            writer.write(None if index in vetoed else image_of(index), meta)
        writer.close()
    return counts


def dense_job(saving: Saving, counts: list[int], block: int = 1, spots: Saving | None = None) -> MasterJob:
    return MasterJob(saving=saving, counts=counts, block=block, shape=(1, *SHAPE), dtype="uint16", spots=spots)


@settings(max_examples=40, deadline=None)
@given(
    receivers=st.integers(1, 3),
    block=st.sampled_from([1, 1, 2, 3]),
    dense_frames=st.integers(1, 7),
    sparse_frames=st.integers(1, 7),
    frames=st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=20),
    pieces=st.integers(1, 5),
    single=st.sampled_from([0, 10]),
)
def test_hits_that_were_saved_are_there_in_order_with_their_spots(
    receivers, block, dense_frames, sparse_frames, frames, pieces, single
):
    """Each frame: (seed, vetoed from the dense files)."""
    dispatch = RoundRobin(receivers, block)
    sparse = [random_frame(seed) for seed, _ in frames]
    hits, vetoed = [frame.is_hit for frame in sparse], {place for place, (_, veto) in enumerate(frames) if veto}
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(virtual, "PIECES_OF_MAPPING", pieces)
        patch.setattr(virtual, "SINGLE_PIECES", single)
        patch.setattr(hits_view, "_SINGLE_HITS", single)
        dense, spots = saving_in(directory, dense_frames, filename_prefix="dense"), saving_in(directory, sparse_frames)
        counts = save_dense(dense, hits, vetoed, dispatch)
        save_frames(spots, sparse, dispatch, info_of())
        path = write_master(dense_job(dense, counts, block, spots))
        write_master(job_of(spots, counts, block=block))
        expected = [place for place, hit in enumerate(hits) if hit and place not in vetoed]
        with h5py.File(path) as file:
            view = file[HITS]
            assert view["data"].shape == (len(expected), *SHAPE)
            assert view["data"][:, 0, 0].tolist() == [place + 1 for place in expected]
            assert view["frame_index"][:].tolist() == expected
            assert view.attrs["nb_hits"] == sum(hits)
            assert view.attrs["nb_hits_not_saved"] == sum(hits) - len(expected)
            assert view["peaks/nPeaks"][:].tolist() == [len(sparse[place].spots) for place in expected]
            for rank, place in enumerate(expected):
                x = view["peaks/peakXPosRaw"][rank]
                np.testing.assert_array_equal(x[: len(sparse[place].spots)], sparse[place].spots["x"])
                assert not x[len(sparse[place].spots) :].any()
                # the lists of all frames lie beside, through the sparse master
                line = file[f"{PEAKS}/peakYPosRaw"][place]
                np.testing.assert_array_equal(line[: len(sparse[place].spots)], sparse[place].spots["y"])
            detector = file[DETECTOR]
            assert detector["is_hit"][:].tolist() == hits
            assert detector["frame_flags"][:].tolist() == [VETOED * (place in vetoed) for place in range(len(hits))]
            counts = {
                name: detector[f"counts/{name}"][()] for name in ("nb_frames", "nb_hits", "nb_vetoed", "nb_holes")
            }
            assert list(counts.values()) == [len(hits), sum(hits), len(vetoed), len(vetoed)]


def test_without_hits_the_view_is_there_and_empty(tmp_path):
    saving = saving_in(tmp_path)
    counts = save_dense(saving, [False] * 5, set(), RoundRobin(2))
    with h5py.File(write_master(dense_job(saving, counts, spots=saving_in(tmp_path, filename_prefix="spots")))) as file:
        assert file[f"{HITS}/data"].shape == (0, *SHAPE)
        assert file[f"{HITS}/frame_index"].shape == file[f"{HITS}/peaks/nPeaks"].shape == (0,)


def test_a_pipeline_that_does_not_look_for_hits_has_no_trace_of_them(tmp_path):
    saving = saving_in(tmp_path)
    counts = save_dense(saving, [None] * 5, set(), RoundRobin(2))
    with h5py.File(write_master(dense_job(saving, counts))) as file:
        assert HITS not in file
        assert "is_hit" not in file[DETECTOR]
        assert "nb_hits" not in file[f"{DETECTOR}/counts"]
    with h5py.File(saving.layout().receiver_file(0, 0)) as file:
        assert "is_hit" not in file[DETECTOR]


def test_a_file_of_frames_that_nobody_looked_at_is_no_hit_in_the_master(tmp_path):
    """E.g. all lost: the file has no flags of hits, the master shows zeros."""
    saving = saving_in(tmp_path, 2)
    counts = save_dense(saving, [True, True, None, None, False, True], set(), RoundRobin())
    with h5py.File(write_master(dense_job(saving, counts))) as file:
        assert file[f"{DETECTOR}/is_hit"][:].tolist() == [1, 1, 0, 0, 0, 1]
        assert file[f"{HITS}/frame_index"][:].tolist() == [0, 1, 5]
        assert "peaks" not in file[HITS]
        assert PEAKS not in file


def test_spots_may_lie_in_another_directory_and_all_be_moved(tmp_path):
    (tmp_path / "here/sparse").mkdir(parents=True)
    dense, spots = saving_in(tmp_path / "here", filename_prefix="dense"), saving_in(tmp_path / "here/sparse")
    frames = [random_frame(seed) for seed in range(1, 6)]
    counts = save_dense(dense, [frame.is_hit for frame in frames], set(), RoundRobin(2))
    save_frames(spots, frames, RoundRobin(2), info_of())
    path = write_master(dense_job(dense, counts, spots=spots))
    write_master(job_of(spots, counts))
    (tmp_path / "here").rename(tmp_path / "there")
    with h5py.File(tmp_path / "there" / path.name) as file:
        assert file[f"{PEAKS}/nPeaks"][:].tolist() == [len(frame.spots) for frame in frames]
        assert file[f"{HITS}/peaks/nPeaks"][:].tolist() == [len(frame.spots) for frame in frames if frame.is_hit]


def test_silx_shows_the_hits_as_images(tmp_path):
    saving = saving_in(tmp_path)
    counts = save_dense(saving, [False, True, True], set(), RoundRobin(2))
    with silx.io.open(str(write_master(dense_job(saving, counts)))) as file:
        plot = nxdata.get_default(file[HITS])
        assert plot.interpretation == "image"
        assert plot.signal[:, 3, 3].tolist() == [2, 3]
        assert nxdata.get_default(file).signal.shape == (3, *SHAPE)


def test_accumulated_frames_carry_the_index_of_their_last_one(tmp_path):
    """Mean images: output k of receiver r lies at k * N + r, whatever index it carries."""
    saving, dispatch = saving_in(tmp_path, 2), RoundRobin(2)
    last = [[18, 38, 40], [19, 39]]
    for rank, indices in enumerate(last):
        writer = make_writer(saving, FrameInfo(1, *SHAPE, np.dtype("f4")), rank, {}, safety_bytes=0)
        for local, index in enumerate(indices):
            place = dispatch.global_index(rank, local)
            writer.write(image_of(place).astype("f4"), FrameMeta(index, local))
        writer.close()
    job = MasterJob(saving=saving, counts=[3, 2], shape=(1, *SHAPE), dtype="float32")
    with h5py.File(write_master(job)) as file:
        assert file[f"{DETECTOR}/data"][:, 0, 0].tolist() == [1, 2, 3, 4, 5]
        assert file[f"{DETECTOR}/frame_index"][:].tolist() == [18, 19, 38, 39, 40]
