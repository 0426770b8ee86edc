"""A consumer gets spots, hits and sparse frames back: live, after the end, and from files when Redis had no room."""

import contextlib
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import redis

from lima2_bliss.contract import FrameFlags, FrameMeta, NoLongerAvailableError, NotAvailableError, SparseFrame
from lima2_bliss.contract import SparseInfo as Info
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.publishing.densify import densify
from lima2_bliss.publishing.job import Budget
from lima2_bliss.publishing.lima_info import SPARSE_FILES, saved_sparse_files
from lima2_bliss.publishing.readers import DetectorData
from lima2_receivers.saving import make_writer

ROOT = Path(__file__).resolve().parents[2]
SPOT_COLUMNS = ("y", "x", "intensity", "sigma", "size")


def publish(setup, frames, holes=()):
    publication = setup.publish()
    for receiver in setup.receivers:
        feeder = receiver.feeder
        for local in range(feeder.dispatch.count(feeder.rank, frames)):
            index = feeder.dispatch.global_index(feeder.rank, local)
            feeder.feed(1, FrameFlags.LOST if index in holes else FrameFlags.GOOD)
        feeder.end()
    publication.wait(frames, 5)
    publication.finish()
    assert publication.wait_end(5).state == "done"
    setup.scan.stop()
    return publication


def load(setup, sparse_file=None):
    return DetectorData(setup.server.store.load_scan(setup.scan.key), "det", sparse_file)


def same_spots(ours, rows):
    assert all(np.array_equal(ours[column], rows[column]) for column in SPOT_COLUMNS)


@pytest.fixture
def trim():
    """Has Redis forget the first rows of a stream, as its memory tracker does."""

    def forget(setup, name, rows):
        key = next(target.key for target in setup.job.streams if target.definition.name == name)
        with contextlib.closing(redis.Redis.from_url(setup.url)) as client:
            client.xtrim(key, minid=f"{rows}-0", approximate=False)

    return forget


@pytest.fixture
def saved_frames(tmp_path_factory):
    """Saves sparse frames with the rows of some frames; gives their `FileLayout`."""

    def save(rows, frames, frames_per_file=100, dtype="float32"):
        mask = np.hypot(*np.indices((24, 40))).astype(np.float32)
        radius = np.linspace(1, 40, rows.nb_bins, dtype=np.float32)
        info = Info((24, 40), np.dtype(dtype), radius, mask)
        saving = Saving(
            enabled=True,
            base_path=str(tmp_path_factory.mktemp("saved")),
            filename_prefix="sparse",
            nb_frames_per_file=frames_per_file,
        )
        writer = make_writer(saving, info, 0, {})
        for index in range(frames):
            content = rows.rows_of(index, 0)
            frame = SparseFrame(
                content["sparse"]["index"],
                content["sparse"]["intensity"].astype(dtype),
                content["background"]["avg"],
                content["background"]["std"],
                content["spots"],
                rows.is_hit(index),
            )
            writer.write(frame, FrameMeta(index, index, hit=frame.is_hit))
        writer.close()
        return saving.layout()

    return save


def test_spots_of_each_frame_and_of_hits_come_back(make_setup, smx):
    rows = smx()
    setup = make_setup(2, smx=rows)
    publish(setup, 21, holes=(4,))
    data = load(setup)
    spots = data.spots()
    assert spots.table.dtype.names == ("frame", *SPOT_COLUMNS)
    for frame, of_frame in spots:
        same_spots(of_frame, rows.rows_of(frame, 0, FrameFlags(frame == 4))["spots"])
        assert (of_frame["frame"] == frame).all()
        np.testing.assert_array_equal(spots[frame], of_frame)
    hits = spots.of_hits()
    assert hits.frames.tolist() == [i for i in range(21) if i != 4 and rows.is_hit(i)]
    assert (hits.counts >= 2).all()
    assert set(hits.table["frame"]) == set(hits.frames)
    part = data.spots(7, 12)
    assert part.frames.tolist() == [7, 8, 9, 10, 11]
    np.testing.assert_array_equal(part.table, spots.table[(spots.table["frame"] >= 7) & (spots.table["frame"] < 12)])
    with pytest.raises(NotAvailableError, match="not among these frames"):
        part[12]
    with pytest.raises(NotAvailableError, match="21 frames are published"):
        data.spots(0, 22)


def test_the_hit_table_has_a_row_per_frame(make_setup, smx):
    rows = smx()
    setup = make_setup(1, smx=rows)
    publish(setup, 9, holes=(2,))
    table = load(setup).hits()
    assert table.dtype.names == ("frame", "frame_flags", "nb_peaks", "is_hit", "hit_rate")
    np.testing.assert_array_equal(table["frame"], np.arange(9))
    assert table["is_hit"].tolist() == [i != 2 and rows.is_hit(i) for i in range(9)]
    assert table["frame_flags"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(load(setup).hits(3, 5), table[3:5])


def test_following_gives_spots_and_hits_as_they_come_until_the_scan_ends(make_setup, smx):
    rows = smx()
    setup = make_setup(1, smx=rows)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder

    def acquire():
        for _ in range(20):
            feeder.feed(1 + _ % 3)
            publication.wait(feeder.log.frames, 5)
        feeder.end()
        publication.finish()
        publication.wait_end(5)
        setup.scan.stop()

    thread = threading.Thread(target=acquire, daemon=True)
    thread.start()
    parts = list(load(setup).follow_spots(timeout_s=5))
    thread.join(5)
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate([part.frames for part in parts]), np.arange(feeder.log.frames))
    table = load(setup).spots().table
    np.testing.assert_array_equal(np.concatenate([part.table for part in parts]), table)
    hits = np.concatenate(list(load(setup).follow_hits(timeout_s=5)))
    np.testing.assert_array_equal(hits, load(setup).hits())


def test_sparse_frames_come_from_redis_as_they_were(make_setup, smx):
    rows = smx()
    setup = make_setup(2, smx=rows)
    publish(setup, 15, holes=(6,))
    data = load(setup)
    for index in (0, 5, 14):
        frame, expected = data.sparse_frame(index), rows.rows_of(index, 0)
        np.testing.assert_array_equal(frame.index, expected["sparse"]["index"])
        np.testing.assert_array_equal(frame.intensity, expected["sparse"]["intensity"])
        np.testing.assert_array_equal(frame.background_avg, expected["background"]["avg"])
        np.testing.assert_array_equal(frame.background_std, expected["background"]["std"])
        np.testing.assert_array_equal(frame.spots, expected["spots"])
        assert frame.is_hit == rows.is_hit(index)
        assert (frame.index.dtype, frame.intensity.dtype) == (np.int32, np.float32)
    hole = data.sparse_frame(6)
    assert len(hole.index) == 0
    assert np.isnan(hole.background_avg).all()
    with pytest.raises(NotAvailableError, match="15 frames are published"):
        data.sparse_frame(15)
    with pytest.raises(NoLongerAvailableError, match="give sparse_file"):
        data.sparse_info()


def test_what_redis_has_no_room_for_comes_from_the_file(make_setup, smx, saved_frames):
    rows = smx(spots=2, pixels=20)
    budget = Budget(sparse_bytes=0, spots_bytes=0, vector_bytes=0)
    setup = make_setup(1, smx=rows, budget=budget)
    status = publish(setup, 12).status()
    assert status.stopped == {"sparse": 0, "background": 0, "spots": 0}
    layout = saved_frames(rows, 12)
    with load(setup, layout.receiver_file(0, 0)) as data:
        for index in (0, 7):
            frame, expected = data.sparse_frame(index), rows.rows_of(index, 0)
            np.testing.assert_array_equal(frame.index, expected["sparse"]["index"])
            np.testing.assert_array_equal(frame.background_avg, expected["background"]["avg"])
            np.testing.assert_array_equal(frame.spots, expected["spots"])
        image = densify(data.sparse_frame(7), data.sparse_info())
        np.testing.assert_array_equal(image.reshape(-1)[frame.index], frame.intensity)
        spots = data.spots(3, 8)
        for frame, of_frame in spots:
            same_spots(of_frame, rows.rows_of(frame, 0)["spots"])
    with pytest.raises(NoLongerAvailableError, match="room for 0 frames, and no file of sparse frames is known"):
        load(setup).sparse_frame(3)
    with pytest.raises(NoLongerAvailableError, match="spots of frames 2 to 4 are not in Redis"):
        load(setup).spots(2, 5)
    with pytest.raises(NotAvailableError, match=r"gone\.h5 cannot be read"):
        load(setup, layout.base_path / "gone.h5").sparse_frame(3)


def test_the_scan_names_its_files_and_numbers_them(make_setup, smx, saved_frames):
    rows = smx(pixels=3)
    setup = make_setup(1, smx=rows, budget=Budget(sparse_bytes=0))
    publish(setup, 7)
    layout = saved_frames(rows, 7, frames_per_file=3)
    scan = setup.server.store.load_scan(setup.scan.key)
    scan.streams["det:nb_sparse"].info[SPARSE_FILES] = saved_sparse_files(layout, 1, 7)
    with DetectorData(scan, "det") as data:
        for index in range(7):
            expected = rows.rows_of(index, 0)
            np.testing.assert_array_equal(data.sparse_frame(index).intensity, expected["sparse"]["intensity"])
            assert (data.sparse_frame(index).spots["frame_idx"] == index).all()


def test_what_redis_has_trimmed_comes_from_the_file(make_setup, smx, saved_frames, trim):
    rows = smx(spots=2, pixels=3)
    setup = make_setup(1, smx=rows)
    publication = setup.publish()
    for frames in range(1, 7):  # an entry for each
        setup.receivers[0].feeder.feed(1)
        publication.wait(frames, 5)
    publication.finish()
    setup.receivers[0].feeder.end()
    publication.wait_end(5)
    trim(setup, "sparse_index", rows=3 * 3)
    trim(setup, "spots_y", rows=2 * 3)
    with load(setup, saved_frames(rows, 6).receiver_file(0, 0)) as data:
        for index in (0, 5):
            np.testing.assert_array_equal(data.sparse_frame(index).index, rows.rows_of(index, 0)["sparse"]["index"])
        assert data.spots().frames.tolist() == list(range(6))
        trim(setup, "nb_peaks", rows=3)
        trim(setup, "nb_sparse", rows=3)
    with load(setup, saved_frames(rows, 6).receiver_file(0, 0)) as data:
        same_spots(data.spots(1, 3)[2], rows.rows_of(2, 0)["spots"])
        assert len(data.sparse_frame(1).index) == 3
    with pytest.raises(NoLongerAvailableError, match="no file of sparse frames is known"):
        load(setup).spots(0, 2)


def test_streams_with_points_of_one_element_are_read_like_numbers(make_setup, smx, smx_definitions):
    rows = smx()
    definitions = [
        each.model_copy(update={"shape": (1,)}) if each.kind in ("flat", "flat_frame") else each
        for each in smx_definitions(rows.nb_bins)
    ]
    setup = make_setup(1, smx=rows, definitions=definitions)
    for target in setup.job.streams:
        if target.definition.kind in ("flat", "flat_frame"):
            target.definition.shape = ()
    publish(setup, 8)
    data = load(setup)
    assert data["spots_y"].shape[1:] == (1,)
    same_spots(data.spots()[5], rows.rows_of(5, 0)["spots"])
    np.testing.assert_array_equal(data.sparse_frame(5).index, rows.rows_of(5, 0)["sparse"]["index"])


def test_a_frame_without_published_background_has_none_and_its_pixels(make_setup, smx):
    setup = make_setup(1, smx=smx(), budget=Budget(vector_bytes=0))
    publish(setup, 4)
    frame = load(setup).sparse_frame(3)
    assert len(frame.background_avg) == 0
    assert len(frame.index) == 1


BY_BLISSDATA_2 = """
import sys, importlib.metadata
import numpy as np
from blissdata.redis_engine.store import DataStore
from lima2_bliss.publishing.readers import DetectorData
assert importlib.metadata.version("blissdata").startswith("2.")
url, key, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = DetectorData(DataStore(url).load_scan(key), "det")
spots = data.spots()
assert len(spots) == frames and len(spots.table) == data["nb_peaks"].sum() == len(data["spots_y"])
assert np.array_equal(spots[3]["y"], 3 + np.arange(1) / 4), spots[3]
parts = list(data.follow_spots(timeout_s=5))
assert np.array_equal(np.concatenate([part.table for part in parts]), spots.table)
frame = data.sparse_frame(frames - 1)
assert len(frame.index) == data["nb_sparse"][-1] and len(frame.background_avg) == 5
assert np.isfinite(data.hits()["hit_rate"]).all()
print("ok")
"""


def test_blissdata_2_reads_spots_and_sparse_frames(make_setup, smx, blissdata2_python):
    setup = make_setup(1, smx=smx())
    publish(setup, 12)
    done = subprocess.run(
        [blissdata2_python, "-c", BY_BLISSDATA_2, setup.url, setup.scan.key, "12"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "ok", done.stderr
